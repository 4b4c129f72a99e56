"""Every definition of a workspace by name, with what it stands on and where its lock lies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import dsl
from dsl import model, versions
from dsl.document import Document, Path_
from dsl.errors import DefinitionError, ImgbuildError, Place, Problem, nearest
from dsl.naming import Names

Kind = Literal["layer", "shared", "image"]

SHIPPED_LAYERS = Path(dsl.__file__).resolve().parent.parent / "layers"
"""The layer definitions that come with imgbuild; a workspace's own go before them."""


class UnknownTarget(ImgbuildError):
    """A name that nothing in the workspace has."""

    code = "unknown-target"
    exit_code = 2


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """An overlay of the workspace; those further up in its list have a higher order."""

    order: int
    name: str
    folder: Path


class Located:
    """Something that stands in a document."""

    __slots__ = ()
    document: Document
    at: Path_

    @property
    def folder(self) -> Path:
        """Where its text lies."""
        return self.document.file.parent

    def place(self, *path: str | int) -> Place:
        """Where a value of it stands."""
        return self.document.place((*self.at, *path))

    def beside(self, *path: str | int) -> Path:
        """The file or folder that a relative path of it means: beside the text, its own or an overlay's, that says it.

        Args:
            path: where the relative path stands, such as ``files``, ``/etc/motd``, ``from``.
        """
        return self.place(*path).file.parent / str(self.document.value((*self.at, *path)))


@dataclass(frozen=True, slots=True)
class Definition(Located):
    """A layer definition, a component's shared one, or an image, with what it stands on.

    Attributes:
        document: the text it comes from, after overlays.
        at: where it stands in the document.
        lock_path: the lock file that has its lock.
        extends: what it stands on; None at the bottom.
        component: the component it belongs to; None for one of ``layers/``.
        site: the last overlay that changes it or what it stands on: its lock lies there.
        foreign: it comes from elsewhere and no overlay changes it here: its lock is taken as it is, never written.
        upstream_lock_path: where the lock lies that holds, if it fits, as long as there is none at ``lock_path``: that
            of what a site changes, or of a layer definition that ships.
    """

    name: str
    kind: Kind
    model: model.LayerDefinition | model.SharedDefinition | model.ImageDefinition = field(compare=False, repr=False)
    document: Document = field(compare=False, repr=False)
    at: Path_
    lock_path: Path
    extends: Definition | None
    component: str | None
    site: Site | None = None
    foreign: bool = False
    upstream_lock_path: Path | None = None

    @property
    def version(self) -> str:
        """The version of a layer definition's text; empty for others."""
        return self.model.version if isinstance(self.model, model.LayerDefinition) else ""

    @property
    def key(self) -> str:
        """A name that no other definition of the workspace has: where its lock lies, and its own name."""
        return f"{self.lock_path}#{self.name}"

    @property
    def title(self) -> str:
        """Its name, with the stream that its component is of."""
        stream = (self.component or "").partition("@")[2]
        return f"{self.name}@{stream}" if stream else self.name

    @property
    def versioned_name(self) -> str:
        """Its name and, for one of ``layers/``, its version: ``openstack 1.0.0``."""
        return self.name if self.component else f"{self.name} {self.version}"

    @property
    def reference(self) -> str:
        """What a person calls it where names alone are not clear: ``nova/nova-api``, ``openstack 1.0.0``."""
        return f"{self.component}/{self.name}" if self.component else self.versioned_name

    def chain(self) -> tuple[Definition, ...]:
        """The definitions from the bottom to this one."""
        return (*(self.extends.chain() if self.extends else ()), self)


@dataclass(frozen=True, slots=True)
class CatalogComponent(Located):
    """A component with its definitions; lock, overlay and foreign as for a definition, for all of them.

    Attributes:
        name: of a stream ``nova@bookworm``.
        stream: empty for the component as its text says it.
    """

    name: str
    model: model.Component = field(compare=False, repr=False)
    document: Document = field(compare=False, repr=False)
    lock_path: Path
    images: tuple[Definition, ...]
    shared: tuple[Definition, ...]
    overlay: str | None = None
    foreign: bool = False
    upstream_lock_path: Path | None = None
    at: Path_ = ()
    stream: str = ""


@dataclass(frozen=True, slots=True)
class Broken:
    """A file that cannot be used.

    Attributes:
        name: of what it defines; its folder's where that cannot be told.
        version: of a layer definition, where it can be told.
        parts: what it defines, a component's images and shared definitions too; None where that cannot be told.
    """

    file: Path
    kind: Literal["workspace", "component", "layer", "overlay"]
    problems: tuple[Problem, ...]
    name: str
    version: str | None = None
    parts: tuple[str, ...] | None = ()


@dataclass(frozen=True, slots=True)
class Catalog:
    """A workspace's definitions, and the files that could not be used."""

    root: Path
    workspace: model.Workspace
    components: tuple[CatalogComponent, ...]
    layers: tuple[Definition, ...]
    broken: tuple[Broken, ...] = ()

    @property
    def names(self) -> Names:
        """What releases are called in registries."""
        return Names(self.workspace.names)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong, in all files."""
        return tuple(sorted({problem for found in self.broken for problem in found.problems}))

    def definitions(self) -> Iterator[Definition]:
        """All of them."""
        yield from self.layers
        for component in self.components:
            yield from (*component.shared, *component.images)

    def find(self, target: str) -> tuple[Definition, ...]:
        """The images that a target means: ``nova``, ``nova/nova-api``, ``nova-api``, or a component's folder.

        Raises:
            DefinitionError: its file is broken.
            UnknownTarget: there is no such thing; the nearest name is told.
        """
        component = self.component(target)
        if component:
            return component.images
        found = self._part(target, lambda one: one.images)
        if found:
            return (found,)
        if any(layer.name == target for layer in self.layers):
            raise UnknownTarget(f"{target!r} is a layer definition: images stand on it, it is none itself")
        raise self._unknown(target, "component or image")

    def component(self, name: str) -> CatalogComponent | None:
        """The component of a name, or in a folder of that name.

        Raises:
            DefinitionError: its file is broken; or an overlay is, without whose changes it would be another one.
        """
        name = name.rstrip("/")
        self._require_whole()
        # A broken stream does not keep the component itself from being used.
        mine = (b for b in self.broken if b.kind == "component" and ("@" in name or "@" not in b.name))
        self._require(b for b in mine if name in (b.name, b.file.parent.name))
        return next((c for c in self.components if name in (c.name, c.folder.name)), None)

    def definition(self, target: str) -> Definition:
        """The one definition that a target means.

        Args:
            target: ``openstack`` (its highest version), ``openstack 1.0.0``, ``nova/nova-base``, ``nova-api``.

        Raises:
            DefinitionError: its file is broken.
            UnknownTarget: there is no such thing; the nearest name is told.
        """
        name, _, wanted = target.partition(" ")
        self._require_whole()
        self._require(one for one in self.broken if one.kind == "layer" and one.name == name)
        there = {layer.version: layer for layer in self.layers if layer.name == name}
        if there:
            wrong = versions.check_range(wanted)
            best = None if wrong else versions.highest(wanted, there)
            if best is None:
                raise UnknownTarget(f"there is no {name} {wanted}", f"there are: {', '.join(sorted(there))}")
            return there[best]
        found = self._part(target, lambda one: (*one.images, *one.shared))
        if found:
            return found
        raise self._unknown(target, "definition")

    def component_of(self, definition: Definition) -> CatalogComponent:
        """The component that a shared definition or an image belongs to."""
        return next(component for component in self.components if component.name == definition.component)

    def sources(self, definition: Definition) -> dict[str, tuple[model.Source, Path]]:
        """Where a definition's packages come from, by name, with the folder that relative paths mean."""
        found: dict[str, tuple[model.Source, Path]] = {}
        for part in definition.chain():
            owner = next((c for c in self.components if c.name == part.component), None)
            at: tuple[tuple[Path_, Mapping[str, model.Source]], ...] = ((part.at, part.model.sources),)
            if owner:
                at = (((), owner.model.sources), *at)
            for above, sources in at:
                for name, source in sources.items():
                    said = "debs" if source.debs else "wheels" if source.wheels else "keyring"
                    found[name] = (source, part.document.place((*above, "sources", name, said)).file.parent)
        return found

    def _part(self, target: str, parts: Callable[[CatalogComponent], tuple[Definition, ...]]) -> Definition | None:
        name, _, part = target.rstrip("/").partition("/")
        owner = self.component(name) if part else None
        if owner:
            there = {one.name: one for one in parts(owner)}
            if part not in there:
                raise UnknownTarget(f"there is no {part!r} in {owner.name}", nearest(part, there))
            return there[part]
        # A bare name is never that of a stream where the component has it, too.
        image, _, stream = target.partition("@")
        found = [one for c in self.components if c.stream == stream for one in parts(c) if one.name == image]
        if len(found) > 1:
            owners = " and ".join(one.reference for one in found)
            raise UnknownTarget(f"several components have a {target!r}", f"say {owners}")
        return found[0] if found else None

    def _unknown(self, target: str, what: str) -> UnknownTarget:
        # A file that cannot be read might be the one that has it.
        self._require(b for b in self.broken if b.parts is None or target in b.parts)
        near = [c.name for c in self.components] + [d.name for c in self.components for d in c.images]
        return UnknownTarget(f"there is no {what} {target!r} in {self.root}", nearest(target, near))

    def _require_whole(self) -> None:
        self._require(one for one in self.broken if one.kind in ("workspace", "overlay"))

    def _require(self, broken: Iterable[Broken]) -> None:
        problems = tuple(problem for one in broken for problem in one.problems)
        if problems:
            raise DefinitionError(problems)
