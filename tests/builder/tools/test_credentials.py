"""Which login is for which address."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import UsageError
from builder.tools import credentials
from builder.tools.credentials import Login

FILE = """\
# a comment
machine deb.acme.example login me password s#cret
machine http://plain.acme.example:8080/debian
  login you
  password "two words"
machine deb.acme.example/private login it password p
default login nobody password none
"""


@pytest.fixture
def logins(tmp_path: Path) -> tuple[Login, ...]:
    (tmp_path / "netrc").write_text(FILE)
    return credentials.read(tmp_path / "netrc")


@pytest.mark.parametrize(
    ("url", "user"),
    [
        ("https://deb.acme.example/debian/x.deb", "me"),
        ("https://deb.acme.example:443/x", "me"),
        ("http://deb.acme.example/debian/x.deb", None),
        ("https://evil.deb.acme.example/", None),
        ("https://deb.acme.example.evil/", None),
        ("http://plain.acme.example:8080/debian/x", "you"),
        ("http://plain.acme.example:8080/other", None),
        ("http://plain.acme.example/debian/x", None),
        ("https://plain.acme.example:8080/debian/x", None),
        ("https://else.example/", None),
    ],
)
def test_a_login_is_for_what_it_names(logins: tuple[Login, ...], url: str, user: str | None) -> None:
    found = credentials.login(logins, url)
    assert (found.user if found else None) == user


def test_words_may_be_quoted(logins: tuple[Login, ...]) -> None:
    assert [login.password for login in logins] == ["s#cret", "two words", "p"]


def test_no_file_is_no_login(tmp_path: Path) -> None:
    assert credentials.read(None) == credentials.read(tmp_path / "none") == ()


@pytest.mark.parametrize("text", ["mashine x login y password z", "\0", "machine x login \xff"])
def test_a_broken_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "netrc").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match="netrc"):
        credentials.read(tmp_path / "netrc")
