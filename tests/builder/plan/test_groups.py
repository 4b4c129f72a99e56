"""Groups: which sources stand alone, in which order they lie, and that none ever moves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builder.model.lock import Grouping, LockedPackage
from builder.plan import groups
from tests.builder.test_formats import package

BINS = {"bash": "bin-03", "openssl": "bin-06", "python-oslo.config": "bin-01", "zlib": "bin-06"}


def sized(name: str, size: int) -> LockedPackage:
    """A package of this size."""
    return replace(package(name), size=size)


def test_a_bin_is_fixed_for_ever() -> None:
    found = groups.groups(tuple(package(name) for name in BINS), Grouping(7, ()))
    assert {p.name: group.name for group in found for p in group.packages} == BINS


def test_a_large_source_stands_alone_but_is_not_hot() -> None:
    packages = (sized("never-patched", groups.LARGE_BYTES), sized("small", 1000))
    chosen = groups.grouping(packages, None, "image")
    assert chosen == Grouping(1, ("never-patched",))
    assert [(g.name, g.hot) for g in groups.groups(packages, chosen)] == [("bin-00", False), ("never-patched", False)]


def test_a_source_is_large_by_all_its_packages() -> None:
    half = groups.LARGE_BYTES // 2
    packages = (replace(package("a", "both"), size=half), replace(package("b", "both"), size=half), package("c"))
    assert groups.grouping(packages, None, "layer").alone == ("both",)


@pytest.mark.parametrize(("size", "bins"), [(1, 1), (10, 3), (200, 22)])
def test_bins_grow_with_what_is_in_them(size: int, bins: int) -> None:
    packages = tuple(sized(f"p{n}", size * 10_000) for n in range(100))
    assert groups.grouping(packages, None, "layer") == Grouping(bins, ())


def test_the_most_often_patched_go_first_where_there_is_no_room() -> None:
    counts = groups.hot_sources()
    chosen = groups.grouping(tuple(package(name) for name in counts), None, "image")
    assert 0 < len(chosen.alone) < groups.BUDGETS["image"]
    assert min(counts[name] for name in chosen.alone) >= max(
        counts[name] for name in counts if name not in chosen.alone
    )


def test_a_name_that_has_left_the_table_lies_below_the_others() -> None:
    assert all(groups.hot_rank("left-the-table") < groups.hot_rank(name) for name in groups.hot_sources())


def test_no_packages_make_no_layer() -> None:
    assert groups.grouping((), None, "image") == Grouping(0, ())
    assert groups.groups((), Grouping(0, ())) == ()


def test_what_comes_into_an_empty_definition_is_grouped() -> None:
    assert groups.grouping((package("first"),), Grouping(0, ()), "image") == Grouping(1, ())


def test_a_chain_of_five_fits_into_an_image() -> None:
    layers = 4 * groups.BUDGETS["shared"] + groups.BUDGETS["image"]
    states, files, records = 5, 5, 1
    assert layers + states + files + records <= 125
