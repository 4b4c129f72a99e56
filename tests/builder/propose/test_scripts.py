"""Maintainer scripts, read and not run."""

from __future__ import annotations

import pytest

from builder.formats.systemd import OwnedFolder, SystemUser
from builder.propose import scripts


@pytest.mark.parametrize(
    ("text", "users"),
    [
        ("adduser --system --home /var/lib/a/ a\n", (SystemUser("a", "/var/lib/a"),)),
        ("adduser --system --group --home /var/lib/a --gecos 'The A' a\n", (SystemUser("a", "/var/lib/a", "", "The A"),)),
        ("adduser --quiet --system --ingroup g --shell=/bin/false a || true\n", (SystemUser("a", "", "/bin/false", "", "g"),)),
        ("USER=a\nadduser \\\n  --system \\\n  --home $HOME_OF_A \\\n  $USER >/dev/null\n", (SystemUser("a"),)),
        ("if x; then\n  useradd -r -d /srv/a -g a a; fi\n", (SystemUser("a", "/srv/a"),)),
        ("  pkgos_var_user_group nova /bin/sh\n", (SystemUser("nova", "/var/lib/nova"),)),
        ("# adduser --system a\n", ()),
        ("adduser a group\n", ()),
        ("adduser --system 'unclosed\n", ()),
        ("adduser --system $UNKNOWN\n", ()),
    ],
)  # fmt: skip
def test_users(text: str, users: tuple[SystemUser, ...]) -> None:
    assert scripts.users(text) == users


@pytest.mark.parametrize(
    ("text", "folders"),
    [
        ("chown -R a:adm /var/log/a /var/lib/a/\n", (OwnedFolder("/var/log/a", "a", "adm"), OwnedFolder("/var/lib/a", "a", "adm"))),
        ("D=/var/lib/a\nchown a $D\n", (OwnedFolder("/var/lib/a", "a"),)),
        ("install -d -o a -g b -m 0750 /var/lib/a\n", (OwnedFolder("/var/lib/a", "a", "b", "0750"),)),
        ("install -o a file /var/lib/a\n", ()),
        ("chown a /var/lib/*\nchown $U:$G /var/lib/x\nchown a\n", ()),
    ],
)  # fmt: skip
def test_folders(text: str, folders: tuple[OwnedFolder, ...]) -> None:
    assert scripts.folders(text) == folders
