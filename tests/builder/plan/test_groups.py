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


@pytest.mark.parametrize(("size", "bins"), [(1, 1), (10, 3), (200, 24)])
def test_bins_grow_with_what_is_in_them(size: int, bins: int) -> None:
    packages = tuple(sized(f"p{n}", size * 10_000) for n in range(100))
    assert groups.grouping(packages, None, "layer") == Grouping(bins, ())


def test_the_most_often_patched_go_first_where_there_is_no_room() -> None:
    together = {source for family in groups.families().values() for source in family.sources}
    counts = {name: count for name, count in groups.hot_sources().items() if name not in together}
    chosen = groups.grouping(tuple(package(name) for name in counts), None, "image")
    assert 0 < len(chosen.alone) < groups.BUDGETS["image"]
    assert min(counts[name] for name in chosen.alone) >= max(
        counts[name] for name in counts if name not in chosen.alone
    )


def family() -> tuple[str, groups.Family]:
    """One of several sources, none of which is often patched."""
    found = ((name, one) for name, one in sorted(groups.families().items()) if len(one.sources) > 2)
    return next((name, one) for name, one in found if not set(one.sources) & groups.hot_sources().keys())


def test_a_family_stands_alone_together() -> None:
    name, found = family()
    packages = (*(sized(source, 100_000) for source in found.sources), sized("small", 1000))
    chosen = groups.grouping(packages, None, "image")
    assert chosen == Grouping(1, (name,))
    by_name = {group.name: group for group in groups.groups(packages, chosen)}
    assert {p.name for p in by_name[name].packages} == set(found.sources)
    assert not by_name[name].hot


def test_a_family_of_which_next_to_nothing_is_there_has_no_layer() -> None:
    _, found = family()
    assert groups.grouping((sized(found.sources[0], 1000), sized("small", 1000)), None, "image").alone == ()


def test_a_lock_from_before_the_families_keeps_its_groups() -> None:
    _, found = family()
    packages = tuple(sized(source, 100_000) for source in found.sources)
    assert {group.name for group in groups.groups(packages, Grouping(1, ()))} == {"bin-00"}


def test_a_source_is_in_one_family_and_what_is_often_patched_is_not_with_what_is_not() -> None:
    sources = [source for one in groups.families().values() for source in one.sources]
    assert len(sources) == len(set(sources))
    hot = groups.hot_sources().keys()
    assert all(len({source in hot for source in one.sources}) == 1 for one in groups.families().values())


def test_a_family_that_is_often_patched_lies_with_such_sources() -> None:
    hot = groups.hot_sources()
    places = list(hot)
    name, found = next(
        (n, one) for n, one in groups.families().items() if n not in hot and set(one.sources) <= hot.keys()
    )
    lowest = max(found.sources, key=places.index)
    assert groups.hot_rank(name)[0] == groups.hot_rank(lowest)[0]


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
