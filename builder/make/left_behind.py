"""What configuring leaves behind that no image wants, as a table with reasons."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate

LEFT_BEHIND: tuple[tuple[str, str], ...] = (
    # pattern of relative paths, in which * also stands for /; reason
    ("dev/*", "the platform mounts it"),
    ("proc/*", "the platform mounts it"),
    ("sys/*", "the platform mounts it"),
    ("run/*", "the platform mounts it"),
    ("tmp/*", "temporary"),
    ("var/tmp/*", "temporary"),
    ("etc/.pwd.lock", "a lock of the moment"),
    ("etc/passwd-", "a backup"),
    ("etc/group-", "a backup"),
    ("etc/shadow-", "a backup"),
    ("etc/gshadow-", "a backup"),
    ("etc/subuid-", "a backup"),
    ("etc/subgid-", "a backup"),
    ("etc/ca-certificates.conf.dpkg-old", "a backup"),
    ("etc/machine-id", "one per machine"),
    ("var/lib/dbus/machine-id", "one per machine"),
    ("etc/iscsi/initiatorname.iscsi", "random, one per machine"),
    ("etc/nvme/host*", "random, one per machine"),
    ("etc/hostid", "random, one per machine"),
    ("etc/ssh/ssh_host_*", "a secret, one per machine"),
    ("etc/ssl/private/ssl-cert-snakeoil.key", "a secret, one per machine"),
    ("etc/ssl/certs/ssl-cert-snakeoil.pem", "belongs to a secret"),
    ("etc/bind/rndc.key", "a secret, one per machine"),
    ("etc/munge/munge.key", "a secret, one per machine"),
    ("etc/corosync/authkey", "a secret, one per machine"),
    ("etc/varnish/secret", "a secret, one per machine"),
    ("var/lib/rabbitmq/.erlang.cookie", "a secret, one per cluster"),
    ("var/lib/systemd/random-seed", "random"),
    ("var/lib/systemd/catalog*", "for the journal alone"),
    ("var/lib/systemd/deb-systemd-*", "which units are enabled: nothing starts units"),
    ("etc/systemd/system/*.wants*", "which units are enabled: nothing starts units"),
    ("etc/systemd/system/*.requires*", "which units are enabled: nothing starts units"),
    ("etc/systemd/system/*.service", "aliases of units"),
    ("etc/systemd/system/*.socket", "aliases of units"),
    ("etc/systemd/user/*.wants*", "which units are enabled: nothing starts units"),
    ("etc/systemd/user/*.service", "aliases of units"),
    ("etc/rc[0-6S].d/[SK]*", "which init scripts run: nothing runs them"),
    ("usr/lib/udev/hwdb.bin", "13 MB for udev alone"),
    ("etc/udev/hwdb.bin", "13 MB for udev alone"),
    ("var/cache/ldconfig/*", "a cache with times in it"),
    ("var/cache/apt/*", "a cache"),
    ("var/cache/man/*", "a cache"),
    ("var/cache/fontconfig/*", "a cache with times in it"),
    ("var/cache/debconf/*-old", "a backup"),
    ("var/lib/apt/lists/*", "a cache"),
    ("var/lib/dpkg/status", "in the records layer"),
    ("var/lib/dpkg/*-old", "a backup"),
    ("var/lib/dpkg/available", "empty without dselect"),
    ("var/lib/dpkg/lock*", "a lock of the moment"),
    ("var/lib/dpkg/triggers/Lock", "a lock of the moment"),
    ("var/lib/dpkg/triggers/Unincorp", "a list of the moment"),
    ("var/lib/dpkg/updates/*", "a list of the moment"),
    ("var/lib/dpkg/tmp.ci*", "temporary"),
    ("var/lib/ucf/*.[0-9]", "a backup"),
    ("etc/xml/*.old", "a backup"),
    ("var/lib/sgml-base/*.old", "a backup"),
    ("*/__pycache__", "package layers bring byte code"),
    ("*/__pycache__/*.pyc", "package layers bring byte code"),
    ("usr/lib/python3*/*.pyc", "package layers bring byte code"),
)

LEFT_BEHIND_FILES: tuple[tuple[str, str], ...] = (
    # files alone: a service may want the folders
    ("var/log/*", "logs"),
)

TEMPLATES = "var/cache/debconf/templates.dat"
_TRANSLATED = re.compile(r"^[A-Za-z_]+-(?!c:)[^:\n]+:.*\n", re.MULTILINE | re.IGNORECASE)


def without_translations(templates: str) -> str:
    """debconf's templates as they are where no language is installed: nine tenths of them are translations.

    ``Choices-c`` is none: it names choices as scripts do.
    """
    return _TRANSLATED.sub("", templates)


def _compiled(table: Iterable[tuple[str, str]]) -> re.Pattern[str]:
    return re.compile("|".join(translate(pattern) for pattern, _ in table))


_ANY = _compiled(LEFT_BEHIND)
_FILES = _compiled(LEFT_BEHIND_FILES)


def stays_out(path: str, *, folder: bool) -> bool:
    """Whether a path that configuring made stays out of the state layer.

    Args:
        path: relative.
    """
    return bool(_ANY.match(path)) or (not folder and bool(_FILES.match(path)))
