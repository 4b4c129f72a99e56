"""Ways out and in: where an image can be written and read, by the prefix of a place."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from builder.errors import ImageError, UsageError, of_system
from builder.formats import oci
from builder.model.digest import Digest
from builder.model.image import Image, StoredImage
from builder.report import Reporter
from builder.tools.store import Store
from builder.transports import aci, archive, directory, engine, naming, oci_layout, rootfs
from builder.transports.aci import NOBODY, Site
from builder.trust.cosign import Seal
from dsl.naming import Names

if TYPE_CHECKING:
    from builder.transports.evidence import Evidence

READABLE = ("oci", "oci-archive", "docker-archive", "dir", "docker", "podman")
"""What images can be written to and read from."""
KINDS = (*READABLE, "rootfs", "aci")
"""All that images can be written to. They are read from registries, too, and go there by `imgbuild publish`."""
REGISTRY = "registry"
USUAL = Names()
DEFAULT = "out"
"""The layout where images lie that are named without a place."""
_ONE_IMAGE = ("oci-archive", "docker-archive", "dir", "rootfs")


@dataclass(frozen=True, slots=True)
class Target:
    """A place to write images to: ``oci:out``, ``docker:``.

    Attributes:
        offered: who offers them there, of App Container images.
    """

    kind: str
    path: str
    offered: Site = NOBODY

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}"

    def of(self, image: str) -> Target:
        """The place of one image: ``{image}`` in the path stands for its name."""
        return replace(self, path=self.path.replace("{image}", image))


@dataclass(frozen=True, slots=True)
class Named:
    """What an image is called where it is written.

    Attributes:
        reference: ``nova-api:31.0.0-r1``.
        annotations: of its entry in a layout's index.
        beside: what a layout keeps beside the image, by the annotation that names it: the text of the locks that it was
            made from, bottom first; what is attested of it.
        seals: by their kind: signatures that a layout keeps beside the image.
    """

    image: str
    reference: str
    annotations: dict[str, str]
    beside: Mapping[str, bytes] = field(default_factory=dict)
    seals: Mapping[str, tuple[Seal, ...]] = field(default_factory=dict)


class Place(Protocol):
    """Where images lie."""

    def names(self) -> tuple[str, ...]:
        """What it calls its images; an empty name for each that has none."""
        ...

    def read(self, name: str) -> StoredImage:
        """The image of a name.

        Raises:
            UsageError: there is none.
        """
        ...


def parse_target(text: str, offered: Site = NOBODY) -> Target:
    """A target from the command line.

    Raises:
        UsageError: there is no such way out.
    """
    kind, colon, path = text.partition(":")
    if kind == REGISTRY and colon:
        raise UsageError(
            "images go to a registry by `imgbuild publish`",
            "build them into a layout (--to oci:out), then publish them",
        )
    if kind not in KINDS or not colon:
        raise UsageError(f"there is no way out {text!r}", f"there are: {', '.join(f'{name}:' for name in KINDS)}")
    if kind in ("docker", "podman"):
        if path:
            raise UsageError(f"{text!r}: images keep their names in {kind}", f"say {kind}:")
    elif not path:
        raise UsageError(f"{kind}: wants a path", f"say {kind}:out" + (".tar" if "archive" in kind else ""))
    return Target(kind, path, offered)


def require(targets: Sequence[Target], images: Sequence[str], store: Store) -> None:
    """See that images can be written to targets, before any is made.

    Raises:
        UsageError: a target cannot take them.
        EngineError: an engine does not answer.
    """
    for target in targets:
        if target.kind in _ONE_IMAGE and len(images) > 1 and target.of("") == target:
            raise UsageError(
                f"{target} takes one image, here are {len(images)}",
                f"say {target.kind}:{_with_name(target.path)}, which is one of its own for each, or oci:DIR",
            )
        if target.kind in ("docker", "podman"):
            _engine(target.kind, store)
            continue
        for image in images:
            _require_path(target.of(image))


def write(image: Image, target: Target, named: Named, store: Store, reporter: Reporter) -> None:
    """Write one image to a target, whole or not at all.

    Raises:
        ImageError: it cannot be written there.
        EngineError: the engine refuses it.
    """
    with writing(target, store, reporter) as put:
        put(image, named)


@contextlib.contextmanager
def writing(target: Target, store: Store, reporter: Reporter) -> Iterator[Callable[[Image, Named], None]]:
    """Write any number of images to a target, each whole or not at all; a layout names them when the block ends.

    Raises:
        ImageError: one cannot be written there, or the layout's index.
        EngineError: the engine refuses it.
    """
    with _told(target), ExitStack() as stack:
        layouts: dict[Path, oci_layout.Writer] = {}

        def layout(path: Path) -> oci_layout.Writer:
            if path not in layouts:
                # One at a time: runs that write to the same layouts in other orders never wait for each other in a circle.
                stack.close()
                layouts.clear()
                layouts[path] = stack.enter_context(oci_layout.writing(path))
            return layouts[path]

        def put(image: Image, named: Named) -> None:
            way = target.of(named.image)
            path = Path(way.path)
            with _told(way, named.reference):
                match way.kind:
                    case "oci":
                        layout(path).put(image, named.reference, named.annotations, named.beside)
                        layout(path).seal(named.reference, image.digest, named.seals)
                    case "dir":
                        directory.write(image, path)
                    case "rootfs":
                        rootfs.write(image, path)
                    case "aci":
                        aci.write(image, path, named.reference, way.offered)
                    case "docker" | "podman":
                        _engine(way.kind, store).load(image, named.reference, reporter)
                    case _:
                        archive.write(image, path, named.reference)

        yield put


@contextlib.contextmanager
def _told(target: Target, what: str = "images") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        told = of_system(error, f"{what} cannot be written to {target}")
        raise ImageError(told.message, told.hint) from None


def read(text: str, store: Store, names: Names = USUAL) -> Image:
    """An image from where it lies: the newest that fits.

    Raises:
        UsageError: there is none, or several images that are not one's releases.
        ImageError: it is damaged.
    """
    found = read_stored(text, store, names)
    return parsed(found)


def parsed(stored: StoredImage) -> Image:
    """A stored image, if its documents can be read.

    Raises:
        ImageError: they cannot.
    """
    for what, data in (("manifest", stored.manifest), ("config", stored.config)):
        if not data:
            raise ImageError(f"{stored.name}: its {what} is missing", f"`imgbuild validate {stored.name}` says more")
    try:
        return oci.image(stored.manifest, stored.config, stored.blobs)
    except ImageError as error:
        raise ImageError(f"{stored.name}: {error.message}", f"`imgbuild validate {stored.name}` says more") from None


def read_stored(text: str, store: Store, names: Names = USUAL) -> StoredImage:
    """An image as it lies there, unchecked: the newest that fits.

    Its name is what it is called on the command line: ``oci:out:nova-api:31.0.0-r3``.

    Args:
        names: what releases are called in registries; so elsewhere.

    Raises:
        UsageError: there is none, or several images that are not one's releases.
        ImageError: the place is damaged.
    """
    place, prefix, asked = _place(text, store, names)
    return _read(place, prefix, naming.newest(asked, _there(text, place, asked, names), text, names))


def read_chosen(text: str, store: Store, names: Names = USUAL, *, anew: bool = False) -> Iterator[StoredImage]:
    """The newest image that fits; of a place without a name, all its images.

    Args:
        anew: bytes are taken from there, whatever the store has.

    Raises:
        UsageError: there is none.
        ImageError: the place is damaged.
    """
    place, prefix, asked = _place(text, store, names, anew=anew)
    there = _there(text, place, asked, names)
    for name in there[-1:] if asked else there:
        yield _read(place, prefix, name)


def read_every(text: str, store: Store, names: Names = USUAL, *, anew: bool = False) -> Iterator[StoredImage]:
    """As `read_chosen`, each for all its architectures: those beside this machine's are called by them, for messages.

    Raises:
        UsageError: there is none.
        ImageError: the place is damaged.
    """
    for found in read_chosen(text, store, names, anew=anew):
        yield from _with_others(found)


def _with_others(found: StoredImage) -> Iterator[StoredImage]:
    yield found
    for one in found.every()[1:]:
        yield replace(one, name=f"{found.name} ({oci.platform(one.config).get('architecture', one.digest)})")


def read_with_evidence(text: str, store: Store, names: Names = USUAL) -> Iterator[tuple[StoredImage, Evidence]]:
    """As `read_every`, with the indexes that name them, each byte from there, and with what vouches for it.

    Raises:
        UsageError: there is none, or the place keeps nothing beside images.
        ImageError: the place is damaged.
    """
    for found in read_chosen(text, store, names, anew=True):
        whole = found.whole()
        for one in (*_with_others(found), *((replace(whole, name=f"{found.name} (index)"),) if whole else ())):
            beside = evidence_of(one)
            if beside is None:
                raise UsageError(f"{one.name}: nothing is kept there beside images", "name a registry or an OCI layout")
            yield one, beside


def evidence_of(stored: StoredImage) -> Evidence | None:
    """What lies beside an image to vouch for it; None where nothing is kept beside images.

    Raises:
        RegistryError: the registry does not answer.
    """
    from builder.transports import evidence, registry

    blobs = stored.blobs
    if isinstance(blobs, registry.RegistryBlobs):
        digest = stored.digest or Digest.of(stored.manifest)
        return evidence.of_registry(blobs.session, blobs.repositories[0], digest)
    # Engines and skopeo's folders have no index with notes.
    return evidence.of_layout(stored) if stored.notes else None


def read_releases(text: str, store: Store, names: Names = USUAL) -> Iterator[StoredImage]:
    """All that fits, oldest first.

    Raises:
        UsageError: there is none.
        ImageError: the place is damaged.
    """
    place, prefix, asked = _place(text, store, names)
    for name in _there(text, place, asked, names):
        yield _read(place, prefix, name)


def releases(text: str, store: Store, names: Names = USUAL) -> tuple[str, ...]:
    """What fits, as it is called on the command line, oldest first.

    Raises:
        UsageError: there is none.
        ImageError: the place is damaged.
    """
    place, prefix, asked = _place(text, store, names)
    return tuple(_called(prefix, name) for name in _there(text, place, asked, names))


@dataclass(frozen=True, slots=True)
class _Directory:
    folder: Path

    def names(self) -> tuple[str, ...]:
        return ("",)

    def read(self, name: str) -> StoredImage:
        return directory.read(self.folder)


def _there(text: str, place: Place, asked: str, names: Names) -> tuple[str, ...]:
    """What is meant in a place, oldest first."""
    found = naming.matching(asked, place.names(), names)
    if not found and not asked:
        raise UsageError(f"{text} has no images")
    # A digest or an engine's ID is no name: the place itself may know it.
    return found or (asked,)


def _place(text: str, store: Store, names: Names, *, anew: bool = False) -> tuple[Place, str, str]:
    """The place that a text names, how names in it begin, and what is asked of it."""
    kind, colon, rest = text.partition(":")
    if kind == REGISTRY and colon:
        # Commands that read no registry do without what that needs.
        from builder.transports import registry

        return registry.at(rest, store, names, anew=anew)
    if not colon or kind not in READABLE:
        if Path(text).exists() and (os.sep in text or Path(text).is_file()):
            raise UsageError(
                f"{text!r} is a path, not an image", f"say docker-archive:{text}, oci:{text} or dir:{text}"
            )
        if not (Path(DEFAULT) / "index.json").exists():
            told = f"there is no image {text!r}: " if text else ""
            raise UsageError(f"{told}there is no OCI layout ./{DEFAULT}", "run `imgbuild build`")
        return oci_layout.at(Path(DEFAULT)), "", text
    if kind in ("docker", "podman"):
        return _engine(kind, store), f"{kind}:", rest
    if not rest:
        raise UsageError(f"{kind}: wants a path")
    path, asked = _path(rest)
    prefix = f"{kind}:{path}"
    match kind:
        case "oci":
            return oci_layout.at(path), prefix, asked
        case "dir":
            return _Directory(path), prefix, ""
        case _:
            return archive.at(path, store), prefix, asked


def path_of(text: str) -> Path:
    """The path of a place on disk: ``out`` of ``oci:out:nova-api``."""
    return _path(text.partition(":")[2])[0]


def _path(rest: str) -> tuple[Path, str]:
    """The path and the name of ``PATH[:NAME]``; paths may have colons too."""
    parts = rest.split(":")
    for end in range(len(parts), 0, -1):
        if (path := Path(":".join(parts[:end]))).exists():
            return path, ":".join(parts[end:])
    return Path(parts[0]), ":".join(parts[1:])


def _read(place: Place, prefix: str, name: str) -> StoredImage:
    found = place.read(name)
    return replace(found, name=_called(prefix, found.name))


def _called(prefix: str, name: str) -> str:
    between = ":" if prefix and name and not prefix.endswith((":", "/")) else ""
    return f"{prefix}{between}{name}"


def _engine(kind: str, store: Store) -> engine.Engine:
    return engine.connect("docker" if kind == "docker" else "podman", store)


def _with_name(path: str) -> str:
    found = Path(path)
    return str(found.with_name(f"{found.stem}-{{image}}{found.suffix}"))


def _require_path(target: Target) -> None:
    path = Path(target.path)
    if target.kind == "dir" and not directory.usable(path):
        raise UsageError(f"{target}: something other than an image is there", "name a folder that is new or empty")
    if target.kind == "rootfs" and not rootfs.usable(path):
        raise UsageError(f"{target}: something is there", "name a folder that is new or empty")
    if target.kind in ("oci", "aci") and path.exists() and not path.is_dir():
        raise UsageError(f"{target}: it is no folder", "move it away, or name another place")
    if "archive" in target.kind:
        if path.is_dir():
            raise UsageError(f"{target}: it is a folder", f"say {target.kind}:{path}/{{image}}.tar")
        if not path.parent.is_dir():
            raise UsageError(f"{target}: there is no folder {path.parent}", f"make it: mkdir -p {path.parent}")
        if not os.access(path.parent, os.W_OK):
            raise UsageError(f"{target}: the folder {path.parent} cannot be written to")
