"""``init``: a package's name → a component repo that builds."""

from __future__ import annotations

import difflib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from builder.attest import licenses
from builder.errors import UsageError
from builder.model.digest import Digest
from builder.model.lock import LockedPackage
from builder.pipeline import packages, workspace
from builder.pipeline.edges import Edges
from builder.propose import component, payload, service
from dsl import checks, loading
from dsl.catalog import Catalog, Definition, UnknownTarget
from dsl.errors import DefinitionError

_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_SERVICES = "netbase"
"""The package that has /etc/services."""

_LONGEST = 80
"""A license expression that is longer is not what a person would call the license."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """A component repo that does not exist yet.

    Attributes:
        path: of its ``component.yaml``.
        look: what its author has to look up.
        in_workspace: whether a workspace above it finds it.
    """

    path: Path
    text: str
    look: tuple[str, ...]
    in_workspace: bool


def propose(
    directory: Path, repos: tuple[Path, ...], name: str, package: str, extends: str, target: Path | None, edges: Edges
) -> Proposed:
    """Read a package and propose a component.

    Args:
        target: the folder that holds the new one; by default ``repos`` of the workspace, or ``directory``.

    Raises:
        UsageError: there is no such package or layer, the name is wrong, or something is there already.
    """
    if not _NAME.fullmatch(name) or len(name) > 100:
        hint = f"say another, and the package by --package {name}" if name == package else "such as `redis`"
        raise UsageError(f"{name!r} cannot be a component's name: lower case, digits, and . _ - between them", hint)
    root = _workspace(directory)
    folder = (target or _home(directory, root)) / name
    path = folder / "component.yaml"
    if os.path.lexists(path):
        raise UsageError(f"{path} is there already", "init never overwrites: choose another name, or --in DIR")
    draft = f"dsl: 1\ncomponent: {name}\nsummary: draft\nversion: '0'\nimages:\n  {name}:\n"
    draft += f"    summary: draft\n    extends: {extends}\n    run: {{command: [x], user: root}}\n"
    with _drafted(directory, root, repos, name, draft, edges) as (catalog, definition):
        taken = {
            user: said.uid
            for part in catalog.definitions()
            for user, said in part.model.users.items()
        }  # fmt: skip
        if any(one.name == name for one in catalog.components if one.folder != definition.folder):
            raise UsageError(f"there is a component {name!r} already", "choose another name")
        resolved = _resolve(catalog, definition, package, edges)
        found = [one for one in resolved if one.name == package]
        source = found[0].source_package
        own = [*found, *(one for one in resolved if one.source_package == source and one.name != package)]
        packages.fetch(catalog, (definition,), (*own, *(x for x in resolved if x.name == _SERVICES)), edges)
    files = tuple(_read(one, edges) for one in own)
    services = next((_read(one, edges).texts.get("etc/services", "") for one in resolved if one.name == _SERVICES), "")
    proposal = service.propose(package, files, services)
    text = component.text(component.Wanted(name, package, extends, taken, _license(files)), files[0].fields, proposal)
    with _drafted(directory, root, repos, name, text, edges) as (catalog, definition):
        problems = checks.of(catalog, (definition,))
        if problems:
            raise DefinitionError(problems)
    return Proposed(path, text, proposal.look, root is not None and target is None)


def write(proposed: Proposed) -> None:
    """Write a proposal; what is there is never overwritten."""
    proposed.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with proposed.path.open("x", encoding="utf-8") as file:
            file.write(proposed.text)
    except FileExistsError:
        raise UsageError(f"{proposed.path} is there already", "init never overwrites") from None


def _workspace(directory: Path) -> loading.Root | None:
    try:
        root = loading.find(directory)
    except UnknownTarget:
        return None
    return root if root.document else None


def _home(directory: Path, root: loading.Root | None) -> Path:
    return root.folder / (root.workspace.repos or ("repos",))[0] if root else directory


@contextmanager
def _drafted(
    directory: Path, root: loading.Root | None, repos: tuple[Path, ...], name: str, text: str, edges: Edges
) -> Iterator[tuple[Catalog, Definition]]:
    """The workspace's catalog with a component that lies in a folder of its own, to be thrown away."""
    with tempfile.TemporaryDirectory(prefix="imgbuild-init-") as made:
        folder = Path(made) / name
        folder.mkdir()
        (folder / "component.yaml").write_text(text)
        catalog = workspace.load(directory if root else folder, (*repos, folder), edges.store, edges.reporter)
        broken = next((one for one in catalog.broken if one.file.parent == folder), None)
        if broken:
            raise UsageError(broken.problems[0].message, broken.problems[0].hint)
        component_ = next(one for one in catalog.components if one.folder == folder)
        yield catalog, component_.images[0]


def _resolve(catalog: Catalog, definition: Definition, package: str, edges: Edges) -> tuple[LockedPackage, ...]:
    edges.reporter.step(f"looking for {package}")
    apt = packages.apt_root(catalog, definition, edges)
    apt.update()
    there = apt.newest((package, _SERVICES))
    if package not in there:
        names = apt.names()
        near = difflib.get_close_matches(package, names, 3) or [one for one in names if package in one][:5]
        chain = definition.extends.name if definition.extends else ""
        hint = f"did you mean {' or '.join(near)}?" if near else "name the package: --package PKG"
        raise UsageError(f"there is no package {package!r} in the sources of {chain}", hint)
    facts = packages.facts(catalog, definition, packages.architecture(catalog))
    return apt.solve(replace(facts, wishes=tuple(there), essential=False), ())


def _license(files: Iterable[payload.PackageFiles]) -> str:
    # Of several packages of one source all but one may have a link to its copyright file.
    found = licenses.read(next((file.copyright for file in files if file.copyright), ""))
    return found.expression if not found.references and len(found.expression) <= _LONGEST else ""


def _read(package: LockedPackage, edges: Edges) -> payload.PackageFiles:
    with edges.store.open(Digest.from_hex(package.sha256)) as file:
        return payload.read(file, package.name)
