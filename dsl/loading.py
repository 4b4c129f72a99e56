"""A workspace's files → its catalog: what stands on what, where each lock lies, and what is broken."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dsl import document, model, naming, overlay, reader, versions
from dsl.catalog import SHIPPED_LAYERS, Broken, Catalog, CatalogComponent, Definition, Site, UnknownTarget
from dsl.document import Document, Path_
from dsl.errors import DefinitionError, Problem, nearest


@dataclass(frozen=True, slots=True)
class Root:
    """A workspace's folder and what it says; no document where a component repo is its own workspace."""

    folder: Path
    workspace: model.Workspace
    document: Document | None


def find(directory: Path) -> Root:
    """The workspace that a folder lies in.

    Raises:
        DefinitionError: its own file is broken.
        UnknownTarget: there is none.
    """
    for folder in (directory, *directory.parents):
        if _is_there(folder / "imgbuild.yaml"):
            read = document.read(folder / "imgbuild.yaml")
            workspace = reader.validate(read, model.Workspace)
            wrong = [read.problem(read.place(("names",)), "names", *one) for one in naming.faults(workspace.names)]
            if wrong:
                raise DefinitionError(tuple(wrong))
            return Root(folder, workspace, read)
        if _is_there(folder / "component.yaml"):
            return Root(folder, model.Workspace(dsl=1, workspace="alone", repos=(".",), layers=()), None)
    raise UnknownTarget(
        f"{directory} lies in no workspace: there is no imgbuild.yaml and no component.yaml from here upwards",
        "go to one, name it with -C, or begin with `imgbuild init NAME`",
    )


def load(root: Root, repos: Iterable[Path] = (), used: Iterable[Path] = ()) -> Catalog:
    """Read all definitions of a workspace. What is broken does not keep the rest from being used.

    Args:
        repos: further folders of component repos.
        used: folders fetched from git: component repos, workspaces or folders of layers.
    """
    loading = _Loading()
    loading.workspace(root)
    loading.overlays(root.folder / path for path in root.workspace.overlays)
    used = tuple(used)
    own_layers = [file for path in root.workspace.layers for file in _files(root.folder / path, "layer.yaml")]
    used_layers = [file for folder in used for file in _files_of(folder, "layers", "layer.yaml")]
    shipped = _files(SHIPPED_LAYERS, "layer.yaml")
    if SHIPPED_LAYERS.is_relative_to(os.path.realpath(root.folder)):
        own_layers += shipped
    own = [file for path in root.workspace.repos for file in _files(root.folder / path, "component.yaml")]
    own += [file for folder in repos for file in _files(folder, "component.yaml")]
    used_components = [file for folder in used for file in _files_of(folder, "repos", "component.yaml")]
    for file, foreign in _once(own_layers, used_layers):
        loading.read_layer(file, foreign=foreign)
    for file, _ in _once(shipped, ()):
        if file not in own_layers:
            loading.read_layer(file, foreign=True, locks=root.folder / "layers")
    for file, foreign in _once(own, used_components):
        loading.read_component(file, foreign=foreign)
    loading.rest()
    return Catalog(
        root.folder,
        root.workspace,
        tuple(loading.components.values()),
        tuple(found for found in loading.made.values() if isinstance(found, Definition)),
        tuple(loading.broken),
    )


def _files(folder: Path, name: str) -> list[Path]:
    if _is_there(folder / name):
        return [folder / name]
    children = sorted(folder.iterdir()) if os.path.isdir(folder) else ()
    return [child / name for child in children if _is_there(child / name)]


def _files_of(folder: Path, within: str, name: str) -> list[Path]:
    return [*_files(folder, name), *_files(folder / within, name)]


def _is_there(file: Path) -> bool:
    # A loop of links and a link to nothing are there: what is wrong with them is told, not passed over.
    return os.path.lexists(file)


def _once(own: Iterable[Path], foreign: Iterable[Path]) -> Iterator[tuple[Path, bool]]:
    # Two ways to one file are one file.
    seen: set[str] = set()
    for files, is_foreign in ((own, False), (foreign, True)):
        for file in files:
            real = os.path.realpath(file)
            if real not in seen:
                seen.add(real)
                yield file, is_foreign


@dataclass(frozen=True, slots=True)
class _Layer:
    """The text of a layer definition, after overlays.

    Attributes:
        locks: where this workspace's own locks of those that ship lie: theirs hold until it has some.
    """

    document: Document
    model: model.LayerDefinition
    foreign: bool
    site: Site | None
    locks: Path | None


class _Loading:
    """The state of one load; what comes of it is frozen in the catalog."""

    def __init__(self) -> None:
        self.broken: list[Broken] = []
        self.sites: list[tuple[Site, Document]] = []
        self.changed: set[tuple[Site, str, str]] = set()
        self.layers: dict[str, dict[str, _Layer]] = {}
        self.made: dict[tuple[str, str], Definition | tuple[Problem, ...]] = {}
        self.components: dict[str, CatalogComponent] = {}

    def workspace(self, root: Root) -> None:
        """Folders that the workspace names must be there."""
        if root.document is None:
            return
        problems = [
            root.document.problem(place, "not-found", f"there is no folder {path!r} here")
            for key in ("repos", "layers")
            for index, path in enumerate(root.document.data.get(key) or ())
            if not os.path.isdir(root.folder / path) and (place := root.document.place((key, index)))
        ]
        if problems:
            self.broken.append(Broken(root.document.file, "workspace", tuple(problems), root.workspace.workspace))

    def overlays(self, folders: Iterable[Path]) -> None:
        """Read the overlays, the last on top."""
        for order, folder in enumerate(folders):
            file = folder / "overlay.yaml"
            try:
                read = document.read(file)
                found = reader.validate(read, model.Overlay)
                self.sites.append((Site(order, found.overlay, folder), read))
            except DefinitionError as error:
                self.broken.append(Broken(file, "overlay", error.problems, folder.name))

    def with_changes(self, kind: str, name: str, read: Document) -> tuple[Document, Site | None]:
        """A document after all overlays, and the last that changes it."""
        last = None
        for site, changes in self.sites:
            if name in (changes.data.get(kind) or {}):
                self.changed.add((site, kind, name))
                read, last = overlay.apply(read, changes, (kind, name)), site
        return read, last

    def read_layer(self, file: Path, *, foreign: bool, locks: Path | None = None) -> None:
        """Read a layer definition; what it stands on comes later, when all are known."""
        read = None
        try:
            read = document.read(file)
            read, site = self.with_changes("layers", _name(read, "layer", file), read)
            found = reader.validate(read, model.LayerDefinition)
            there = self.layers.setdefault(found.layer, {})
            if found.version not in there:
                there[found.version] = _Layer(read, found, foreign, site, locks)
            elif not foreign:  # one that comes from elsewhere gives way
                message = f"{there[found.version].document.file} is {found.layer} {found.version}, too"
                raise DefinitionError((read.problem(read.place(("layer",)), "same-name", message),))
        except DefinitionError as error:
            version = read.data.get("version") if read and isinstance(read.data, dict) else None
            told = version if isinstance(version, str) and versions.is_version(version) else None
            name = _name(read, "layer", file)
            self.broken.append(Broken(file, "layer", error.problems, name, told, (name,)))

    def read_component(self, file: Path, *, foreign: bool) -> None:
        """Read a component and find what its definitions stand on."""
        read = None
        try:
            read = document.read(file)
            read, site = self.with_changes("components", _name(read, "component", file), read)
            found = reader.validate(read, model.Component)
            if found.component in self.components:
                message = f"{self.components[found.component].document.file} has a component of this name, too"
                raise DefinitionError((read.problem(read.place(("component",)), "same-name", message),))
            self.components[found.component] = _Component(self, read, found).made(site, foreign=foreign)
            for stream in found.streams:
                self.read_stream(read, found, stream, site, foreign=foreign)
        except DefinitionError as error:
            name, parts = _name(read, "component", file), _parts(read)
            self.broken.append(Broken(file, "component", error.problems, name, parts=parts))

    def read_stream(
        self, base: Document, component: model.Component, stream: str, site: Site | None, *, foreign: bool
    ) -> None:
        """Read a component as one of its streams has it: what the stream says takes the place of what was there."""
        name, at = f"{component.component}@{stream}", ("streams", stream)
        read = None
        try:
            for key in ("dsl", "component", "streams"):
                if key in component.streams[stream]:
                    place = base.key_place((*at, key))
                    raise DefinitionError((base.problem(place, "stream", f"{key!r} is the same in all streams"),))
            read = overlay.apply(base, base, at)
            data = {key: value for key, value in read.data.items() if key != "streams"}
            read = replace(read, data=data)
            found = reader.validate(read, model.Component)
            self.components[name] = _Component(self, read, found, stream).made(site, foreign=foreign)
        except DefinitionError as error:
            self.broken.append(Broken(base.file, "component", error.problems, name, parts=_parts(read)))

    def rest(self) -> None:
        """Layer definitions that no component stands on, and names that overlays change and nothing has."""
        for name, there in self.layers.items():
            for version, layer in there.items():
                try:
                    self.layer(name, version, ())
                except DefinitionError as error:
                    self.broken.append(Broken(layer.document.file, "layer", error.problems, name, version, (name,)))
        known = {"components": set(self.components), "layers": set(self.layers)}
        broken = {one.name for one in self.broken}
        for site, changes in self.sites:
            for kind, names in known.items():
                for name in changes.data.get(kind) or {}:
                    if (site, kind, name) not in self.changed and name not in broken:
                        message = f"there is nothing of the name {name!r} in {kind} to change"
                        place = changes.key_place((kind, name))
                        problem = changes.problem(place, "unknown-name", message, nearest(name, names))
                        self.broken.append(Broken(changes.file, "overlay", (problem,), site.name))

    def stands_on(
        self, read: Document, at: Path_, reference: str, chain: tuple[str, ...], local: Iterable[str] = ()
    ) -> Definition:
        """The layer definition that a document's ``extends`` means.

        Args:
            at: where the reference stands.
            chain: who asks, from the top.
            local: names that were possible beside those of layer definitions.

        Raises:
            DefinitionError: there is none, or it is broken.
        """

        def wrong(code: str, message: str, hint: str = "") -> DefinitionError:
            asked = f" (asked for by {' → '.join(chain)})" if len(chain) > 1 else ""
            return DefinitionError((read.problem(read.place(at), code, message + asked, hint),))

        name, _, wanted = reference.partition(" ")
        there = self.layers.get(name, {})
        broken = [one for one in self.broken if one.kind == "layer" and one.name == name]
        if not there and not broken:
            hint = nearest(name, {*self.layers, *local})
            raise wrong("unknown-name", f"there is no layer definition {name!r}", hint)
        what_is_wrong = versions.check_range(wanted)
        if what_is_wrong:
            raise wrong("range", what_is_wrong)
        version = versions.highest(wanted, {*there, *(one.version for one in broken if one.version)})
        for one in broken:
            # Another version in its place would be taken without a word.
            if one.version in (None, version):
                raise DefinitionError(one.problems)
        if version is None:
            raise wrong("range", f"no {name} is in the range {wanted}", f"there are: {', '.join(sorted(there))}")
        if f"{name} {version}" in chain:
            message = "definitions stand on each other in a circle: " + " → ".join((*chain, f"{name} {version}"))
            raise DefinitionError((read.problem(read.place(at), "cycle", message),))
        return self.layer(name, version, chain)

    def layer(self, name: str, version: str, chain: tuple[str, ...]) -> Definition:
        """A layer definition with what it stands on.

        Raises:
            DefinitionError: it is broken.
        """
        known = self.made.get((name, version))
        if isinstance(known, Definition):
            return known
        if known:
            raise DefinitionError(known)
        try:
            self.made[name, version] = made = self._layer(self.layers[name][version], chain)
        except DefinitionError as error:
            self.made[name, version] = error.problems
            raise
        return made

    def _layer(self, layer: _Layer, chain: tuple[str, ...]) -> Definition:
        read, found = layer.document, layer.model
        below, name = None, f"{found.layer} {found.version}"
        if found.extends:
            below = self.stands_on(read, ("extends",), found.extends, (*chain, name))
        elif found.distribution is None:
            message = f"{found.layer} stands on nothing and has no `distribution`"
            raise DefinitionError((read.problem(read.place(()), "bottom", message),))
        if below and found.distribution:
            message = "only the bottom of a chain says its distribution"
            raise DefinitionError((read.problem(read.key_place(("distribution",)), "bottom", message),))
        site = _last(layer.site, below)
        upstream = read.file.parent / "lock.yaml"
        # Of one name there may be several majors.
        folder = f"{found.layer}@{found.version.partition('.')[0]}"
        locks = site.folder / "layers" if site else layer.locks
        return Definition(
            name=found.layer,
            kind="layer",
            model=found,
            document=read,
            at=(),
            lock_path=locks / folder / "lock.yaml" if locks else upstream,
            extends=below,
            component=None,
            site=site,
            foreign=layer.foreign and locks is None,
            upstream_lock_path=upstream if locks else None,
        )


class _Component:
    """Finds what the definitions of one component stand on."""

    def __init__(self, loading: _Loading, read: Document, found: model.Component, stream: str = "") -> None:
        self.loading, self.read, self.found, self.stream = loading, read, found, stream
        self.name = f"{found.component}@{stream}" if stream else found.component
        self.below: dict[Path_, Definition | Path_] = {}
        self.settled: set[Path_] = set()
        self.problems: list[Problem] = []

    def made(self, site: Site | None, *, foreign: bool) -> CatalogComponent:
        """The component with its definitions.

        Raises:
            DefinitionError: with all problems of what they stand on.
        """
        for name, image in self.found.images.items():
            self.settle(("images", name), image.extends, ())
        for name, shared in self.found.layers.items():
            self.settle(("layers", name), shared.extends, ())
        if self.problems:
            raise DefinitionError(tuple(self.problems))
        for below in self.below.values():
            # All locks of a component lie in one file: one definition's site is that of all.
            site = _last(site, below) if isinstance(below, Definition) else site
        locks = f"lock.{self.stream}.yaml" if self.stream else "lock.yaml"
        upstream = self.read.file.parent / locks
        lock_path = site.folder / self.found.component / locks if site else upstream
        made: dict[Path_, Definition] = {}

        def make(at: Path_) -> Definition:
            if at not in made:
                below, name = self.below[at], str(at[1])
                made[at] = Definition(
                    name=name,
                    kind="shared" if at[0] == "layers" else "image",
                    model=self.found.layers[name] if at[0] == "layers" else self.found.images[name],
                    document=self.read,
                    at=at,
                    lock_path=lock_path,
                    extends=below if isinstance(below, Definition) else make(below),
                    component=self.name,
                    site=site,
                    foreign=foreign and site is None,
                    upstream_lock_path=upstream if site else None,
                )
            return made[at]

        return CatalogComponent(
            name=self.name,
            model=self.found,
            document=self.read,
            lock_path=lock_path,
            images=tuple(make(("images", name)) for name in self.found.images),
            shared=tuple(make(("layers", name)) for name in self.found.layers),
            overlay=site.name if site else None,
            foreign=foreign and site is None,
            upstream_lock_path=upstream if site else None,
            stream=self.stream,
        )

    def settle(self, at: Path_, reference: str | None, above: tuple[Path_, ...]) -> None:
        """Note what a definition stands on: a shared one of the component, or a layer definition."""
        if at in self.settled:
            return
        self.settled.add(at)
        chain, where = (*above, at), (*at, "extends")
        names = tuple(str(one[1]) for one in chain)
        if reference is None:
            hint = "say `extends: debian-13 ^1.0`, or another layer"
            self.fail(where, "missing", f"{names[-1]} stands on nothing", hint)
        elif ("layers", reference) in chain:
            message = "definitions stand on each other in a circle: " + " → ".join((*names, reference))
            self.fail(where, "cycle", message)
        elif reference in self.found.layers:
            self.below[at] = ("layers", reference)
            self.settle(("layers", reference), self.found.layers[reference].extends, chain)
        else:
            try:
                self.below[at] = self.loading.stands_on(self.read, where, reference, names, self.found.layers)
            except DefinitionError as error:
                self.problems += error.problems

    def fail(self, path: Path_, code: str, message: str, hint: str = "") -> None:
        """Note a problem."""
        self.problems.append(self.read.problem(self.read.place(path), code, message, hint))


def _last(site: Site | None, below: Definition | None) -> Site | None:
    # What stands on a definition that an overlay changes is another thing than upstream's, too.
    return max((one for one in (site, below.site if below else None) if one), default=None)


def _name(read: Document | None, key: str, file: Path) -> str:
    name = read.data.get(key) if read and isinstance(read.data, dict) else None
    return name if isinstance(name, str) else file.parent.name


def _parts(read: Document | None) -> tuple[str, ...] | None:
    if read is None or not isinstance(read.data, dict):
        return None
    told = [read.data.get(key) for key in ("images", "layers")]
    return tuple(name for names in told if isinstance(names, dict) for name in names)
