"""Every definition of a workspace by name, and the chains they form."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import dsl
from dsl import document, model, overlay, reader, versions
from dsl.document import Document, Path_
from dsl.errors import DefinitionError, ImgbuildError, Place, Problem

Kind = Literal["layer", "shared", "image"]

SHIPPED_LAYERS = Path(dsl.__file__).resolve().parent.parent / "layers"
"""The layer definitions that come with imgbuild; a workspace's own go before them."""


class UnknownTarget(ImgbuildError):
    """A name that nothing in the workspace has."""

    code = "unknown-target"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Definition:
    """A layer definition, a component's shared one, or an image, with what it stands on.

    Attributes:
        folder: where its relative files lie.
        lock_path: the lock file that has its lock.
        extends: what it stands on; None at the bottom.
        component: the component it belongs to; None for one of ``layers/``.
        upstream_lock_path: a lock file that holds as long as there is none at ``lock_path``.
        foreign: it comes from elsewhere with its lock, which is never written.
    """

    name: str
    kind: Kind
    model: model.LayerDefinition | model.SharedDefinition | model.ImageDefinition = field(compare=False, repr=False)
    folder: Path
    lock_path: Path
    extends: Definition | None
    component: str | None
    upstream_lock_path: Path | None = None
    foreign: bool = False

    @property
    def key(self) -> str:
        """A name that no other definition of the workspace has: where its lock lies, and its own name."""
        return f"{self.lock_path}#{self.name}"

    @property
    def versioned_name(self) -> str:
        """Its name and, for one of ``layers/``, its version: ``openstack 1.0.0``."""
        return f"{self.name} {self.model.version}" if isinstance(self.model, model.LayerDefinition) else self.name

    def chain(self) -> tuple[Definition, ...]:
        """The definitions from the bottom to this one."""
        return (*(self.extends.chain() if self.extends else ()), self)


@dataclass(frozen=True, slots=True)
class CatalogComponent:
    """A component with its definitions."""

    name: str
    model: model.Component = field(compare=False, repr=False)
    folder: Path
    lock_path: Path
    images: tuple[Definition, ...]
    shared: tuple[Definition, ...]
    overlay: str | None = None


@dataclass(frozen=True, slots=True)
class Catalog:
    """A workspace's definitions; what is broken is in ``problems``, by the folder it lies in."""

    root: Path
    workspace: model.Workspace
    components: tuple[CatalogComponent, ...]
    layers: tuple[Definition, ...]
    broken: Mapping[Path, tuple[Problem, ...]]
    documents: Mapping[str, Document]
    broken_overlays: tuple[Problem, ...] = ()
    broken_names: Mapping[str, Path] = field(default_factory=dict)
    """The components, layer definitions and images of files that are broken, as far as they can be told."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong, in all files."""
        return tuple(sorted({problem for found in self.broken.values() for problem in found}))

    def find(self, target: str) -> tuple[Definition, ...]:
        """The images that a target means: ``nova``, ``nova/nova-api``, ``nova-api``, or a component's folder.

        Raises:
            DefinitionError: its file is broken.
            UnknownTarget: there is no such thing; the nearest name is told.
        """
        name, _, image = target.rstrip("/").partition("/")
        if self.broken_overlays:
            # Without its changes an image would be another one than the site asked for.
            raise DefinitionError(self.broken_overlays)
        for folder, problems in self.broken.items():
            if folder.name == name:
                raise DefinitionError(problems)
        component = next((c for c in self.components if name in (c.name, c.folder.name)), None)
        if component and not image:
            return component.images
        if component:
            found = [definition for definition in component.images if definition.name == image]
            near = [f"{component.name}/{definition.name}" for definition in component.images]
        else:
            found = [definition for c in self.components for definition in c.images if definition.name == target]
            near = [c.name for c in self.components] + [d.name for c in self.components for d in c.images]
        if len(found) > 1:
            owners = " and ".join(f"{definition.component}/{target}" for definition in found)
            raise UnknownTarget(f"{target!r} is an image of several components", f"say {owners}")
        if found:
            return tuple(found)
        if name in self.broken_names or target in self.broken_names:
            raise DefinitionError(self.broken[self.broken_names.get(target) or self.broken_names[name]])
        if any(layer.name == target for layer in self.layers):
            raise UnknownTarget(f"{target!r} is a layer definition: images stand on it, it is none itself")
        match = difflib.get_close_matches(target, near, 1)
        hint = f"did you mean {match[0]!r}?" if match else f"there are: {', '.join(near)}" if near else ""
        raise UnknownTarget(f"there is no component or image {target!r} in {self.root}", hint)

    def component_of(self, definition: Definition) -> CatalogComponent:
        """The component that a shared definition or an image belongs to."""
        return next(component for component in self.components if component.name == definition.component)

    def sources(self, definition: Definition) -> dict[str, tuple[model.Source, Path]]:
        """Where a definition's packages come from, by name, with the folder that relative paths mean."""
        found: dict[str, tuple[model.Source, Path]] = {}
        for part in definition.chain():
            owner = next((c for c in self.components if c.name == part.component), None)
            if owner:
                found |= {name: (source, owner.folder) for name, source in owner.model.sources.items()}
            found |= {name: (source, part.folder) for name, source in part.model.sources.items()}
        return found

    def origins(self, name: str) -> Mapping[Path_, Place]:
        """The place of every value of a component's or layer definition's document."""
        known = self.documents.get(name)
        if known is None:
            raise UnknownTarget(f"{name!r} has no file of its own", "name a component or a layer definition")
        return known.places


def find_workspace(directory: Path) -> tuple[Path, model.Workspace]:
    """The workspace that a folder lies in.

    Raises:
        DefinitionError: its own file is broken.
        UnknownTarget: there is none.
    """
    for folder in (directory, *directory.parents):
        if _is_there(folder / "imgbuild.yaml"):
            return folder, reader.read(folder / "imgbuild.yaml", model.Workspace)
        if _is_there(folder / "component.yaml"):
            return folder, model.Workspace(dsl=1, workspace="alone", repos=(".",), layers=())
    raise UnknownTarget(
        f"{directory} lies in no workspace: there is no imgbuild.yaml and no component.yaml from here upwards",
        "go to one, name it with -C, or begin with `imgbuild init NAME`",
    )


def load(directory: Path, repos: Iterable[Path] = (), used: Iterable[Path] = ()) -> Catalog:
    """Read all definitions of a workspace. What is broken does not keep the rest from being used.

    Args:
        repos: further folders of component repos.
        used: folders fetched from git: component repos, workspaces or folders of layers.

    Raises:
        DefinitionError: the workspace's own file is broken.
    """
    root, workspace = find_workspace(directory)
    loading = _Loading(root)
    loading.overlays(root / path for path in workspace.overlays)
    component_files: list[Path] = []
    layer_files: list[Path] = []
    for folder in (*(root / path for path in workspace.repos), *repos):
        component_files += _files(folder, "component.yaml")
    layer_files += [file for path in workspace.layers for file in _files(root / path, "layer.yaml")]
    for folder in used:
        component_files += [*_files(folder, "component.yaml"), *_files(folder / "repos", "component.yaml")]
        layer_files += [*_files(folder, "layer.yaml"), *_files(folder / "layers", "layer.yaml")]
    layer_files += _files(SHIPPED_LAYERS, "layer.yaml")
    loading.read_layers(dict.fromkeys(file.resolve() for file in layer_files))
    loading.read_components(dict.fromkeys(component_files))
    loading.require_known()
    return Catalog(
        root,
        workspace,
        tuple(loading.components.values()),
        tuple(loading.made.values()),
        loading.broken,
        loading.documents,
        tuple(loading.broken_overlays),
        loading.broken_names,
    )


def _files(folder: Path, name: str) -> list[Path]:
    if _is_there(folder / name):
        return [folder / name]
    return [child / name for child in sorted(folder.iterdir()) if _is_there(child / name)] if folder.is_dir() else []


def _is_there(file: Path) -> bool:
    # A loop of links and a link to nothing are there: what is wrong with them is told, not passed over.
    return os.path.lexists(file)


class _Loading:
    """The state of one load; what comes of it is frozen in the catalog."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.broken: dict[Path, tuple[Problem, ...]] = {}
        self.documents: dict[str, Document] = {}
        self.layers: dict[str, dict[str, tuple[model.LayerDefinition, Path]]] = {}
        self.made: dict[str, Definition] = {}
        self.components: dict[str, CatalogComponent] = {}
        self.sites: list[tuple[str, Document, Path]] = []
        self.used_changes: set[tuple[Path, str, str]] = set()
        self.broken_overlays: list[Problem] = []
        self.broken_names: dict[str, Path] = {}

    def overlays(self, folders: Iterable[Path]) -> None:
        for folder in folders:
            try:
                read = document.read(folder / "overlay.yaml")
                site = reader.validate(read, model.Overlay)
                self.sites.append((site.overlay, read, folder))
            except DefinitionError as error:
                self.broken_overlays += error.problems
                self.fail(folder, error.problems)

    def require_known(self) -> None:
        """Every name that an overlay changes must be one of the workspace's."""
        for _, changes, folder in self.sites:
            for kind in ("components", "layers"):
                for name in changes.data.get(kind) or {}:
                    if (folder, kind, name) not in self.used_changes and name not in self.broken_names:
                        place = changes.key_place((kind, name))
                        known = self.components if kind == "components" else self.layers
                        match = difflib.get_close_matches(name, known, 1)
                        hint = f"did you mean {match[0]!r}?" if match else ""
                        message = f"there is nothing of the name {name!r} in {kind} to change"
                        self.fail(folder, (changes.problem(place, "unknown-name", message, hint),))

    def names(self, read: Document, folder: Path) -> None:
        """Remember what a broken file was to define, so that asking for it tells what is wrong with it."""
        if not isinstance(read.data, dict):
            return
        images = read.data.get("images")
        for name in (read.data.get("component"), read.data.get("layer"), *(images if isinstance(images, dict) else ())):
            if isinstance(name, str):
                self.broken_names.setdefault(name, folder)

    def fail(self, folder: Path, problems: tuple[Problem, ...]) -> None:
        self.broken[folder] = (*self.broken.get(folder, ()), *problems)

    def changed(self, kind: str, name: str, read: Document) -> tuple[Document, str | None, Path | None]:
        site, folder = None, None
        for overlay_name, changes, overlay_folder in self.sites:
            if name in (changes.data.get(kind) or {}):
                self.used_changes.add((overlay_folder, kind, name))
                read = overlay.apply(read, changes, (kind, name))
                site, folder = overlay_name, overlay_folder
        return read, site, folder

    def read_layers(self, files: Iterable[Path]) -> None:
        for file in files:
            read = None
            try:
                read = document.read(file)
                name = read.data.get("layer") if isinstance(read.data, dict) else None
                if isinstance(name, str):
                    read, _, _ = self.changed("layers", name, read)
                found = reader.validate(read, model.LayerDefinition)
                if found.version in self.layers.get(found.layer, {}):
                    continue  # a workspace's own goes before the one that ships
                self.layers.setdefault(found.layer, {})[found.version] = (found, file.parent)
                self.documents.setdefault(found.layer, read)
            except DefinitionError as error:
                if read:
                    self.names(read, file.parent)
                self.fail(file.parent, error.problems)

    def read_components(self, files: Iterable[Path]) -> None:
        for file in files:
            folder, read = file.parent, None
            try:
                read = document.read(file)
                name = read.data.get("component") if isinstance(read.data, dict) else None
                site, site_folder = None, None
                if isinstance(name, str):
                    read, site, site_folder = self.changed("components", name, read)
                self.component(read, reader.validate(read, model.Component), folder, site, site_folder)
            except DefinitionError as error:
                if read:
                    self.names(read, folder)
                self.fail(folder, error.problems)

    def component(
        self, read: Document, found: model.Component, folder: Path, site: str | None, site_folder: Path | None
    ) -> None:
        if found.component in self.components:
            other = self.components[found.component].folder
            place = read.place(("component",))
            raise DefinitionError((read.problem(place, "same-name", f"{other} has a component of this name, too"),))
        lock_path = (site_folder / found.component if site_folder else folder) / "lock.yaml"
        resolving = _Chains(self, read, found, folder, lock_path)
        shared = tuple(resolving.local(name, ()) for name in found.layers)
        images = tuple(resolving.image(name) for name in found.images)
        if resolving.problems:
            raise DefinitionError(tuple(resolving.problems))
        self.documents[found.component] = read
        self.components[found.component] = CatalogComponent(
            found.component, found, folder, lock_path,
            tuple(x for x in images if x), tuple(x for x in shared if x), site,
        )  # fmt: skip

    def layer(self, reference: str, asked: Asked) -> Definition | None:
        """The layer definition of ``name range``, made with what it stands on."""
        name, _, wanted = reference.partition(" ")
        candidates = self.layers.get(name)
        if candidates is None and name in self.broken_names:
            asked.problems.extend(self.broken[self.broken_names[name]])
            return None
        if candidates is None:
            known = [*self.layers, *asked.local]
            match = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {match[0]!r}?" if match else f"there are: {', '.join(sorted(known))}"
            return asked.failed("unknown-name", f"there is no layer definition {name!r}", hint)
        wrong = versions.check_range(wanted) if wanted else None
        if wrong:
            return asked.failed("range", wrong)
        version = versions.highest(wanted or "*", candidates)
        if version is None:
            return asked.failed(
                "range", f"no {name} is in the range {wanted}", f"there are: {', '.join(sorted(candidates))}"
            )
        key = f"{name} {version}"
        if key in self.made:
            return self.made[key]
        if key in asked.chain:
            return asked.failed(
                "cycle", "definitions stand on each other in a circle: " + " → ".join((*asked.chain, key))
            )
        found, folder = candidates[version]
        below = None
        if found.extends:
            below = self.layer(found.extends, asked.above(key))
            if below is None:
                return None
        elif found.distribution is None:
            return asked.failed("bottom", f"{name} stands on nothing and has no `distribution`")
        self.made[key] = Definition(name, "layer", found, folder, folder / "lock.yaml", below, None)
        return self.made[key]


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for a definition, so that what is wrong is told there, with the chain."""

    read: Document
    path: Path_
    chain: tuple[str, ...]
    local: tuple[str, ...]
    problems: list[Problem]

    def above(self, key: str) -> Asked:
        """The same, one definition further down."""
        return Asked(self.read, self.path, (*self.chain, key), self.local, self.problems)

    def fail(self, code: str, message: str, hint: str = "") -> None:
        """Note a problem."""
        chain = f" (asked for by {' → '.join(self.chain)})" if len(self.chain) > 1 else ""
        self.problems.append(self.read.problem(self.read.place(self.path), code, message + chain, hint))

    def failed(self, code: str, message: str, hint: str = "") -> Definition | None:
        """Note a problem: there is no definition."""
        self.fail(code, message, hint)
        return None


class _Chains:
    """Resolves what the definitions of one component stand on."""

    def __init__(
        self, loading: _Loading, read: Document, found: model.Component, folder: Path, lock_path: Path
    ) -> None:
        self.loading, self.read, self.found, self.folder, self.lock_path = loading, read, found, folder, lock_path
        self.problems: list[Problem] = []
        self.made: dict[str, Definition | None] = {}

    def local(self, name: str, chain: tuple[str, ...]) -> Definition | None:
        if name not in self.made:
            self.made[name] = None
            found = self.found.layers[name]
            below = self.below(found.extends, ("layers", name), (*chain, name))
            if below:
                self.made[name] = Definition(
                    name, "shared", found, self.folder, self.lock_path, below, self.found.component
                )
        return self.made[name]

    def image(self, name: str) -> Definition | None:
        found = self.found.images[name]
        below = self.below(found.extends, ("images", name), (name,))
        if below is None:
            return None
        return Definition(name, "image", found, self.folder, self.lock_path, below, self.found.component)

    def below(self, reference: str | None, at: Path_, chain: tuple[str, ...]) -> Definition | None:
        asked = Asked(self.read, (*at, "extends"), chain, tuple(self.found.layers), self.problems)
        if reference is None:
            asked.fail("missing", f"{chain[-1]} stands on nothing", "say `extends: debian-13 ^1.0`, or another layer")
            return None
        if reference in self.found.layers:
            if reference in chain:
                asked.fail("cycle", "definitions stand on each other in a circle: " + " → ".join((*chain, reference)))
                return None
            return self.local(reference, chain)
        return self.loading.layer(reference, asked)
