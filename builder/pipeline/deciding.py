"""What people decide: packages that are held, flaws that do not matter here."""

from __future__ import annotations

from collections.abc import Iterable

from builder.errors import UsageError
from builder.model.advisory import OPEN, PYPI, State
from builder.model.decision import Hold, Product, Statement
from builder.pipeline import decisions, locking, securing, selection
from builder.pipeline.securing import Finding
from builder.security import holds, vex
from builder.security.feeds import Feed
from dsl.catalog import Catalog
from dsl.errors import nearest


def hold(catalog: Catalog, wish: str, because: str, until: str) -> Hold:
    """Hold a package, in place of an older decision of the same.

    Args:
        wish: a source or binary package that is locked; with ``=VERSION`` only that version of the source is meant.
        until: the last day.

    Raises:
        UsageError: no lock has it, or nobody decides it.
    """
    name, _, version = wish.partition("=")
    made = Hold(
        source(catalog, name),
        version,
        decisions.reason(because),
        decisions.last_day(until),
        decisions.author(catalog),
        decisions.now(),
    )
    decisions.write(catalog.root, {catalog.root / decisions.HOLDS: holds.text((*_others(catalog, made), made))})
    return made


def release(catalog: Catalog, wish: str) -> Hold:
    """End a hold.

    Raises:
        UsageError: there is none.
    """
    name, _, version = wish.partition("=")
    there = decisions.all_holds(catalog)
    # What was held stays to be named, whether or not a lock still has it.
    names = {name, *(() if any(one.package == name for one in there) else (source(catalog, name),))}
    found = next((one for one in there if one.package in names and one.version == version), None)
    if found is None:
        known = (f"{one.package}={one.version}".rstrip("=") for one in there)
        raise UsageError(f"{wish} is not held", nearest(wish, known))
    decisions.write(catalog.root, {catalog.root / decisions.HOLDS: holds.text(_others(catalog, found))})
    return found


def _others(catalog: Catalog, hold_: Hold) -> tuple[Hold, ...]:
    return tuple(x for x in decisions.all_holds(catalog) if (x.package, x.version) != (hold_.package, hold_.version))


def source(catalog: Catalog, name: str) -> str:
    """The source of a package that is locked, by its own name or that of one of its binary packages.

    Raises:
        UsageError: no lock of the workspace has it.
    """
    known = sources(catalog)
    if name in known.values():
        return name
    if name not in known:
        raise UsageError(f"no lock here has {name}", nearest(name, {*known, *known.values()}))
    return known[name]


def sources(catalog: Catalog, targets: Iterable[str] = ()) -> dict[str, str]:
    """The source of each binary package that is locked."""
    wanted = selection.definitions(selection.images(catalog, targets))
    return {p.name: p.source_package for _, lock in locking.every(catalog, wanted) for p in lock.packages}


def ignore(
    catalog: Catalog, what: str, targets: Iterable[str], only: Iterable[str], feeds: tuple[Feed, ...], *,
    because: str, until: str, justification: str = "",
) -> tuple[Finding, ...]:  # fmt: skip
    """Decide that a flaw does not matter here, in place of an older decision of the same.

    Args:
        what: an advisory or CVE that is open.
        targets: in which images; in all of them if none is named.
        only: packages, by the names of source or binary; all that the advisory speaks of if none is named.
        until: the last day.
        justification: one of OpenVEX's.

    Returns:
        how images stand to it now.

    Raises:
        UsageError: nothing here is affected by it, or nobody decides.
    """
    wanted = tuple(targets)
    known, names = sources(catalog, wanted), tuple(only)
    mine = [
        one
        for one in securing.status(catalog, wanted, feeds).findings
        if one.state in (*OPEN, State.DECIDED)
        and what in (one.advisory.id, *one.advisory.aliases)
        and (not names or {one.advisory.source, one.package} & {*names, *(known.get(name, name) for name in names)})
    ]
    if not mine:
        raise UsageError(f"{what} touches nothing here that is open", "`imgbuild security status` lists what is")
    other = {
        name
        for one in mine
        if what == one.advisory.id or not vex.members(one.advisory.id, one.advisory.aliases)
        for name in (one.advisory.id, *one.advisory.aliases)
    }
    purls = {
        purl
        for one in mine
        for purl in vex.package_products(
            "pypi" if one.advisory.suite == PYPI else "deb", one.advisory.source,
            (name for name, source_ in known.items() if source_ == one.advisory.source),
        )
    }  # fmt: skip
    images = {image.name for image in selection.images(catalog, wanted)} if wanted else set()
    images &= {image for one in mine for image in one.images}
    if images:
        products = tuple(Product((vex.image_product(image),), tuple(sorted(purls))) for image in sorted(images))
    else:
        products = tuple(Product((purl,)) for purl in sorted(purls))
    author, now = decisions.author(catalog), decisions.now()
    made = Statement(
        (what, *sorted(other - {what})), products, vex.NOT_AFFECTED, justification, decisions.reason(because), author,
        now, decisions.last_day(until), own=True,
    )  # fmt: skip
    document = decisions.vex_document(catalog)
    text = vex.edited(document, lambda one: not vex.of_the_same(one, made), (made,), author, now)
    decisions.write(catalog.root, {catalog.root / decisions.VEX: text})
    return tuple(
        one
        for one in securing.status(catalog, wanted, feeds).findings
        if what in (one.advisory.id, *one.advisory.aliases)
    )


def unignore(catalog: Catalog, what: str, targets: Iterable[str], only: Iterable[str]) -> int:
    """Take decisions back: those about a flaw that speak of no other image or package than the named ones.

    Returns:
        how many.

    Raises:
        UsageError: there is none.
    """
    wanted, names = tuple(targets), tuple(only)
    images = {vex.image_product(image.name) for image in selection.images(catalog, wanted)} if wanted else set()
    known = sources(catalog) if names else {}
    named = {*names, *(known.get(name, name) for name in names)}

    def gone(one: Statement) -> bool:
        about = vex.scope(one)
        mine, packages_ = {x for x in about if x in images}, vex.named(one)
        return (
            what in one.names
            and (not wanted or (bool(mine) and mine == {x for x in about if x.startswith("pkg:oci/")}))
            and (not names or packages_ <= named)
        )

    there = decisions.statements(catalog)
    count = sum(map(gone, there))
    if not count:
        decided = {one.names[0] for one in there}
        raise UsageError(
            f"nothing was decided about {what}{' there' if wanted or names else ''}", nearest(what, decided)
        )
    text = vex.edited(
        decisions.vex_document(catalog), lambda one: not gone(one), (), decisions.author(catalog), decisions.now()
    )
    decisions.write(catalog.root, {catalog.root / decisions.VEX: text})
    return count
