"""Which advisories releases close that come in place of others, by the record and the feeds as they were read last."""

from __future__ import annotations

import pytest

from builder.pipeline import closing, workspace
from builder.pipeline.closing import Closed
from builder.pipeline.edges import Edges
from builder.report import Silent
from builder.tools.store import Store
from tests.integration.test_security_update import day0
from tests.kit.distribution import Site

pytestmark = pytest.mark.integration
__all__ = ["day0"]


def between(site: Site, *moved: tuple[str, str, str]) -> Closed:
    store = Store(site.cache / "imgbuild")
    catalog = workspace.load(site.folder, (), store, Silent())
    return closing.between(catalog, moved, Edges(store, Silent()))


def test_what_a_new_release_closes_and_an_old_one_opens(day0: Site) -> None:
    assert between(day0, ("app", "1-r2", "1-r3")).unknown == ("app:1-r3",)
    assert between(day0, ("app", "1-r8", "1-r9")).unknown == ("app:1-r8", "app:1-r9")
    day0.works("security", "update")
    found = between(day0, ("app", "1-r2", "1-r3"), ("second", "1-r1", "1-r1"))
    assert [(one.advisory.id, one.images) for one in found.findings] == [("CVE-2026-1", ("app",))]
    assert found.unknown == ()
    assert between(day0, ("app", "1-r3", "1-r2")).findings == ()
    assert between(day0) == Closed()
