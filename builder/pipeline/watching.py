"""The job of each night: ask feeds and indexes, update, build, validate; and put the locks on a branch of git."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from builder import transports, validate
from builder.errors import UsageError
from builder.model.advisory import State
from builder.pipeline import building, finishing, locking, securing, selection, updating, workspace
from builder.pipeline.edges import Edges
from builder.pipeline.updating import Update
from builder.security.feeds import Feed
from builder.tools import branches
from builder.tools.branches import Branch, Checkout
from dsl import loading
from dsl.catalog import Catalog
from dsl.errors import DefinitionError, ImgbuildError

BRANCH = "imgbuild/security-updates"
_SUBJECT = 72


@dataclass(frozen=True, slots=True)
class Wanted:
    """The branch that is wanted.

    Attributes:
        base: of the workspace's repository; empty for what is checked out there.
        author: ``Name <mail>``; empty for whom git's configuration says.
    """

    branch: str = BRANCH
    base: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A fix for a definition that comes from elsewhere at a commit: it is made there.

    Attributes:
        fixed: the version that has the fix.
        advisory: empty if none is known, and a security suite has a newer one.
    """

    definition: str
    package: str
    version: str
    fixed: str
    advisory: str

    def data(self) -> dict[str, str]:
        """For machines."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Night:
    """What came of one run.

    Attributes:
        faults: what is wrong with images that were to be built: no branch is made of them.
        broken: definitions that cannot be read; the others are looked after all the same.
        branches: one of each repository, if they were asked for.
    """

    update: Update
    pinned: tuple[Pinned, ...]
    faults: tuple[str, ...]
    broken: tuple[str, ...]
    branches: tuple[Branch, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether somebody has to look at it."""
        return bool(
            self.faults or self.broken or self.update.failed or any(x.state == branches.FAILED for x in self.branches)
        )

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {
            **self.update.data(),
            "pinned": [one.data() for one in self.pinned],
            "faults": list(self.faults),
            "broken": list(self.broken),
            "branches": [one.data() for one in self.branches],
        }


@contextlib.contextmanager
def alone(directory: Path, edges: Edges) -> Iterator[bool]:
    """Whether nobody else has a night in this workspace now; nobody has until the block ends."""
    with edges.store.alone(f"watch-{_named(_folder(directory))}") as whether:
        yield whether


def here(
    catalog: Catalog, feeds: Iterable[str], destination: str, edges: Edges, *, offline: bool = False, reuse: str = ""
) -> Night:
    """A night in the workspace as it lies there: the locks in it are what has changed.

    What a killed run has left is done first: locks that do not fit each other are made to fit, and images of which the
    locks do not say that they were built are built.
    """
    chosen = selection.select(catalog, ())
    if locking.check(catalog, chosen, edges):
        locking.lock(catalog, chosen, edges)
    return _night(catalog, feeds, destination, edges, offline=offline, reuse=reuse, everything=True)


def on_branch(
    directory: Path, repos: Iterable[Path], wanted: Wanted, feeds: Iterable[str], destination: str, edges: Edges, *,
    offline: bool = False, reuse: str = "",
) -> Night:  # fmt: skip
    """A night in a copy of the workspace as it is committed, and a branch in each repository that has changed.

    Args:
        directory: in the workspace.
        repos: further folders of component repos.

    Raises:
        UsageError: something of it lies in no git repository.
        BranchError: git refuses, or a branch is somebody's working copy.
    """
    # Links lead out of a copy.
    folder = Path(os.path.realpath(_folder(directory)))
    further = tuple(Path(os.path.realpath(one)) for one in repos)
    with _copy(folder, further, wanted, edges) as (root, checkouts):
        try:
            there = tuple(_within(root, one) for one in further)
            catalog = workspace.load(_within(root, folder), there, edges.store, edges.reporter)
            locks = _locks(catalog, checkouts)
            night = _night(catalog, feeds, destination, edges, offline=offline, reuse=reuse)
        except ImgbuildError as error:
            raise _of_original(error, root) from None
        night = replace(night, broken=tuple(one.replace(str(root), "") for one in night.broken))
        if night.faults:
            return night
        text = message(night)
        made = tuple(branches.put(x, wanted.branch, locks[x], text, wanted.author) for x in checkouts)
        return replace(night, branches=made)


def _night(
    catalog: Catalog, feeds: Iterable[str], destination: str, edges: Edges, *, offline: bool, reuse: str,
    everything: bool = False,
) -> Night:  # fmt: skip
    told = securing.read_feeds(catalog, feeds, edges, offline=offline)
    moving = updating.sources(catalog, (), told, (), edges)
    # A branch begins with what is committed: nothing was begun there.
    found = updating.update(catalog, (), moving, told, destination, edges, reuse=reuse, finish=everything)
    if everything and (unbuilt := _unbuilt(catalog, edges)):
        built = building.build(catalog, unbuilt, (destination,), edges, locked=True, reuse=reuse, remember=True)
        found = replace(found, built=(*found.built, *built))
    failed = tuple(f"{one.image}: {one.because}" for one in found.built if one.error)
    broken = tuple(str(DefinitionError(one.problems)) for one in catalog.broken)
    return Night(found, _pinned(catalog, told, edges), (*failed, *_invalid(found, destination, edges)), broken)


def _unbuilt(catalog: Catalog, edges: Edges) -> tuple[str, ...]:
    """Images with layers of which no lock says what they turned out to be."""
    images = selection.images(catalog, ())
    plans = building.plans(catalog, images, edges)
    return tuple(image.reference for image in finishing.unbuilt(catalog, images, plans, edges))


def _pinned(catalog: Catalog, told: tuple[Feed, ...], edges: Edges) -> tuple[Pinned, ...]:
    used = selection.definitions(selection.images(catalog, ()))
    foreign = tuple(one for one in used if one.foreign)
    names = {one.title for one in foreign} | {one.name for one in foreign}
    by_feed = tuple(
        Pinned(x.definition, x.advisory.source, x.version, x.advisory.fixed, x.advisory.id)
        for x in securing.status(catalog, (), told).findings
        if x.definition in names and x.state == State.FIXABLE
    )
    newer = (row for row in locking.outdated(catalog, foreign, edges) if row[4].endswith("security"))
    return (*by_feed, *(Pinned(*row[:4], "") for row in newer))


def _invalid(found: Update, destination: str, edges: Edges) -> Iterator[str]:
    """What is wrong with images as they were written."""
    way, known = transports.parse_target(destination), validate.Known()
    # Each once, whatever architectures it was built for.
    for image, tag in dict.fromkeys((one.image, one.tag) for one in found.built if not one.error):
        place = str(way.of(image))
        name = place if way.kind == "dir" else f"{place.removesuffix(':')}:{image}:{tag}"
        try:
            for stored in transports.read_every(name, edges.store):
                for fault in validate.image(stored, edges.jobs, known):
                    yield f"{image}: {fault.where}: {fault.message}"
        except ImgbuildError as error:
            yield f"{image}: {error.message}"


def report(night: Night) -> str:
    """What a reviewer wants to read, as Markdown."""
    text = updating.markdown(night.update)
    if night.pinned:
        text += "\nWhat is used from elsewhere at a commit has fixes, too; they are made there:\n\n"
        rows = (
            f"{x.definition}: {x.package} {x.version}, fixed in {x.fixed} {x.advisory}".rstrip() for x in night.pinned
        )
        text += "".join(f"- {row}\n" for row in rows)
    for head, rows_ in (("Not looked after, since it cannot be read", night.broken), ("Failed", night.faults)):
        text += f"\n{head}:\n\n" + "".join(f"- {' '.join(row.split())}\n" for row in rows_) if rows_ else ""
    return text


def message(night: Night) -> str:
    """The report as the message of a commit."""
    # Git takes a line that begins with # for a comment where somebody edits the message.
    subject, _, rest = report(night).removeprefix("# ").partition("\n")
    if len(subject) > _SUBJECT:
        subject = f"Security update: {len(night.update.sources)} source packages"
        rest = f"\n{', '.join(night.update.sources)}\n{rest}"
    return f"{subject}\n{rest}"


@contextlib.contextmanager
def _copy(
    directory: Path, repos: tuple[Path, ...], wanted: Wanted, edges: Edges
) -> Iterator[tuple[Path, tuple[Checkout, ...]]]:
    """The workspace's repositories as they are committed, below one folder, each at the path that it has on this machine.

    So relative paths between them hold. The folder is always the same one, since apt's lists are kept by what names them.
    """
    top = branches.top(directory)
    if top is None:
        raise UsageError(
            f"{directory} lies in no git repository: there is no place for a branch",
            "run it without --commit: then the locks in the workspace are what has changed",
        )
    branches.require(top, wanted.branch, wanted.author)
    root = Path(os.path.realpath(edges.store.folder("worktrees"))) / _named(directory)
    shutil.rmtree(root, ignore_errors=True)
    laid: list[Checkout] = []
    try:
        laid.append(branches.lay(top, _within(root, top), wanted.base))
        if laid[0].base == wanted.branch:
            raise UsageError(
                f"{wanted.branch} cannot stand on itself", "name what it is to be merged into: --base NAME"
            )
        try:
            found = loading.find(_within(root, directory))
        except ImgbuildError as error:
            raise _of_original(error, root) from None
        for folder in _own_repositories(found, root, repos):
            if folder != top:
                branches.require(folder, wanted.branch, wanted.author)
                laid.append(branches.lay(folder, _within(root, folder)))
        _lend(found, root)
        yield root, tuple(laid)
    finally:
        for one in reversed(laid):
            branches.remove(one)
        shutil.rmtree(root, ignore_errors=True)


def _own_repositories(found: loading.Root, root: Path, repos: tuple[Path, ...]) -> tuple[Path, ...]:
    """Folders of the workspace that are git checkouts of their own, on this machine; outer ones before inner ones."""
    here_ = _original(root, found.folder)
    named = [here_ / path for path in (*found.workspace.repos, *found.workspace.layers, *found.workspace.overlays)]
    tops = set()
    for folder in (Path(os.path.realpath(path)) for path in (*named, *repos)):
        if top := branches.top(folder):
            tops.add(top)
        elif folder in repos:
            raise UsageError(f"--repos: {folder} lies in no git repository: there is no place for a branch")
        for child in folder.iterdir() if folder.is_dir() else ():
            # A link to somewhere else is followed: its locks are there.
            real = Path(os.path.realpath(child))
            defines = any((real / name).exists() for name in ("component.yaml", "layer.yaml"))
            if defines and (child.is_symlink() or (real / ".git").exists()) and (inner := branches.top(real)):
                tops.add(inner)
    return tuple(sorted(tops))


def _lend(found: loading.Root, root: Path) -> None:
    """What the workspace names and git does not have, such as credentials, is used where it lies."""
    told, here_ = found.workspace, _original(root, found.folder)
    single = (one for one in (told.netrc, told.epss, told.kev, told.record) if one)
    for name in (*single, *told.stores, *told.feeds, *told.vex, *(x.url for x in told.uses)):
        mine, theirs = Path(os.path.normpath(found.folder / name)), Path(os.path.normpath(here_ / name))
        if "://" not in name and theirs.exists() and mine.is_relative_to(root) and not mine.exists():
            mine.parent.mkdir(parents=True, exist_ok=True)
            mine.symlink_to(theirs)


def _locks(catalog: Catalog, checkouts: tuple[Checkout, ...]) -> dict[Checkout, tuple[Path, ...]]:
    """The lock files of each checkout."""
    found: dict[Checkout, set[Path]] = {one: set() for one in checkouts}
    for definition in catalog.definitions():
        if not definition.foreign:
            path = Path(os.path.realpath(definition.lock_path.parent)) / definition.lock_path.name
            inner = [one for one in checkouts if path.is_relative_to(one.at)]
            if not inner:
                raise UsageError(
                    f"the lock of {definition.title} lies outside of what is committed: {path}",
                    "name its folder in imgbuild.yaml by a path that leads there without links",
                )
            found[max(inner, key=lambda one: len(one.at.parts))].add(path)
    return {one: tuple(sorted(paths)) for one, paths in found.items()}


def _folder(directory: Path) -> Path:
    """The workspace's folder, whatever its own file says now."""
    above = (directory, *directory.parents)
    files = ((one, name) for one in above for name in ("imgbuild.yaml", "component.yaml"))
    return next((one for one, name in files if os.path.lexists(one / name)), directory)


def _named(folder: Path) -> str:
    return hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:16]


def _within(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _original(root: Path, path: Path) -> Path:
    return Path("/") / path.relative_to(root)


def _of_original(error: ImgbuildError, root: Path) -> ImgbuildError:
    """An error that names files of the workspace, not of its copy."""
    if isinstance(error, DefinitionError):
        places = (
            (one, replace(one.place, file=Path(str(one.place.file).removeprefix(str(root))))) for one in error.problems
        )
        return DefinitionError(
            tuple(replace(one, place=place, message=one.message.replace(str(root), "")) for one, place in places)
        )
    error.message, error.hint = error.message.replace(str(root), ""), error.hint.replace(str(root), "")
    return error
