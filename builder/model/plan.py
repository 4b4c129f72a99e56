"""What is to be made: layers, each with the key of what goes into it, and images as lists of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from builder.model.digest import CacheKey, Digest
from builder.model.image import Layer
from builder.model.lock import Artifact, LockedAnswer, LockedGroup, LockedPackage, LockedUser, LockedWheel
from dsl import versions


@dataclass(frozen=True, slots=True)
class LeaveOutRules:
    """What stays out of layers: kinds of files (``docs``, ``man`` …), but not what matches ``keep``.

    Attributes:
        kinds: names of the table in ``builder/make/leave_out.py``, sorted.
        keep: absolute paths, with ``*``, that stay all the same; sorted.
    """

    kinds: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class FileEntry:
    """A file, folder or link that a definition brings.

    Attributes:
        path: absolute.
        kind: ``file``, ``folder`` or ``link``.
        uid, gid: numbers, since layers know no names.
        mode: permission bits.
        content: of a file: the digest of its bytes, which the store has.
        target: of a link.
    """

    path: str
    kind: str
    uid: int
    gid: int
    mode: int
    content: Digest | None = None
    target: str = ""


@dataclass(frozen=True, slots=True, order=True)
class StatOverrideEntry:
    """A line for dpkg-statoverride; owner and group are names or ``#number``."""

    path: str
    owner: str
    group: str
    mode: str


@dataclass(frozen=True, slots=True)
class PackageLayerPlan:
    """A layer made only from package payloads.

    Attributes:
        definition: whose packages these are.
        group: the source package that stands alone, or ``bin-03``.
        hot: whether the group lies with those that are often patched, on top of the others.
        packages: sorted by name.
        compiler: the packages whose interpreter compiles byte code; empty for none.
        compression: ``gzip`` or ``zstd``.
    """

    cache_key: CacheKey
    definition: str
    group: str
    hot: bool
    packages: tuple[LockedPackage, ...]
    leave_out: LeaveOutRules
    compiler: tuple[LockedPackage, ...]
    compression: str


@dataclass(frozen=True, slots=True)
class WheelLayerPlan:
    """A layer made only from wheels, as they are installed into a virtual environment.

    Attributes:
        definition: whose wheels these are.
        environment: its name; it lies in ``/opt``.
        python: the interpreter's minor version.
        group: the wheel that stands alone, or ``bin-03``.
        wheels: sorted by name.
        compiler: the packages whose interpreter compiles byte code; empty for none.
    """

    cache_key: CacheKey
    definition: str
    environment: str
    python: str
    group: str
    wheels: tuple[LockedWheel, ...]
    compiler: tuple[LockedPackage, ...]
    compression: str


@dataclass(frozen=True, slots=True)
class FilesLayerPlan:
    """A layer of the files that a definition itself brings (those that come after configuring).

    Attributes:
        state: the state that it lies on, if it is needed to know the folders that the files lie in.
    """

    cache_key: CacheKey
    definition: str
    files: tuple[FileEntry, ...]
    compression: str
    state: StateLayerPlan | None = None


@dataclass(frozen=True, slots=True)
class StateLayerPlan:
    """A layer with what configuring one definition's packages produces.

    Attributes:
        below: the state that this one is computed on; None at the bottom.
        files_below: the files layers of the definitions below, bottom first; they lie over ``below``'s states.
        packages: what is unpacked and configured here, sorted by name.
        users, groups: the numbers that must hold, known before any script runs.
        create_users: names among ``users`` that the definition itself asks for, made even if no script does.
        user_groups: further groups of users: (user, group).
        early_files: files there before configuring.
        generated: absolute paths whose content (not themselves) stays out of the layer.
        leave_out: as for the definition's package layers; written to dpkg.cfg.d.
        clock: the package whose library shows scripts the time of the rules; empty for the real time.
        learn: do not hold scripts to ``users`` and ``groups``: find out what they allocate (for locking).
    """

    cache_key: CacheKey
    definition: str
    architecture: str
    below: StateLayerPlan | None
    files_below: tuple[FilesLayerPlan, ...]
    packages: tuple[LockedPackage, ...]
    users: tuple[LockedUser, ...]
    groups: tuple[LockedGroup, ...]
    create_users: tuple[str, ...]
    user_groups: tuple[tuple[str, str], ...]
    early_files: tuple[FileEntry, ...]
    debconf: tuple[LockedAnswer, ...]
    statoverrides: tuple[StatOverrideEntry, ...]
    alternatives: tuple[tuple[str, str], ...]
    generated: tuple[str, ...]
    leave_out: LeaveOutRules
    compression: str
    clock: tuple[LockedPackage, ...] = ()
    learn: bool = False

    def chain(self) -> tuple[StateLayerPlan, ...]:
        """This and all states below, bottom first."""
        return (*(self.below.chain() if self.below else ()), self)


@dataclass(frozen=True, slots=True)
class RecordsLayerPlan:
    """The top layer: dpkg's status after ``state``."""

    cache_key: CacheKey
    state: StateLayerPlan
    compression: str

    @property
    def definition(self) -> str:
        """Whose state it is."""
        return self.state.definition


LayerPlan = PackageLayerPlan | WheelLayerPlan | FilesLayerPlan | StateLayerPlan | RecordsLayerPlan


def kind(layer: LayerPlan) -> str:
    """``package``, ``wheel``, ``files``, ``state`` or ``records``, as annotations name it."""
    return type(layer).__name__.removesuffix("LayerPlan").lower()


def group(layer: LayerPlan) -> str:
    """The group of packages that a layer is of: ``bin-03``, of wheels with their environment; empty for other layers."""
    match layer:
        case PackageLayerPlan():
            return layer.group
        case WheelLayerPlan():
            return f"{layer.environment}/{layer.group}"
        case _:
            return ""


def artifacts(layer: LayerPlan) -> tuple[Artifact, ...]:
    """The packages or wheels that a layer is made from alone; none for other layers."""
    match layer:
        case PackageLayerPlan():
            return layer.packages
        case WheelLayerPlan():
            return layer.wheels
        case _:
            return ()


@dataclass(frozen=True, slots=True)
class MadeLayer:
    """A layer plan and what it turned out to be.

    Attributes:
        cache_key: of the plan.
        layer: without annotations; an empty state has a layer too.
        status: of a state layer: digest of dpkg's status after it, a blob in the store.
        users, groups: of a state layer: all lines of passwd and group after it.
        folders: of a state layer: the folders after it, of all below too, that are not root's with mode 0755, by the
            paths that layers have.
        newest: of a layer of packages or wheels: the newest time among them, in seconds since 1970.
    """

    cache_key: CacheKey
    layer: Layer
    status: Digest | None = None
    users: tuple[LockedUser, ...] = ()
    groups: tuple[LockedGroup, ...] = ()
    newest: int = 0
    folders: tuple[FileEntry, ...] = ()

    def data(self) -> dict[str, Any]:
        """What is kept of it, without its key."""
        data: dict[str, Any] = {
            "digest": self.layer.digest,
            "diff_id": self.layer.diff_id,
            "size": self.layer.size,
            "media_type": self.layer.media_type,
            "newest": self.newest,
        }
        if self.status:
            data |= {
                "status": self.status,
                "users": [asdict(user) for user in self.users],
                "groups": [asdict(group) for group in self.groups],
                "folders": [[folder.path, folder.uid, folder.gid, folder.mode] for folder in self.folders],
            }
        return data

    @classmethod
    def of(cls, key: CacheKey, data: Mapping[str, Any]) -> MadeLayer:
        """What was kept.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: it is something else.
        """
        layer = Layer(Digest.parse(data["digest"]), Digest.parse(data["diff_id"]), data["size"], data["media_type"])
        status = Digest.parse(data["status"]) if data.get("status") else None
        users = tuple(LockedUser(**user) for user in data.get("users", ()))
        groups = tuple(LockedGroup(**group) for group in data.get("groups", ()))
        folders = tuple(FileEntry(path_, "folder", *numbers) for path_, *numbers in data.get("folders", ()))
        return cls(key, layer, status, users, groups, data.get("newest", 0), folders)


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """An image to be made.

    Attributes:
        version: of the component, ``31.0.0``; with a site's name ``31.0.0-acme``.
        revision: 0 for a ``-dev`` build.
        layers: bottom first.
        config: the ``config`` member of the OCI config (image-spec, config.md#properties) as JSON text, all labels in it.
    """

    component: str
    image: str
    version: str
    revision: int
    content_key: CacheKey
    architecture: str
    layers: tuple[LayerPlan, ...]
    config: str

    @property
    def tag(self) -> str:
        """``31.0.0-r3``, or ``31.0.0-dev``."""
        return versions.tag(self.version, self.revision)


@dataclass(frozen=True, slots=True)
class Plan:
    """All images of one build."""

    images: tuple[ImagePlan, ...]

    def layers(self) -> tuple[LayerPlan, ...]:
        """Every layer once, in an order in which they can be made."""
        found: dict[CacheKey, LayerPlan] = {}
        for image in self.images:
            for layer in image.layers:
                found.setdefault(layer.cache_key, layer)
        return tuple(found.values())
