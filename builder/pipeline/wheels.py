"""Environments of definitions: what they ask for, their wheels locked, and where the bytes of wheels are had."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import FetchError, ResolveError
from builder.model.digest import Digest
from builder.model.lock import Lock, LockedEnvironment, LockedPackage, LockedWheel
from builder.pipeline import workspace
from builder.pipeline.edges import Edges
from builder.plan import groups
from builder.tools import carried, credentials
from builder.tools import fetch as fetching
from builder.tools.fetch import Wanted
from dsl import versions
from dsl.catalog import Catalog, Definition

if TYPE_CHECKING:
    from builder.resolve.python import About, FoundWheel, Index, Target
    from dsl.requirements import Wanted as Wish

_PYTHON, _LIBC = "python3", "libc6"
_ASKED = "asked for"
_PRIORITY = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """What a definition, and those below it, ask of an environment.

    Attributes:
        own: of the definition itself.
        every: with those below.
    """

    own: tuple[Wish, ...]
    every: tuple[Wish, ...]


def facts(catalog: Catalog, definition: Definition) -> str:
    """What decides which wheels a definition adds, as text; empty if it has no environment."""
    if not definition.model.environments:
        return ""
    from builder.resolve import python

    told = {
        "environments": {
            name: [
                [wish.text, wish.hashes] for wish in sorted(_asked(definition, name).own, key=lambda wish: wish.text)
            ]
            for name in sorted(definition.model.environments)
        },
        "indexes": [
            [index.name, index.url, python.contents_of(index.folder) if index.folder else []]
            for index in indexes(catalog, definition)
        ],
    }
    return json.dumps(told, sort_keys=True)


def indexes(catalog: Catalog, definition: Definition) -> tuple[Index, ...]:
    """Where a definition's wheels come from: folders first, then indexes, PyPI if there is none."""
    from builder.resolve.python import PYPI, Index

    named = sorted(
        catalog.sources(definition).items(),
        key=lambda one: (one[1][0].wheels is None, -(one[1][0].priority or _PRIORITY), one[0]),
    )
    found = []
    for name, (source, folder) in named:
        if source.wheels is not None:
            found.append(Index(name, folder=folder / source.wheels))
        elif source.index is not None:
            found.append(Index(name, source.index, _asked_for(catalog, source.index)))
    if not any(index.url for index in found):
        found.append(Index("pypi", PYPI, _asked_for(catalog, PYPI)))
    return tuple(found)


def _asked_for(catalog: Catalog, url: str) -> str:
    """What is asked in place of an index: a site's own stands in for PyPI alone."""
    from builder.resolve.python import PYPI

    if url.rstrip("/") == PYPI:
        url = os.environ.get("IMGBUILD_INDEX") or catalog.workspace.index or _of_pip() or url
    login = credentials.login(credentials.read(netrc(catalog)), url)
    if login is None or "@" in url:
        return url
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{login.user}:{login.password}@{rest}"


def _of_pip() -> str:
    """The index that this machine's pip asks (pip's "Configuration")."""
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if os.environ.get(name):
            return os.environ[name]
    import configparser

    home = Path(os.environ.get("HOME") or "/nonexistent")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [Path("/etc/pip.conf"), home / ".pip/pip.conf", config / "pip/pip.conf"]
    if os.environ.get("PIP_CONFIG_FILE"):
        files.append(Path(os.environ["PIP_CONFIG_FILE"]))
    found = ""
    for file in files:
        read = configparser.RawConfigParser()
        try:
            read.read(file)
        except (configparser.Error, UnicodeDecodeError, OSError):
            continue
        found = read.get("global", "index-url", fallback=found)
    return found


def netrc(catalog: Catalog) -> Path | None:
    """The file of credentials that the workspace names."""
    return catalog.root / catalog.workspace.netrc if catalog.workspace.netrc else None


def stores(catalog: Catalog, sha256: str) -> list[str]:
    """Where the workspace's stores may have something."""
    named = (store for store in catalog.workspace.stores if not store.startswith("registry:"))
    found = (store if "://" in store else str(catalog.root / store) for store in named)
    there = carried.at(workspace.mirror(catalog.workspace))
    places = (*((str(there.blobs),) if there else ()), *found)
    return [f"{store.rstrip('/')}/{sha256}" for store in places]


def from_registries(catalog: Catalog, wanted: Iterable[Wanted], edges: Edges) -> None:
    """Bring what this machine lacks from the workspace's stores in registries, as far as these have it."""
    if any(store.startswith("registry:") for store in catalog.workspace.stores):
        # Who has none does without what that needs.
        from builder.pipeline import reusing

        reusing.packages(catalog, ((one.digest, one.size or 0) for one in wanted), edges)


def lock(
    catalog: Catalog,
    definition: Definition,
    below: tuple[Lock, ...],
    packages: tuple[LockedPackage, ...],
    architecture: str,
    before: Lock | None,
    edges: Edges,
    *,
    update: bool,
    regroup: bool = False,
) -> tuple[tuple[LockedEnvironment, ...], tuple[LockedWheel, ...]]:
    """Lock the wheels that a definition adds to its environments.

    Args:
        below: the locks of what it stands on.
        packages: those of Debian that it adds itself.
        update: move to the newest versions.
        regroup: find their layers anew.

    Raises:
        Unsatisfiable: there is no answer.
        ResolveError: there is no Python, a hash is not given, or two wheels do not go together.
        FetchError: a wheel cannot be had.
    """
    environments: list[LockedEnvironment] = []
    wheels: list[LockedWheel] = []
    for name in sorted(definition.model.environments):
        edges.reporter.step(f"resolving /opt/{name} of {definition.name}")
        environment, own = _locked(
            catalog, definition, name, below, packages, architecture, before, edges, update=update, regroup=regroup
        )
        environments.append(environment)
        wheels += own
    return tuple(environments), tuple(sorted(wheels))


def _locked(
    catalog: Catalog, definition: Definition, name: str, below: tuple[Lock, ...], packages: tuple[LockedPackage, ...],
    architecture: str, before: Lock | None, edges: Edges, *, update: bool, regroup: bool,
) -> tuple[LockedEnvironment, list[LockedWheel]]:  # fmt: skip
    from builder.resolve import python

    target = _target(definition, name, below, packages, architecture)
    asked = _asked(definition, name)
    beneath = [wheel for lock in below for wheel in lock.wheels if wheel.environment == name]
    old = next((one for one in before.environments if one.name == name), None) if before else None
    fresh = update or old is None or old.python != target.minor
    kept = {} if fresh or not before else {w.name: w for w in before.wheels if w.environment == name}
    there = indexes(catalog, definition)
    chain = tuple(part.name for part in definition.chain())
    found = python.resolve(
        target, asked.every, [(w.name, w.version) for w in beneath], [(w.name, w.version) for w in kept.values()],
        there, chain, edges.store,
    )  # fmt: skip
    fixed = {wheel.name for wheel in beneath}
    # A version that stays keeps its file, whatever others have been uploaded for it since.
    rows = [_row(name, wheel, kept.get(wheel.name), there) for wheel in found if wheel.name not in fixed]
    known = {wheel.sha256 for wheel in kept.values()}
    _fetch_found(catalog, [one for one in found if one.sha256 in {row.sha256 for row in rows} - known], edges)
    fetch(catalog, (definition,), (*beneath, *(row for row in rows if row.sha256 in known)), edges)
    files = {row.name: edges.store.path(Digest.from_hex(row.sha256)) for row in (*beneath, *rows)}
    about = {row.name: python.about(files[row.name], row.filename, target) for row in (*beneath, *rows)}
    _go_together(name, about, chain)
    held = {package.name for package in (*(p for lock in below for p in lock.packages), *packages)}
    for row in rows:
        for library in about[row.name].libraries:
            package = python.SYSTEM_LIBRARIES[library]
            if not any(one.startswith(package) for one in held):
                edges.reporter.warn(
                    f"{' → '.join(chain)}: {row.title} is linked with {library}, and nothing here has {package}\n"
                    f"  hint: say `packages: {{apt: [{package}]}}`, unless what wants it is never used"
                )
    _have_hashes(name, asked.own, {row.name: row.sha256 for row in rows}, chain)
    sizes = {row.name: files[row.name].stat().st_size for row in rows}
    grouped = {w.name: w.group for w in before.wheels if w.environment == name} if before and not regroup else {}
    bins, layer = groups.wheels(sizes, grouped, None if regroup else old)
    wishes = {wish.name for wish in asked.own}
    return LockedEnvironment(name, target.minor, bins), [
        replace(
            row,
            size=sizes[row.name],
            group=layer[row.name],
            why=_ASKED if row.name in wishes else _needed_by(row.name, about),
        )
        for row in rows
    ]


def settled(definition: Definition, before: Lock, was: tuple[Lock, ...], now: Lock, below: tuple[Lock, ...]) -> bool:
    """Whether the wheels of a definition are those of before, since nothing has changed that decides about them: what it asks
    for, the Python, the libc, which packages there are, the wheels below.

    Args:
        before, now: its locks; the new one has no wheels yet.
        was, below: those of what it stands on, then and now.
    """

    def decides(locks: tuple[Lock, ...]) -> tuple[object, ...]:
        names = frozenset(package.name for lock in locks for package in lock.packages)
        environments = sorted(definition.model.environments)
        targets = [_target(definition, name, locks, (), before.architecture) for name in environments]
        asked = [(lock.fingerprint, lock.rules) for lock in locks]
        return names, targets, asked, [lock.wheels for lock in locks[:-1]]

    fits = bool(was) and before.stands_on == was[-1].digest()
    return fits and decides((*was, before)) == decides((*below, now))


def _row(environment: str, wheel: FoundWheel, kept: LockedWheel | None, there: Sequence[Index]) -> LockedWheel:
    from builder.resolve import python

    if kept is not None and kept.version == wheel.version:
        return kept
    url = python.public(wheel.url, there)
    return LockedWheel(
        environment, wheel.name, wheel.version, wheel.filename, url, wheel.size or 0, wheel.sha256, "", ""
    )


def _target(
    definition: Definition, name: str, below: tuple[Lock, ...], packages: tuple[LockedPackage, ...], architecture: str
) -> Target:
    from builder.resolve.python import Target

    there = {package.name: package for package in (*(p for lock in below for p in lock.packages), *packages)}
    if _PYTHON not in there:
        raise ResolveError(
            f"{' → '.join(part.name for part in definition.chain())}: the environment {name!r} wants a Python, and "
            f"nothing here has {_PYTHON}",
            f"say `packages: {{apt: [{_PYTHON}]}}`, or stand on a layer that has it, such as python-13",
        )
    libc = versions.product_version(there[_LIBC].version).split(".")[:2] if _LIBC in there else ["2", "17"]
    return Target(versions.product_version(there[_PYTHON].version), int(libc[1]), architecture)


def _asked(definition: Definition, name: str) -> Asked:
    parts = [part for part in definition.chain() if name in part.model.environments]
    wishes = {part.key: _wishes(part, name) for part in parts}
    return Asked(wishes.get(definition.key, ()), tuple(wish for one in wishes.values() for wish in one))


def _wishes(definition: Definition, name: str) -> tuple[Wish, ...]:
    from dsl import requirements

    environment = definition.model.environments[name]
    file = definition.beside("environments", name, "requirements") if environment.requirements else None
    try:
        return requirements.of(environment, file)
    except OSError as error:
        raise ResolveError(f"{file}: {error.strerror}", "an environment names this file") from None


def _go_together(name: str, about: Mapping[str, About], chain: tuple[str, ...]) -> None:
    owners: dict[str, tuple[str, str]] = {}
    for wheel, said in sorted(about.items()):
        for path, hash_ in said.files.items():
            owner, known = owners.setdefault(path, (wheel, hash_))
            if known != hash_:
                raise ResolveError(
                    f"{' → '.join(chain)}: {owner} and {wheel} bring the same file into /opt/{name}, and it differs: {path}",
                    "leave one of them out, or give them environments of their own",
                )


def _have_hashes(name: str, asked: tuple[Wish, ...], sums: Mapping[str, str], chain: tuple[str, ...]) -> None:
    allowed: dict[str, set[str]] = {}
    for wish in asked:
        if wish.hashes:
            allowed.setdefault(wish.name, set()).update(wish.hashes)
    if not allowed:
        return
    where = " → ".join(chain)
    for wheel, sha256 in sums.items():
        if wheel not in allowed:
            raise ResolveError(
                f"{where}: the requirements of /opt/{name} give hashes, and none of {wheel}, which is needed, too",
                "`uv pip compile --generate-hashes` (or pip-compile) writes all of them",
            )
        if sha256 not in allowed[wheel]:
            raise ResolveError(
                f"{where}: the wheel of {wheel} that fits here has the sha256 {sha256}, which the requirements of /opt/{name} do not give",
                "were they made for another Python or machine, or is the index not to be trusted?",
            )


def _needed_by(name: str, about: Mapping[str, About]) -> str:
    return next((other for other, said in sorted(about.items()) if name in said.needs), _ASKED)


def _fetch_found(catalog: Catalog, found: Iterable[FoundWheel], edges: Edges) -> None:
    wanted = [
        Wanted(
            f"{wheel.name} {wheel.version}", Digest.from_hex(wheel.sha256), wheel.size,
            (*stores(catalog, wheel.sha256), wheel.url),
        )
        for wheel in found
    ]  # fmt: skip
    from_registries(catalog, wanted, edges)
    missing = fetching.fetch(wanted, edges.store, edges.reporter, credentials.read(netrc(catalog)))
    if missing:
        first = missing[0]
        raise FetchError(
            f"{first.title} is in the index, and its file is not there", first.places[-1], 404, "is the index whole?"
        )


def fetch(catalog: Catalog, definitions: Iterable[Definition], wheels: Iterable[LockedWheel], edges: Edges) -> None:
    """See to it that the store has some wheels.

    Raises:
        FetchError: one cannot be had.
    """
    wanted = {wheel.sha256: wheel for wheel in wheels}
    if not wanted:
        return
    from builder.resolve import python

    asking = (one for one in definitions if one.model.environments)
    there = tuple(dict.fromkeys(index for one in asking for index in indexes(catalog, one)))
    public = not any(index.substituted for index in there)
    logins = credentials.read(netrc(catalog))
    first = [_at(catalog, wheel, there, wheel.url if public else "") for wheel in wanted.values()]
    from_registries(catalog, first, edges)
    missing = [wanted[one.digest.hex] for one in fetching.fetch(first, edges.store, edges.reporter, logins)]
    if missing:
        edges.reporter.step(f"asking indexes for {len(missing)} wheels")
        places = python.places([(wheel.name, wheel.version) for wheel in missing], there, edges.store)
        again = [
            Wanted(
                one.title, one.digest, one.size, tuple(place for place in (places.get(one.digest.hex), url) if place)
            )
            for one, url in ((_at(catalog, wheel, (), ""), wheel.url) for wheel in missing)
        ]
        missing = [wanted[one.digest.hex] for one in fetching.fetch(again, edges.store, edges.reporter, logins)]
    if missing:
        names = ", ".join(f"{wheel.name} {wheel.version}" for wheel in missing)
        verb = "is" if len(missing) == 1 else "are"
        raise FetchError(
            f"{names} {verb} nowhere to be had any more", missing[0].url, 404,
            "run `imgbuild lock --update`, or name `stores` of the workspace, or a source `{wheels: FOLDER}`, that has it",
        )  # fmt: skip


def _at(catalog: Catalog, wheel: LockedWheel, there: Sequence[Index], url: str) -> Wanted:
    folders = [str(index.folder / wheel.filename) for index in there if index.folder]
    places = [*stores(catalog, wheel.sha256), *folders, *([url] if url else [])]
    return Wanted(f"{wheel.name} {wheel.version}", Digest.from_hex(wheel.sha256), wheel.size, tuple(places))


def outdated(
    catalog: Catalog, definition: Definition, below: tuple[Lock, ...], lock_: Lock, edges: Edges
) -> Iterator[tuple[str, str, str, str]]:
    """Wheels that `lock --update` would move: (what it is called, locked, newest, where from)."""
    from builder.resolve import python

    for environment in lock_.environments:
        if environment.name not in definition.model.environments:
            continue
        target = _target(definition, environment.name, below, lock_.packages, lock_.architecture)
        beneath = [(w.name, w.version) for lock in below for w in lock.wheels if w.environment == environment.name]
        there = indexes(catalog, definition)
        chain = tuple(part.name for part in definition.chain())
        asked = _asked(definition, environment.name).every
        found = python.resolve(target, asked, beneath, (), there, chain, edges.store)
        newest = {wheel.name: wheel.version for wheel in found}
        names = " ".join(index.name for index in there)
        for wheel in lock_.wheels:
            if wheel.environment == environment.name and newest.get(wheel.name, wheel.version) != wheel.version:
                yield wheel.title, wheel.version, newest[wheel.name], names
