"""mariadb, rabbitmq, memcached and keystone from our images: schema by a step, then a token for the command line."""

from __future__ import annotations

import http.client
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.kit import inside
from tests.kit.cloud import Cloud
from tests.kit.rendering import password

pytestmark = pytest.mark.e2e


def test_a_token_is_issued(cloud: Cloud) -> None:
    token = cloud.openstack("token", "issue")
    assert token["id"].startswith("gAAAA")  # Fernet's mark
    (admin,) = cloud.openstack("user", "list")
    assert admin == {"ID": token["user_id"], "Name": "admin"}
    assert "POST /v3/auth/tokens" in cloud.running["keystone"].logs()


def test_keystone_keeps_in_the_cache(cloud: Cloud) -> None:
    with socket.create_connection(cloud.running["memcached"].address("cache"), 5) as connection:
        connection.sendall(b"stats\r\n")
        said = b""
        while b"END\r\n" not in said:
            said += connection.recv(5000)
    (kept,) = [line.split()[2] for line in said.decode().splitlines() if line.startswith("STAT cmd_set ")]
    assert int(kept) > 0


def test_each_service_has_what_it_declares_and_no_more(cloud: Cloud) -> None:
    for name in ("mariadb", "rabbitmq", "memcached", "keystone"):
        inside.check_confinement(cloud.running[name])


def test_keystone_holds_its_packages_alone(cloud: Cloud) -> None:
    inside.check_contents(cloud.site.engine, cloud.images["keystone"], "uwsgi_python3")


def test_a_filled_volume_is_left_alone_by_init(cloud: Cloud) -> None:
    tables = cloud.query("show tables in keystone")
    assert "already exists" in cloud.site.step(cloud.images["mariadb"], "init")
    assert cloud.query("show tables in keystone") == tables


def test_upgrade_brings_the_system_tables_along(cloud: Cloud) -> None:
    """Over the network, as a job of its own: the file of configuration says where."""
    cloud.query(f"create or replace user root@'%' identified by '{password('root')}'")
    cloud.query("grant all on *.* to root@'%' with grant option")
    told = f"[client]\nhost = mariadb\nuser = root\npassword = {password('root')}\n"
    said = cloud.site.step(cloud.images["mariadb"], "upgrade", name="job", config={"/etc/mysql/conf.d/site.cnf": told})
    assert "upgraded" in said or "OK" in said


def test_keystone_ends_when_asked_and_begins_again(cloud: Cloud) -> None:
    keystone = cloud.running["keystone"]
    assert keystone.stop() == 0
    cloud.site.engine("start", keystone.container)
    keystone.healthy()


SLOW = """
import time
def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        print("asked", flush=True)
        time.sleep(3)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"answered"]
"""


def test_who_asks_while_it_ends_is_answered(cloud: Cloud, tmp_path: Path) -> None:
    """By the image's own command, with a program that takes its time in keystone's place."""
    program = tmp_path / "slow.py"
    program.write_text(SLOW)
    place = "/usr/bin/keystone-wsgi-public"
    options = ["--volume", f"{program}:{place}:ro"]
    running = cloud.site.start(cloud.images["keystone"], "slow", config=cloud.config("keystone"), options=options)

    def ask() -> tuple[int, str, str | None]:
        connection = http.client.HTTPConnection(*running.address("identity"), timeout=30)
        connection.request("GET", "/slow")
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.getheader("Connection")

    running.healthy()
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(ask)
        running.says("asked")
        assert running.stop() == 0
        assert asked.result() == (200, "answered", "close")
