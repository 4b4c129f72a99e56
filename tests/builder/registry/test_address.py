"""Names in registries, as people write them."""

from __future__ import annotations

import pytest

from builder.errors import UsageError
from builder.registry import address
from builder.registry.address import Host
from dsl.naming import Names

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "host", "path", "tag", "digest", "whole"),
    [
        ("registry.example/openstack/nova-api:31.0.0-r3", "registry.example", "openstack/nova-api", "31.0.0-r3", "", True),
        ("registry.example:5000/nova-api", "registry.example:5000", "nova-api", "", "", True),
        (f"localhost/a/b/c_d@{DIGEST}", "localhost", "a/b/c_d", "", DIGEST, True),
        (f"127.0.0.1:5000/a:1@{DIGEST}", "127.0.0.1:5000", "a", "1", DIGEST, True),
        ("[::1]:5000/a__b/c--d", "[::1]:5000", "a__b/c--d", "", "", True),
        ("registry.example/openstack/", "registry.example", "openstack", "", "", False),
        ("registry.example", "registry.example", "", "", "", False),
        ("https://registry.example/a", "registry.example", "a", "", "", True),
    ],
)  # fmt: skip
def test_an_address(text: str, host: str, path: str, tag: str, digest: str, whole: bool) -> None:
    found = address.parse(text)
    assert (found.host.name, found.path, found.tag, found.digest, found.whole) == (host, path, tag, digest, whole)
    assert not found.host.plain


@pytest.mark.parametrize(
    "text",
    [
        "", "nova-api", "nova/api:1", "host:port/a", "host:99999/a", "registry.example/A", "registry.example/a//b",
        "registry.example/a:", "registry.example/a:b:c", "registry.example/a:.x", f"registry.example/a:{'x' * 129}",
        "registry.example/a@sha256:abc", "registry.example/a_-b", "registry.example/-a", "ftp://registry.example/a",
        "registry.example/:tag", f"registry.example/@{DIGEST}", "registry.example/" + "a/" * 128 + "a", "-x.example/a",
        "registry.example/a\n", "registry.example/a b",
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        address.parse(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    "text", ["me:geheim@registry.example/a", "https://me:geheim@registry.example:5000/a:1", "geheim@x"]
)
def test_a_password_in_an_address_is_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        address.parse(text)
    assert "geheim" not in caught.value.message + caught.value.hint
    assert "docker login" in caught.value.hint


def test_plain_http_is_said_or_of_this_machine() -> None:
    assert address.parse("http://registry.example/a").host.plain
    for name in ("localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:80"):
        assert Host(name).loopback, name
    for name in ("registry.example", "localhost.example", "10.0.0.1:5000", "[2001:db8::1]:5000", "127.0.0.1.example"):
        assert not Host(name).loopback, name


def test_a_prefix() -> None:
    found = address.home("registry.example:5000/openstack", Names())
    assert found.repository("nova", "nova-api") == "openstack/nova-api"
    assert address.home("registry.example:5000", Names()).repository("nova", "nova-api") == "nova-api"
    flat = Names("{registry}/{component}/{image}:{version}-r{revision}")
    assert address.home("registry.example:5000", flat).repository("nova@bookworm", "nova-api") == "nova/nova-api"
    with pytest.raises(UsageError, match=r"no \{namespace\} that 'openstack' could be"):
        address.home("registry.example:5000/openstack", flat)
    with pytest.raises(UsageError, match="names an image"):
        address.prefix("registry.example/openstack:1")
