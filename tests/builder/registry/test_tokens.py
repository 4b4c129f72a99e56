"""Challenges of registries, and the tokens that meet them."""

from __future__ import annotations

from typing import Any

import pytest

from builder.errors import RegistryError
from builder.registry import tokens
from builder.registry.address import Host
from builder.registry.logins import Login
from builder.registry.tokens import Authorization, Challenge

BEARER = 'Bearer realm="https://auth.example/token",service="reg, istry",scope="repository:a:pull,push"'
WHERE = Challenge("bearer", "https://auth.example/token", "reg, istry", "repository:a:pull,push")
HOST = Host("registry.example")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (BEARER, WHERE),
        ('Basic realm="Registry Realm"', Challenge("basic", "Registry Realm")),
        (f'Basic realm="x", {BEARER}', WHERE),
        (f'{BEARER}, Basic realm="x"', WHERE),
        ("bearer realm=https://auth.example/token", Challenge("bearer", "https://auth.example/token")),
        ("Negotiate", None),
        ("", None),
    ],
)
def test_a_challenge(header: str, found: Challenge | None) -> None:
    assert tokens.challenge(header) == found


class Logins:
    """What somebody has."""

    def __init__(self, login: Login | None) -> None:
        self.login = login

    def find(self, host: Host, repository: str) -> Login | None:
        return self.login


class Server:
    """A token server that notes what it was asked."""

    def __init__(self, status: int = 200, **answer: Any) -> None:
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.status, self.answer = status, answer

    def __call__(self, method: str, url: str, headers: dict[str, str], **more: Any) -> tuple[int, Any]:
        self.asked.append((method, headers.get("Authorization", ""), more))
        return self.status, {"token": f"t{len(self.asked)}", **self.answer}


def authorization(server: Server, login: Login | None) -> Authorization:
    found = Authorization(HOST, Logins(login), server)  # type: ignore[arg-type]
    assert found.header("a", ("s",), plain=False) == ""
    found.refused("", "a", ("s",), BEARER)
    return found


ME = Login("me", "geheim", "", "a file")


def test_a_token_is_asked_for_once_for_what_it_is_for() -> None:
    server = Server(expires_in=300)
    found = authorization(server, ME)
    assert [found.header("a", scope, plain=False) for scope in (("s",), ("s",), ("s", "t"), ("s",))] == [
        "Bearer t1", "Bearer t1", "Bearer t2", "Bearer t1",
    ]  # fmt: skip
    method, shown, more = server.asked[1]
    assert (method, shown) == ("GET", "Basic bWU6Z2VoZWlt")
    assert more == {"params": {"service": "reg, istry", "scope": ["s", "t"]}}
    assert "geheim" not in repr(found)


def test_nobody_is_somebody_too() -> None:
    server = Server()
    assert authorization(server, None).header("a", ("s",), plain=False) == "Bearer t1"
    assert server.asked[0][1] == ""


def test_an_identity_token_is_exchanged() -> None:
    server = Server(token=None, access_token="short")
    found = authorization(server, Login("", "", "geheim", "a file"))
    assert found.header("a", ("s",), plain=False) == "Bearer short"
    method, _, more = server.asked[0]
    assert method == "POST"
    assert more["form"]["grant_type"] == "refresh_token"
    assert more["form"]["refresh_token"] == "geheim"


def test_a_token_that_has_expired_is_fetched_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(expires_in=60)
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    found = authorization(server, ME)
    assert found.header("a", ("s",), plain=False) == "Bearer t1"
    now += 49
    assert found.header("a", ("s",), plain=False) == "Bearer t1"
    now += 2
    assert found.header("a", ("s",), plain=False) == "Bearer t2"
    found.refused("Bearer t2", "a", ("s",), BEARER)
    assert found.header("a", ("s",), plain=False) == "Bearer t3"


@pytest.mark.parametrize("realm", ["http://auth.example/token", "file:///etc/passwd", ""])
def test_a_password_goes_nowhere_without_tls(realm: str) -> None:
    server = Server()
    found = Authorization(HOST, Logins(ME), server)  # type: ignore[arg-type]
    found.refused("", "a", ("s",), f'Bearer realm="{realm}"')
    with pytest.raises(RegistryError, match="without TLS"):
        found.header("a", ("s",), plain=False)
    assert server.asked == []


@pytest.mark.parametrize(("login", "said"), [(None, "wants a login"), (ME, "refuses the login of a file")])
def test_a_refusal_names_who_was_refused(login: Login | None, said: str) -> None:
    found = authorization(Server(status=401), login)
    with pytest.raises(RegistryError, match=said) as caught:
        found.header("a", ("s",), plain=False)
    assert "docker login" in caught.value.hint
    assert "geheim" not in str(caught.value)


def test_a_password_is_refused() -> None:
    found = Authorization(HOST, Logins(ME), Server())  # type: ignore[arg-type]
    found.refused("", "a", ("s",), "Basic realm=x")
    shown = found.header("a", ("s",), plain=False)
    assert shown == "Basic bWU6Z2VoZWlt"
    with pytest.raises(RegistryError, match="refuses the login of a file"):
        found.refused(shown, "a", ("s",), "Basic realm=x")


def test_a_token_that_would_break_a_header_is_refused() -> None:
    found = authorization(Server(token="a\r\nHost: other"), ME)
    with pytest.raises(RegistryError):
        found.header("a", ("s",), plain=False)
