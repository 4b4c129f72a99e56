"""Credentials by address, from a file in the form that apt takes (apt_auth.conf(5)): apt and we read the same one."""

from __future__ import annotations

import netrc
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from builder.errors import UsageError


@dataclass(frozen=True, slots=True)
class Login:
    """A user of some addresses.

    Attributes:
        machine: ``host``, ``host:port``, ``host/path``, each perhaps after a scheme; without one, https alone is meant.
    """

    machine: str
    user: str
    password: str = field(repr=False)

    def fits(self, url: str) -> bool:
        """Whether it is for an address."""
        scheme, _, machine = self.machine.rpartition("://")
        asked = urlsplit(url)
        host, _, path = machine.partition("/")
        return (
            asked.scheme == (scheme or "https")
            and host in (asked.hostname, f"{asked.hostname}:{asked.port}")
            and asked.path.startswith("/" + path)
        )


def read(path: Path | None) -> tuple[Login, ...]:
    """The logins of a file; none if there is no file.

    Raises:
        UsageError: it cannot be read or understood.
    """
    if path is None or not path.exists():
        return ()
    try:
        hosts = netrc.netrc(str(path)).hosts
    except netrc.NetrcParseError as error:
        raise UsageError(
            f"{path}:{error.lineno}: {error.msg}", "it has lines `machine HOST login USER password WORD`"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the credentials cannot be read: {error}") from None
    return tuple(Login(machine, user, word) for machine, (user, _, word) in hosts.items() if machine != "default")


def login(logins: tuple[Login, ...], url: str) -> Login | None:
    """The first login that fits an address."""
    return next((one for one in logins if one.fits(url)), None)
