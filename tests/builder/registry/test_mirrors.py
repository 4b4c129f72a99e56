"""What files say of mirrors."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import UsageError
from builder.registry import mirrors
from builder.registry.address import Host

HOST = Host("registry.example:5000")
FILE = """\
[[registry]]
location = "registry.example:5000"
[[registry.mirror]]
location = "near.example"
[[registry.mirror]]
location = "tags.example"
pull-from-mirror = "tag-only"

[[registry]]
prefix = "registry.example:5000/openstack"
location = "registry.example:5000/openstack"
[[registry.mirror]]
location = "127.0.0.1:5001/copies/"
insecure = true
[[registry.mirror]]
location = "far.example:5000/openstack"
pull-from-mirror = "digest-only"
"""


def found(repository: str, environ: dict[str, str]) -> list[tuple[str, bool, str]]:
    return [(x.host.name, x.host.plain, x.path) for x in mirrors.of(HOST, repository, environ)]


def test_the_longest_prefix_counts(tmp_path: Path) -> None:
    (tmp_path / "it").write_text(FILE)
    environ = {"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "it")}
    assert found("openstack/nova-api", environ) == [
        ("127.0.0.1:5001", True, "copies/nova-api"), ("far.example:5000", False, "openstack/nova-api"),
    ]  # fmt: skip
    assert found("openstackish/nova-api", environ) == [("near.example", False, "openstackish/nova-api")]
    assert mirrors.of(Host("other.example"), "openstack/nova-api", environ) == ()


def test_own_files_go_before_the_system_s(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    folder = tmp_path / ".config/containers"
    (folder / "registries.conf.d").mkdir(parents=True)
    (folder / "registries.conf").write_text(FILE)
    more = '[[registry]]\nlocation = "registry.example:5000"\n[[registry.mirror]]\nlocation = "{}"\n'
    for name in ("10.conf", "20.conf"):
        (folder / "registries.conf.d" / name).write_text(more.format(f"of-{name}"))
    assert found("x/y", environ) == [("of-20.conf", False, "x/y")]
    assert found("openstack/y", environ)[0][0] == "127.0.0.1:5001"
    assert found("x/y", {"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "none")}) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("registry = [", "cannot be read"),
        ("registry = 1", "'registry' is no list of tables"),
        ('[[registry]]\nlocation = "registry.example:5000"\nmirror = ["x"]', "'mirror' is no list of tables"),
        (
            '[[registry]]\nlocation = "registry.example:5000"\n[[registry.mirror]]\nlocation = "a b"',
            "no registry's host",
        ),
    ],
)
def test_what_is_wrong_is_told_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "it").write_text(text)
    with pytest.raises(UsageError) as caught:
        found("x", {"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "it")})
    assert said in caught.value.message
    assert str(tmp_path / "it") in caught.value.message
