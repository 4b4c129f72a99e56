"""OCI image layouts (image-spec, image-layout.md): a folder of blobs and an index, which is the record of releases."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from builder.errors import ImageError, UsageError
from builder.formats import oci
from builder.model.digest import Digest
from builder.model.image import Blobs, Image, StoredImage, StoredIndex
from builder.tools import files, machine
from builder.transports import blobs as blobs_
from builder.transports import naming
from builder.trust import cosign
from builder.trust.cosign import Seal

LOCK = "org.imgbuild.lock"
PROVENANCE = "org.imgbuild.provenance"
SPDX, CYCLONEDX = "org.imgbuild.sbom.spdx", "org.imgbuild.sbom.cyclonedx"
ATTESTED = (PROVENANCE, SPDX, CYCLONEDX)
"""Annotations of an index's entry that name what is kept beside an image."""
VEX = "org.imgbuild.vex"
"""The same of what registries alone have: it changes with time."""
SEALED = {cosign.SIGNATURES: "org.imgbuild.signatures", cosign.ATTESTATIONS: "org.imgbuild.attestations"}
"""Annotations that name manifests of signatures, as cosign keeps them in registries under tags."""
RELEASE = "org.imgbuild.release"
"""The annotation of an image in a layout's index that goes by the name of an index there."""
OF_RELEASE = tuple(f"org.imgbuild.{one}" for one in ("component", "image", "version", "revision"))
"""What is noted of a whole release."""
_DEPTH = 4


class LayoutBlobs(blobs_.FolderBlobs):
    """The blobs of a layout."""

    def __init__(self, layout: Path) -> None:
        super().__init__(layout / "blobs" / "sha256")


@dataclass(frozen=True, slots=True)
class Entry:
    """An image that an index names.

    Attributes:
        name: empty if it has none.
        notes: its annotations.
        index: that names it, if the layout has several images of that name, for as many architectures.
        others: the other images of that index.
    """

    name: str
    digest: Digest
    notes: Mapping[str, str] = field(default_factory=dict, compare=False)
    index: Entry | None = field(default=None, compare=False)
    others: tuple[Entry, ...] = field(default=(), compare=False)

    @property
    def every(self) -> tuple[Entry, ...]:
        """All images of its name, itself first."""
        return (self, *self.others)


@dataclass(frozen=True, slots=True)
class Layout:
    """The images of a layout in a folder or an archive.

    Attributes:
        place: what messages call it.
    """

    place: str
    entries: tuple[Entry, ...]
    blobs: Blobs

    def names(self) -> tuple[str, ...]:
        """What it calls its images: by their digests if they have no names."""
        return tuple(entry.name or entry.digest for entry in self.entries)

    def read(self, name: str) -> StoredImage:
        """The image of a name or a digest.

        Raises:
            UsageError: there is none.
            ImageError: it is missing or damaged.
        """
        found = next((entry for entry in self.entries if name in (entry.name, entry.digest)), None)
        if found is None:
            found = next((one for entry in self.entries for one in entry.others if one.digest == name), None)
        if found is None:
            names = ", ".join(sorted(filter(None, self.names()))) or "nothing"
            raise UsageError(f"{self.place} has no image {name!r}", f"there are: {names}")
        return self.stored(found)

    def stored(self, entry: Entry) -> StoredImage:
        """The image of an entry."""
        manifest = self._document(entry.digest)
        config_digest = oci.config_digest(manifest)
        config = self._document(config_digest) if config_digest else b""
        index = entry.index
        return StoredImage(
            entry.name or entry.digest, manifest, config, self.blobs, entry.digest, notes=entry.notes,
            index=StoredIndex(index.digest, self._document(index.digest), index.notes, self._images_of(entry))
            if index else None,
        )  # fmt: skip

    def _images_of(self, entry: Entry) -> Callable[[], tuple[StoredImage, ...]]:
        return lambda: tuple(self.stored(one) for one in entry.every)

    def _document(self, digest: Digest) -> bytes:
        try:
            with self.blobs.open(digest) as file:
                return blobs_.document(file, self.place)
        except KeyError:
            return b""


def layout(index: bytes, blobs: Blobs, place: str) -> Layout:
    """The images that an index names; of an index for several machines, the one for this.

    Raises:
        ImageError: it is damaged.
    """
    try:
        told = oci.parse(index)
        entries = tuple(_entries(told, blobs, "", _DEPTH, dict(_of_releases(told))))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ImageError(f"{place}: its index.json is damaged: {error}") from None
    return Layout(place, entries, blobs)


def at(folder: Path) -> Layout:
    """The images of a layout in a folder.

    Raises:
        UsageError: there is none.
        ImageError: it is damaged.
    """
    try:
        with (folder / "index.json").open("rb") as file:
            index = blobs_.document(file, str(folder))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{folder} is no OCI layout: it has no index.json") from None
    return layout(index, LayoutBlobs(folder), str(folder))


def references(folder: Path) -> dict[str, Digest]:
    """What the index names.

    Raises:
        UsageError: there is no layout.
        ImageError: it is damaged.
    """
    return {entry.name: entry.digest for entry in at(folder).entries if entry.name}


def read(folder: Path, reference: str = "") -> Image:
    """An image, the newest that fits; the only one if none is named.

    Raises:
        UsageError: there is none.
        ImageError: it is damaged.
    """
    found = at(folder)
    stored = found.read(naming.newest(reference, found.names(), str(folder)))
    return oci.image(stored.manifest, stored.config, stored.blobs)


def attested(folder: Path, reference: str, digest: Digest) -> bool:
    """Whether a layout keeps what is attested of an image."""
    if not (folder / "index.json").exists():
        return False
    every = (one for entry in at(folder).entries for one in entry.every)
    entries = [one for one in every if (one.name, one.digest) == (reference, digest)]
    return any(set(ATTESTED) <= one.notes.keys() for one in entries)


def write(
    image: Image,
    folder: Path,
    reference: str,
    annotations: Mapping[str, str] | None = None,
    beside: Mapping[str, bytes] | None = None,
) -> Digest:
    """Write one image, as `Writer.put` does."""
    with writing(folder) as writer:
        return writer.put(image, reference, annotations, beside)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[Writer]:
    """Write any number of images into a layout; nobody else writes there until the block ends.

    Its index is written then, once, with all that was put until then, however the block ends.
    """
    with _exclusive(folder):
        _sweep(folder)
        writer = Writer(folder, _index(folder))
        try:
            yield writer
        finally:
            writer.finish()


class Writer:
    """A layout that is being written."""

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        self._folder, self._blobs, self._index = folder, LayoutBlobs(folder), index
        self._changed = False

    def put(
        self,
        image: Image,
        reference: str,
        annotations: Mapping[str, str] | None = None,
        beside: Mapping[str, bytes] | None = None,
    ) -> Digest:
        """Write an image; blobs that are there are left alone, a reference of the same name is moved.

        What has that name for another architecture stays: the name is that of an index of both then.

        Args:
            reference: ``nova-api:31.0.0-r1``.
            annotations: further ones of its entry in the index.
            beside: what is kept with it, each a blob that an annotation of its entry in the index names: its lock, what
                is attested of it. What was attested of the same image before stays.

        Returns:
            The manifest's digest.
        """
        entry = described(image.manifest, reference, annotations, beside)
        blobs, there = self._blobs, self._index["manifests"]
        for one in there:
            notes = one.get("annotations") or {}
            if (_called(one), one.get("digest")) == (reference, image.digest):
                entry["annotations"] |= {name: notes[name] for name in (*ATTESTED, *SEALED.values()) if name in notes}
        named, inner = _with_others(self._index, entry, oci.platform(image.config), blobs)
        missing = [layer.digest for layer in image.layers if not _whole(blobs.path(layer.digest), layer.size)]
        for digest in dict.fromkeys(missing):
            blobs.path(digest).unlink(missing_ok=True)
            blobs_.copy(image, digest, blobs.path(digest))
        for data in (image.config, image.manifest, *(beside or {}).values(), *((inner,) if inner else ())):
            self._keep(data)
        now = sorted([*(one for one in there if _called(one) != reference), *named], key=order)
        self._changed |= now != there
        self._index["manifests"] = now
        return image.digest

    def seal(self, reference: str, digest: Digest, seals: Mapping[str, tuple[Seal, ...]]) -> None:
        """Keep signatures beside an image that is there, in place of those of the same kinds.

        Args:
            seals: by their kind.
        """
        documents, notes = sealed(seals)
        for data in documents:
            self._keep(data)
        for one in self._index["manifests"]:
            known = one.get("annotations") or {}
            if (_called(one), one.get("digest")) == (reference, digest) and known != {**known, **notes}:
                one["annotations"] = {**known, **notes}
                self._changed = True

    def _keep(self, data: bytes) -> None:
        path = self._blobs.path(Digest.of(data))
        if not _whole(path, len(data)):
            with files.replacing(path) as file:
                file.write(data)

    def finish(self) -> None:
        """Write the index, if it is another now."""
        if self._changed:
            files.write(self._folder / "oci-layout", oci.LAYOUT)
            files.write(self._folder / "index.json", oci.dump(self._index))


def _called(one: Mapping[str, Any]) -> str | None:
    """The name that something in an index goes by, be it that of the index which names it."""
    notes = one.get("annotations") or {}
    return notes.get(oci.REF_NAME) or notes.get(RELEASE)


def order(one: Mapping[str, Any]) -> tuple[str, str]:
    """A key that sorts the entries of an index: an index goes before its images."""
    return _called(one) or "", (one.get("platform") or {}).get("architecture", "")


def _with_others(
    index: Mapping[str, Any], entry: dict[str, Any], platform: Mapping[str, str], blobs: LayoutBlobs
) -> tuple[list[dict[str, Any]], bytes]:
    """What a layout's index has of a name with an image, and the index that it is the name of, if there is one.

    Args:
        entry: the image's own.
        platform: that it is for.
    """
    reference = entry["annotations"][oci.REF_NAME]
    images, before = [{**entry, "platform": dict(platform)}], {}
    for one in index["manifests"]:
        if _called(one) != reference:
            continue
        if one.get("mediaType") == oci.INDEX:
            before = one
        elif (there := one.get("platform") or _platform(one, blobs)) and there != platform:
            images.append({**one, "platform": there})
    if len(images) == 1:
        return [entry], b""
    (top, *rest), document = joined(images)
    if before.get("digest") == top["digest"]:
        kept = {name: value for name, value in before["annotations"].items() if name in SEALED.values()}
        top["annotations"] |= kept
    return [top, *rest], document


def joined(images: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], bytes]:
    """Images of a release for several architectures as an index, whose name theirs is then.

    Args:
        images: their entries, each with the platform that it is for; the first has the name.

    Returns:
        the entries of the index, which is the first, and of them all; and the index.
    """
    document, notes = oci.index(images), images[0]["annotations"]
    told = {name: notes[name] for name in notes if name == oci.REF_NAME or name in OF_RELEASE}
    top = {"mediaType": oci.INDEX, "digest": Digest.of(document), "size": len(document), "annotations": told}
    entries: list[dict[str, Any]] = [top]
    for one in images:
        rest = {name: value for name, value in one["annotations"].items() if name != oci.REF_NAME}
        entries.append({**one, "annotations": {**rest, RELEASE: notes[oci.REF_NAME]}})
    return entries, document


def _platform(one: Mapping[str, Any], blobs: LayoutBlobs) -> dict[str, str]:
    try:
        with blobs.open(Digest.parse(one["digest"])) as file:
            config = oci.config_digest(file.read())
        if config is None:
            return {}
        with blobs.open(config) as file:
            return oci.platform(file.read())
    except (KeyError, ValueError):
        return {}


def described(
    manifest: bytes, reference: str, annotations: Mapping[str, str] | None = None,
    beside: Mapping[str, bytes] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """An image's entry in an index, with arguments as of `Writer.put`."""
    return {
        "mediaType": oci.MANIFEST,
        "digest": Digest.of(manifest),
        "size": len(manifest),
        "annotations": {oci.REF_NAME: reference, **(annotations or {})}
        | {name: Digest.of(data) for name, data in (beside or {}).items()},
    }


def remove(folder: Path, references: Collection[str]) -> None:
    """Take images out, with the blobs that only they have.

    The index goes first: what is killed meanwhile leaves blobs that nothing names.

    Args:
        references: ``nova-api:31.0.0-r1``.

    Raises:
        UsageError: there is no layout.
        ImageError: it is damaged.
    """
    with _exclusive(folder):
        _sweep(folder)
        before = at(folder)
        gone = [entry for entry in before.entries if entry.name in references]
        stays = [entry for entry in before.entries if entry.name not in references]
        index = _index(folder)
        index["manifests"] = [one for one in index["manifests"] if _called(one) not in references]
        kept = {digest for entry in stays for digest in _reached(before, entry)}
        lost = {digest for entry in gone for digest in _reached(before, entry)} - kept
        files.write(folder / "index.json", oci.dump(index))
        for digest in lost:
            LayoutBlobs(folder).path(digest).unlink(missing_ok=True)


def _reached(layout_: Layout, entry: Entry) -> Iterator[Digest]:
    """All blobs that an entry leads to, and the others of its index."""
    for one in entry.every:
        yield one.digest
        stored = layout_.stored(one)
        yield from _beside(one.notes, layout_.blobs, stored.manifest)
    if entry.index:
        yield entry.index.digest
        yield from _beside(entry.index.notes, layout_.blobs)


def _beside(notes: Mapping[str, str], blobs: Blobs, *manifests: bytes) -> Iterator[Digest]:
    """All blobs that manifests, and what is noted beside them, lead to."""
    stored = StoredImage("", b"", b"", blobs, notes=notes)
    for note in notes.values():
        with contextlib.suppress(ValueError):
            yield Digest.parse(note)
    for manifest in (*manifests, *(stored.beside(note) or b"" for note in SEALED.values())):
        # Where what it leads to cannot be told, what only it has stays, which does no harm.
        with contextlib.suppress(KeyError, TypeError, ValueError):
            told = oci.parse(manifest)
            for descriptor in (told["config"], *told["layers"]):
                yield Digest.parse(descriptor["digest"])


def keep(folder: Path, reference: str, digest: Digest, seals: Mapping[str, tuple[Seal, ...]]) -> None:
    """Keep signatures beside an image that is there, as `Writer.seal` does."""
    with writing(folder) as writer:
        writer.seal(reference, digest, seals)


def sealed(seals: Mapping[str, tuple[Seal, ...]]) -> tuple[tuple[bytes, ...], dict[str, str]]:
    """What is kept of signatures, by their kind, and the annotations that name it."""
    documents: list[bytes] = []
    notes: dict[str, str] = {}
    for kind, given in seals.items():
        manifest, config = cosign.manifest(one.entry for one in given)
        documents += [manifest, config, *(one.data for one in given)]
        notes[SEALED[kind]] = Digest.of(manifest)
    return tuple(documents), notes


def _of_releases(index: Any) -> Iterator[tuple[tuple[str, Digest], Mapping[str, str]]]:
    """What is noted of images that go by the name of an index."""
    for one in index["manifests"]:
        notes = one.get("annotations") or {}
        if RELEASE in notes:
            yield (str(notes[RELEASE]), Digest.parse(one["digest"])), {str(k): str(v) for k, v in notes.items()}


def _entries(
    index: Any, blobs: Blobs, name: str, depth: int, noted: Mapping[tuple[str, Digest], Mapping[str, str]]
) -> Iterator[Entry]:  # fmt: skip
    if not isinstance(index["manifests"], list) or not depth:
        raise ValueError("it is no image index")
    for one in index["manifests"]:
        if one.get("artifactType") or RELEASE in (one.get("annotations") or {}):
            continue
        digest = Digest.parse(one["digest"])
        called = str((one.get("annotations") or {}).get(oci.REF_NAME) or name)
        if one.get("mediaType") not in (oci.INDEX, oci.DOCKER_LIST):
            yield Entry(called, digest, {str(k): str(v) for k, v in (one.get("annotations") or {}).items()})
            continue
        try:
            with blobs.open(digest) as file:
                inner = oci.parse(blobs_.document(file, digest))
        except KeyError:
            raise ValueError(f"the index {digest} is missing") from None
        here = machine.architecture()
        # Of an index that others have made not all images need be there.
        own = [x for x in inner["manifests"] if (called, x["digest"]) in noted]
        if own:
            notes = {str(k): str(v) for k, v in (one.get("annotations") or {}).items()}
            said = Entry(called, digest, notes)
            images = [Entry(called, Digest.parse(x["digest"]), noted[called, x["digest"]], said) for x in own]
            fit = next((n for n, x in enumerate(own) if x["platform"]["architecture"] == here), 0)
            chosen = images.pop(fit)
            yield replace(chosen, others=tuple(images))
            continue
        fits = [x for x in inner["manifests"] if (x.get("platform") or {}).get("architecture") == here]
        yield from _entries({"manifests": fits or inner["manifests"][:1]}, blobs, called, depth - 1, {})


def _index(folder: Path) -> dict[str, Any]:
    try:
        data: Any = oci.parse((folder / "index.json").read_bytes())
    except FileNotFoundError:
        return {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": []}
    except ValueError as error:
        raise ImageError(
            f"{folder}: its index.json is damaged: {error}", "move the folder away and build again"
        ) from None
    if (
        not isinstance(data, dict)
        or not isinstance(data.get("manifests"), list)
        or not all(
            isinstance(one, dict) and isinstance(one.get("annotations") or {}, dict) for one in data["manifests"]
        )
    ):
        raise ImageError(f"{folder}: its index.json is no image index")
    return data


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    with files.exclusive(folder):
        yield


def _sweep(folder: Path) -> None:
    # What is half written lies under such names: nobody else writes now, so it is left over from a run that was killed.
    for pattern in (".index.json.*", ".oci-layout.*", "blobs/sha256/.*"):
        for path in folder.glob(pattern):
            path.unlink()


def _whole(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size
