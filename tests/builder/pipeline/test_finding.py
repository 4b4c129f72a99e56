"""Wishes for packages, and releases that are chosen."""

from __future__ import annotations

import pytest

from builder.errors import UsageError
from builder.model.lock import LockedPackage
from builder.pipeline.finding import Chosen, Wish
from dsl.naming import Names

PACKAGE = LockedPackage(
    "libssl3t64", "3.5.9-1~deb13u1+b1", "amd64", "openssl", "3.5.9-1~deb13u1", "debian", "trixie", "x", 1, "0" * 64, "x"
)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("libssl3t64", True),
        ("openssl", True),
        ("openssl (<< 3.5.9-1)", True),  # ~ sorts before the end
        ("openssl (= 3.5.9-1~deb13u1)", True),  # the source has no +b1
        ("libssl3t64 (= 3.5.9-1~deb13u1)", False),
        ("libssl3t64 (>> 3.5.9-1~deb13u1)", True),
        ("openssl(>=1:1)", False),
        ("openssl (<= 3.5.8)", False),
        ("libssl3", False),
    ],
)
def test_a_wish_is_for_binary_or_source_packages_by_dpkg_s_order(text: str, fits: bool) -> None:
    assert Wish.parse(text).fits(PACKAGE) is fits


@pytest.mark.parametrize("text", ["", "x (", "openssl (< 3)", "openssl (<< )", "A", "a b", "openssl (<< 3) x"])
def test_what_is_no_wish_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="names no package"):
        Wish.parse(text)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("d0c1 registry:5000/acme/nova-api:31.0.0-r1 Up", True),
        ("d0c1 nova-api:31.0.0-r10 Up", False),
        ("d0c1 registry:5000/acme/nova-api:31.0.0-r1@sha256:" + "b" * 64, True),
        ("x@sha256:" + "a" * 64, True),
        ("x@sha256:" + "b" * 64, False),
        ("imageID: aaaaaaaaaaaa", True),
        ("aaaaaaaaaaab", False),
        ("", False),
    ],
)
def test_releases_are_named_by_what_engines_print(text: str, chosen: bool) -> None:
    assert Chosen.named(text, Names()).has("oci:out:nova-api:31.0.0-r1", "sha256:" + "a" * 64, newest=True) is chosen
