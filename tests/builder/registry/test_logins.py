"""Logins from the files of docker and podman, and from helpers."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from builder.errors import RegistryError, UsageError
from builder.registry.address import Host
from builder.registry.logins import Login, Logins
from dsl.errors import ImgbuildError

HOST = Host("registry.example:5000")


def auth(user: str, password: str = "geheim") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A user who has nothing yet."""
    return {
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
    }


def write(env: dict[str, str], place: str, data: Any) -> Path:
    path = Path(env["HOME"]) / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def helper(env: dict[str, str], name: str, script: str) -> None:
    path = Path(env["HOME"]) / "bin" / f"docker-credential-{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def find(env: dict[str, str], repository: str = "openstack/nova-api", host: Host = HOST) -> Login | None:
    return Logins(env).find(host, repository)


def test_nobody_has_logged_in(env: dict[str, str]) -> None:
    assert find(env) is None


@pytest.mark.parametrize(
    "key", ["registry.example:5000", "https://registry.example:5000", "https://registry.example:5000/v2/"]
)
def test_docker_has_it(env: dict[str, str], key: str) -> None:
    write(env, ".docker/config.json", {"auths": {"registry.example": auth("other"), key: auth("me", "a:b")}})
    found = find(env)
    assert found
    assert (found.user, found.password) == ("me", "a:b")
    assert ".docker/config.json" in found.origin


def test_the_longest_prefix_counts(env: dict[str, str]) -> None:
    names = {"": "all", "/openstack": "some", "/openstack/nova-api": "one", "/openstack/nova": "no"}
    write(env, "run/containers/auth.json", {"auths": {HOST.name + name: auth(user) for name, user in names.items()}})
    for repository, user in (("openstack/nova-api", "one"), ("openstack/nova-web", "some"), ("x", "all")):
        found = find(env, repository)
        assert found
        assert found.user == user


def test_the_order_of_files(env: dict[str, str]) -> None:
    places = (".docker/config.json", ".config/containers/auth.json", "run/containers/auth.json")
    for place in places:
        write(env, place, {"auths": {HOST.name: auth(place)}})
        found = find(env)
        assert found
        assert found.user == place
    env["REGISTRY_AUTH_FILE"] = str(write(env, "named.json", {"auths": {"elsewhere.example": auth("x")}}))
    assert find(env) is None


def test_docker_hub_has_a_name_of_its_own(env: dict[str, str]) -> None:
    write(env, ".docker/config.json", {"auths": {"https://index.docker.io/v1/": auth("me")}})
    found = find(env, "library/debian", Host("docker.io"))
    assert found
    assert found.user == "me"


def test_an_identity_token(env: dict[str, str]) -> None:
    write(env, ".docker/config.json", {"auths": {HOST.name: {"identitytoken": "geheim"}}})
    found = find(env)
    assert found
    assert found.token == "geheim"


@pytest.mark.parametrize("way", ["credHelpers", "credsStore"])
def test_a_helper_is_asked(env: dict[str, str], way: str) -> None:
    """It is told the host on its standard input, where no list of processes shows it."""
    named = {HOST.name: "vault"} if way == "credHelpers" else "vault"
    write(env, ".docker/config.json", {"auths": {HOST.name: {}}, way: named})
    helper(env, "vault", f'echo "$*:$(cat)" > {env["HOME"]}/asked; echo \'{{"Username": "me", "Secret": "geheim"}}\'')
    found = find(env)
    assert found
    assert (found.user, found.password, found.token) == ("me", "geheim", "")
    assert (Path(env["HOME"]) / "asked").read_text() == f"get:{HOST.name}\n"
    helper(env, "vault", 'echo \'{"Username": "<token>", "Secret": "geheim"}\'')
    found = find(env)
    assert found
    assert (found.password, found.token) == ("", "geheim")


def test_a_helper_that_has_nothing(env: dict[str, str]) -> None:
    write(env, ".docker/config.json", {"credsStore": "vault"})
    helper(env, "vault", "echo 'credentials not found in native keychain'; exit 1")
    assert find(env) is None


@pytest.mark.parametrize(
    ("script", "said"),
    [("", "gives no JSON"), ("echo geheim; exit 3", "ended with 3"), (None, "is not installed")],
)
def test_a_helper_that_fails_is_named(env: dict[str, str], script: str | None, said: str) -> None:
    write(env, ".docker/config.json", {"credHelpers": {HOST.name: "vault"}})
    if script is not None:
        helper(env, "vault", script)
    with pytest.raises(RegistryError, match=said) as caught:
        find(env)
    assert "docker-credential-vault" in caught.value.message
    assert "geheim" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    "text",
    ['{"auths": {"registry.example:5000": {"auth": "geheim', '{"auths": ["geheim"]}', '"geheim"',
     '{"credHelpers": {"registry.example:5000": "../geheim"}}',
     '{"auths": {"registry.example:5000": {"auth": "geheim!"}}}'],
)  # fmt: skip
def test_a_broken_file_is_named_and_not_quoted(env: dict[str, str], text: str) -> None:
    path = write(env, ".docker/config.json", text)
    with pytest.raises(ImgbuildError) as caught:
        find(env)
    assert isinstance(caught.value, UsageError)
    assert str(path) in caught.value.message
    assert "geheim" not in caught.value.message + caught.value.hint


def test_no_repr_has_a_password(env: dict[str, str]) -> None:
    write(env, ".docker/config.json", {"auths": {HOST.name: auth("me")}})
    logins = Logins(env)
    found = logins.find(HOST, "x")
    assert "geheim" not in repr((found, logins))
    assert base64.b64encode(b"me:geheim").decode() not in repr((found, logins))
