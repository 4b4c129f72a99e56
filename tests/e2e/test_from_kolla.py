"""A volume of Kolla's under an image of ours: the numbers are the same, so nothing changes hands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.engines import Docker
from tests.kit.fleet import Fleet

pytestmark = pytest.mark.e2e
MYSQL = 42434
"""mysql's number in Kolla's table (kolla/common/users.py)."""
QUERY = ("mariadb", "--user=root", "--skip-column-names", "--execute")


@pytest.fixture
def volume(docker: Docker) -> Iterator[str]:
    """An empty one."""
    name = docker("volume", "create", "kolla-mariadb").strip()
    yield name
    docker("volume", "rm", "--force", name)


@pytest.mark.full
def test_mariadb_starts_on_a_volume_of_kolla(fleet: Fleet, docker: Docker, volume: str) -> None:
    image = fleet.load(docker, "mariadb")["mariadb"]
    mount = ("--volume", f"{volume}:/var/lib/mysql")
    # As kolla_extend_start leaves it: filled by root, then handed to mysql, with files of its own beside the data.
    fill = (
        "mariadb-install-db --no-defaults --user=root --datadir=/var/lib/mysql --auth-root-authentication-method=normal"
        f" && touch /var/lib/mysql/cluster.exists && chown -R {MYSQL}:{MYSQL} /var/lib/mysql && chmod 755 /var/lib/mysql"
    )
    docker("run", "--rm", "--user", "0", *mount, image, "sh", "-c", fill)
    confined = ("--read-only", "--cap-drop=ALL", "--tmpfs", f"/run/mysqld:uid={MYSQL}", "--tmpfs", "/tmp")
    docker("run", "--detach", "--name", "database", *confined, *mount, image)
    try:
        docker.waits_for(
            "database",
            lambda: "alive" in docker("exec", "database", "mariadb-admin", "--user=root", "ping", check=False),
        )
        docker(
            "exec",
            "database",
            *QUERY,
            "create database kept; create table kept.a (b int); insert into kept.a values (7)",
        )
        docker("restart", "database")
        docker.waits_for(
            "database",
            lambda: "alive" in docker("exec", "database", "mariadb-admin", "--user=root", "ping", check=False),
        )
        assert docker("exec", "database", *QUERY, "select b from kept.a").strip() == "7"
        owners = docker("exec", "database", "find", "/var/lib/mysql", "-not", "-uid", str(MYSQL))
        assert owners.split() == []
        assert docker("exec", "database", "id", "-u").strip() == str(MYSQL)
    finally:
        docker("rm", "--force", "database")
