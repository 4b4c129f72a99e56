"""Groups and keys: what moves nothing, and what must move something."""

from __future__ import annotations

from builder.make import leave_out
from builder.model.lock import Grouping
from builder.model.plan import LeaveOutRules
from builder.plan import groups
from tests.builder.test_formats import package


def test_a_new_package_moves_no_other() -> None:
    packages = tuple(package(f"p{n}", f"s{n % 40}") for n in range(100))
    chosen = groups.grouping(packages, None, "layer")
    more = (*packages, package("new"), package("openssl"))
    assert groups.grouping(more, chosen, "layer") == chosen
    before = {p.name: g.name for g in groups.groups(packages, chosen) for p in g.packages}
    after = {p.name: g.name for g in groups.groups(more, chosen) for p in g.packages}
    assert {name: after[name] for name in before} == before


def test_a_source_is_never_split() -> None:
    often = next(iter(groups.hot_sources()))
    sources = ("s0", "s1", "s2", often, "s4", "s5", "s6")
    packages = tuple(package(f"p{n}", sources[n % 7]) for n in range(50))
    found = groups.groups(packages, Grouping(5, (often, "s4")))
    owners = {p.source_package: {g.name for g in found if p in g.packages} for p in packages}
    assert all(len(names) == 1 for names in owners.values())
    assert [g.name for g in found if g.hot] == [often]
    assert [g.name for g in found if not g.name.startswith("bin-")] == sorted((often, "s4"))


def test_the_budget_holds() -> None:
    hot = list(groups.hot_sources())
    packages = tuple(package(f"p{n}", hot[n]) for n in range(200)) + tuple(package(f"q{n}") for n in range(200))
    for kind, budget in groups.BUDGETS.items():
        chosen = groups.grouping(packages, None, kind)
        assert len(groups.groups(packages, chosen)) <= budget


def test_the_most_often_patched_lie_on_top() -> None:
    first, second = list(groups.hot_sources())[:2]
    assert groups.hot_rank(first) > groups.hot_rank(second)


def test_what_is_left_out() -> None:
    rules = LeaveOutRules(("docs", "locales", "man"), ("/usr/share/doc/kept/*",))
    for path in ("usr/share/doc/x/README", "usr/share/man/man1/x.1.gz", "usr/share/locale/de/LC_MESSAGES/x.mo"):
        assert leave_out.left_out(path, rules)
    for path in ("usr/share/doc/x/copyright", "usr/share/doc/kept/README", "usr/share/info/x", "etc/x"):
        assert not leave_out.left_out(path, rules)
    text = leave_out.dpkg_cfg(rules)
    assert "path-exclude=/usr/share/doc/*\n" in text
    assert "path-include=/usr/share/doc/*/copyright\n" in text


def test_dpkg_unpacks_what_scripts_want() -> None:
    rules = LeaveOutRules(("init-scripts", "man", "tests"))
    assert leave_out.left_out("usr/lib/python3/dist-packages/x/tests/y.py", rules)
    told = leave_out.dpkg_cfg(rules).splitlines()
    assert "# path-exclude=/etc/init.d/*" in told
    assert [line for line in told if line.startswith("path-exclude=")] == ["path-exclude=/usr/share/man/*"]
