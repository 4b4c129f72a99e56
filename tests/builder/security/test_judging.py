"""How a locked package stands to an advisory: dpkg's order of versions, and which suites a feed speaks of."""

from __future__ import annotations

import pytest

from builder.model.advisory import Advisory, State
from builder.model.lock import LockedPackage, LockedWheel
from builder.security import judging


def package(version: str, suite: str = "trixie") -> LockedPackage:
    return LockedPackage(
        "libssl3", version, "amd64", "openssl", version, "debian", suite, "p", 1, "0" * 64, "asked for"
    )


@pytest.mark.parametrize(
    ("version", "introduced", "fixed", "state"),
    [
        ("3.5.1-1", "0", "3.5.1-1+deb13u2", State.FIXABLE),
        ("3.5.1-1+deb13u1", "0", "3.5.1-1+deb13u2", State.FIXABLE),
        ("3.5.1-1+deb13u2", "0", "3.5.1-1+deb13u2", State.FIXED),
        ("3.5.1-1+deb13u10", "0", "3.5.1-1+deb13u2", State.FIXED),
        ("3.5.1-1~bpo12+1", "0", "3.5.1-1", State.FIXABLE),
        ("1:1.0-1", "0", "9.9-1", State.FIXED),
        ("9.9-1", "0", "1:1.0-1", State.FIXABLE),
        ("3.5.1~rc1-1", "0", "3.5.1-1", State.FIXABLE),
        ("3.5.1-1", "0", "", State.WAITING),
        ("3.5.1-1", "3.6", "3.6.2-1", State.UNTOUCHED),
        ("3.6.0-1", "3.6", "3.6.2-1", State.FIXABLE),
        ("3.6.0-1", "3.6", "", State.WAITING),
    ],
)
def test_versions_of_debian(version: str, introduced: str, fixed: str, state: State) -> None:
    assert judging.package(package(version), Advisory("CVE-1", "openssl", "trixie", introduced, fixed)) == state


def test_the_source_counts_not_the_binary() -> None:
    # A binNMU's version is the binary's alone.
    rebuilt = LockedPackage(
        "libssl3", "3.5.1-1+b1", "amd64", "openssl", "3.5.1-1", "debian", "trixie", "p", 1, "0" * 64, "x"
    )
    assert judging.package(rebuilt, Advisory("CVE-1", "openssl", "trixie", "0", "3.5.1-1+a")) == State.FIXABLE


@pytest.mark.parametrize(
    ("version", "introduced", "fixed", "state"),
    [
        ("2.10", "0", "2.9", State.FIXED),
        ("2.9rc1", "0", "2.9", State.FIXABLE),
        ("2.9.post1", "0", "2.9", State.FIXED),
        ("1.0", "2.0", "2.9", State.UNTOUCHED),
        ("2.0", "2.0", "", State.WAITING),
        ("not a version", "0", "2.9", State.WAITING),
    ],
)
def test_versions_of_python(version: str, introduced: str, fixed: str, state: State) -> None:
    wheel = LockedWheel("app", "jinja2", version, "f.whl", "", 1, "0" * 64, "jinja2", "asked for")
    assert judging.wheel(wheel, Advisory("PYSEC-1", "jinja2", "PyPI", introduced, fixed)) == state


@pytest.mark.parametrize(
    ("suite", "release"),
    [
        ("trixie", "trixie"),
        ("trixie-security", "trixie"),
        ("trixie-updates", "trixie"),
        ("trixie-backports", ""),
        ("bookworm", "bookworm"),
        ("trixieplus", ""),
        ("stable", ""),
        ("", ""),
    ],
)
def test_suites_of_a_release(suite: str, release: str) -> None:
    assert judging.release(suite, ("trixie", "bookworm")) == release
