"""Archives for sites without internet: an OCI layout in a tar, from which may be left out what a site has.

    oci-layout, index.json                      as of any layout (image-spec, image-layout.md): skopeo and oras read it
    blobs/sha256/HEX                            what is brought

The index names one more thing than images: an artifact whose one layer lists what the archive holds, so that what was cut off or
changed on the way is noticed. The same input gives the same bytes.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from builder.errors import ImageError, IntegrityError, UsageError
from builder.formats import oci
from builder.model.digest import Digest
from builder.model.image import Blobs
from builder.registry.uploads import Bytes
from builder.report import Reporter
from builder.tools import files
from builder.tools.store import Store
from builder.transports import Named, archive, members, naming, oci_layout
from builder.transports import blobs as blobs_
from builder.transports.oci_layout import Layout
from builder.trust import cosign
from builder.trust.cosign import Seal, Signer

KIND = "application/vnd.imgbuild.mirror.v1+json"
"""The type of the artifact that lists what an archive holds."""
BUILDING = "application/vnd.imgbuild.building.v1"
"""The type of the artifact that has what a site builds from: each file a layer with its path as the title, as oras has it."""
_NAME, _BUILDING = "imgbuild-mirror", "imgbuild-building"
_SIGNATURE = "org.imgbuild.mirror.signature"
_PIECE = 1 << 20
_BLOBS = "blobs/sha256/"
_AGAIN = "copy it once more; if it is the same again, write it anew with `imgbuild mirror save`"


@dataclass(frozen=True, slots=True)
class Part:
    """The image of a release for one architecture.

    Attributes:
        named: with what lies beside it, and its signatures.
    """

    named: Named
    manifest: bytes
    config: bytes
    layers: tuple[Bytes, ...]


@dataclass(frozen=True, slots=True)
class Released:
    """A release that an archive brings.

    Attributes:
        reference: ``nova-api:31.0.0-r4``.
        name: of its image, with the component: ``nova/nova-api``.
        entries: in the archive's index: its own; of several architectures that of their index, and then theirs.
        floating: the tags that lead to it beside its own.
        documents: what is small of it: manifests, configs, what lies beside them, signatures.
        layers: each once.
    """

    reference: str
    name: str
    entries: tuple[Mapping[str, Any], ...]
    floating: tuple[str, ...]
    documents: tuple[bytes, ...]
    layers: tuple[Bytes, ...]

    @property
    def image(self) -> str:
        """The name of its image."""
        return naming.split(self.reference)[0]

    @property
    def digest(self) -> Digest:
        """What its name leads to."""
        return Digest.parse(self.entries[0]["digest"])


@dataclass(frozen=True, slots=True)
class File:
    """Something beside images, and where it is to lie at the site."""

    path: str
    blob: Bytes


@dataclass(frozen=True, slots=True)
class Building:
    """What a site builds from.

    Attributes:
        at: a time at which all suites of its repositories were in force; empty if there are none.
    """

    files: tuple[File, ...] = ()
    at: str = ""


@dataclass(frozen=True, slots=True)
class Mirror:
    """What an archive holds.

    Attributes:
        layout: its images.
        floating: tags that lead to them beside their own, by the images' names.
        blobs: what it brings, with sizes.
        names: of what it brings, the image that has it: ``nova/nova-api``; empty of what is no layer.
        without: what was left out, since the site is to have it, by the name of an image there that has it: ``nova/nova-api``.
        files: what the site builds from, with digests and sizes by the paths where it is to lie; with `Building.at`.
        contents, signature: its list, which names all bytes, and what somebody has signed of it, if somebody has.
    """

    layout: Layout
    floating: Mapping[str, tuple[str, ...]]
    blobs: Mapping[Digest, int]
    names: Mapping[Digest, str]
    without: Mapping[Digest, str]
    files: Mapping[str, tuple[Digest, int]]
    at: str
    contents: bytes
    signature: bytes


def write(
    path: Path, images: Sequence[Released], had: Mapping[Digest, str], reporter: Reporter,
    building: Building | None = None, signer: Signer | None = None,
) -> Mirror:  # fmt: skip
    """Write an archive, whole or not at all.

    Args:
        had: what the site has, by the name of an image that has it there.
        building: what the site builds from.
        signer: who signs the list of what is in it.

    Raises:
        ImageError: a layer is missing or damaged.
    """
    documents = {Digest.of(data): data for one in images for data in one.documents}
    documents[Digest.of(oci.EMPTY)] = oci.EMPTY
    layers = {layer.digest: layer for one in images for layer in one.layers if layer.digest not in documents}
    told = building or Building()
    large = {**{one.blob.digest: one.blob for one in told.files if one.blob.digest not in documents}, **layers}
    brought = {digest: blob for digest, blob in sorted(large.items()) if digest not in had}
    listed = {digest: len(data) for digest, data in documents.items()} | {d: x.size for d, x in brought.items()}
    of = {layer.digest: one.name for one in sorted(images, key=lambda one: one.name) for layer in one.layers}
    without = {digest: had[digest] for digest in sorted(layers) if digest in had}
    entries = sorted((dict(entry) for one in images for entry in one.entries), key=oci_layout.order)
    floating = {one.reference: list(one.floating) for one in images if one.floating}
    blobs = {digest: {"size": size, "of": of.get(digest, "")} for digest, size in listed.items()}
    listed_files = {one.path: {"digest": one.blob.digest, "size": one.blob.size} for one in told.files}
    contents = oci.dump(
        {
            "mirror": 1, "images": entries, "tags": floating, "blobs": blobs, "without": without,
            "building": {"files": listed_files, "at": told.at},
        }
    )  # fmt: skip
    signature = base64.b64encode(signer.sign(contents)).decode() if signer else ""
    index, manifests = _index(contents, signature)
    documents |= {Digest.of(data): data for data in (contents, *manifests)}
    total, done = sum(blob.size for blob in brought.values()), 0
    with files.replacing(path) as file:
        for name, data in (("oci-layout", oci.LAYOUT), ("index.json", index)):
            _add(file, name, len(data), [data])
        for digest, data in sorted(documents.items()):
            _add(file, _BLOBS + digest.hex, len(data), [data])
        for digest, blob in brought.items():
            _add(file, _BLOBS + digest.hex, blob.size, _verified(blob))
            done += blob.size
            reporter.progress("archive", done, total, "B")
        file.write(b"\0" * (2 * tarfile.BLOCKSIZE))
    return _contents(index, _Documents(documents), str(path))


def read(path: Path, store: Store, reporter: Reporter) -> Mirror:
    """An archive, every byte of which has been read and held against its digest.

    Args:
        store: where a compressed archive is unpacked, for as long as it is used.

    Raises:
        UsageError: there is no file, or it is no such archive.
        ImageError, IntegrityError: it was cut off, or changed.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise UsageError(f"there is no archive {path}") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder, and no archive of `imgbuild mirror save`") from None
    try:
        found = members.of(file, str(path), store)
    except ImageError as error:
        raise ImageError(f"{path} was cut off or changed, or is no archive: {error.message}", _AGAIN) from None
    index = found.read("index.json", str(path))
    if index is None:
        raise ImageError(f"{path} was cut off or changed, or is no archive: it has no index.json", _AGAIN)
    blobs = found.blobs()
    mirror = _contents(index, blobs, str(path))
    listed = mirror.blobs
    missing = [d for d, size in listed.items() if d not in blobs.parts or blobs.parts[d].size != size]
    if missing:
        raise ImageError(
            f"{path} was cut off or changed: {len(missing)} of {len(listed)} blobs are missing in it, {missing[0]} "
            "for one",
            _AGAIN,
        )
    total, done = sum(listed.values()), 0
    for digest in listed:
        with blobs.open(digest) as opened:
            has = Digest.of_stream(opened)
        if has != digest:
            raise IntegrityError(f"{path} was changed: {digest} in it has the digest {has}", digest, has, _AGAIN)
        done += listed[digest]
        reporter.progress("verify", done, total, "B")
    return mirror


def list_of(path: Path, store: Store) -> Mapping[Digest, str] | None:
    """What a site has that has taken an archive in, by the name of an image that has it; None if it is no such archive.

    Nothing but its list is read.

    Raises:
        ImageError: it was cut off, or changed.
    """
    try:
        found = members.of(path.open("rb"), str(path), store)
        index = found.read("index.json", str(path))
    except ImageError:
        return None
    if index is None:
        return None
    with contextlib.suppress(UsageError):
        blobs = found.blobs()
        mirror = _contents(index, blobs, str(path))
        return {**{digest: "" for digest, _ in mirror.files.values()}, **mirror.names, **mirror.without}
    return None


def described(
    parts: Sequence[Part], name: str, floating: Iterable[str],
    of_indexes: Mapping[Digest, Mapping[str, tuple[Seal, ...]]] | None = None,
) -> Released:  # fmt: skip
    """A release as an archive has it.

    Args:
        parts: its images, one for each architecture.
        name: of its image, with the component: ``nova/nova-api``.
        floating: the tags that lead to it beside its own.
        of_indexes: signatures of its index, by their kind, for the digest that they hold for.
    """
    entries: list[dict[str, Any]] = []
    documents: list[bytes] = []
    layers: dict[Digest, Bytes] = {}
    for part in parts:
        named = part.named
        seals, notes = oci_layout.sealed(named.seals)
        entry = oci_layout.described(part.manifest, named.reference, {**named.annotations, **notes}, named.beside)
        entries.append({**entry, "platform": oci.platform(part.config)} if len(parts) > 1 else entry)
        documents += (part.manifest, part.config, *named.beside.values(), *seals)
        layers |= {one.digest: one for one in part.layers}
    if len(parts) > 1:
        entries, index = oci_layout.joined(entries)
        seals, notes = oci_layout.sealed((of_indexes or {}).get(Digest.of(index), {}))
        entries[0]["annotations"] |= notes
        documents += (index, *seals)
    return Released(
        parts[0].named.reference, name, tuple(entries), tuple(floating), tuple(documents), tuple(layers.values())
    )


def _index(contents: bytes, signature: str) -> tuple[bytes, tuple[bytes, ...]]:
    """The index that goes with a list, and the manifests of the artifacts that it names beside images.

    Args:
        signature: of the list; empty if nobody has signed it.
    """
    said = oci.parse(contents)
    layer = {"mediaType": KIND, "digest": Digest.of(contents), "size": len(contents)}
    artifacts = [(KIND, _NAME, oci.artifact(KIND, (layer,)))]
    if parts := said["building"]["files"]:
        layers = [
            {"mediaType": "application/octet-stream", **one, "annotations": {oci.TITLE: path}}
            for path, one in sorted(parts.items())
        ]
        artifacts.append((BUILDING, _BUILDING, oci.artifact(BUILDING, layers)))
    descriptors = [
        {
            "mediaType": oci.MANIFEST, "digest": Digest.of(manifest), "size": len(manifest), "artifactType": kind,
            "annotations": {oci.REF_NAME: name},
        }
        for kind, name, manifest in artifacts
    ]  # fmt: skip
    index = {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [*said["images"], *descriptors]}
    index |= {"annotations": {_SIGNATURE: signature}} if signature else {}
    return oci.dump(index), tuple(manifest for *_, manifest in artifacts)


def _contents(index: bytes, blobs: Blobs, place: str) -> Mirror:
    """What an archive is to hold, by its own list."""
    changed = ImageError(f"{place} was cut off or changed: its index and its list do not go together", _AGAIN)
    try:
        parsed = oci.parse(index)
        manifests, signature = parsed["manifests"], (parsed.get("annotations") or {}).get(_SIGNATURE, "")
        artifact = next((one for one in manifests if one.get("artifactType") == KIND), None)
        if artifact is None:
            raise UsageError(
                f"{place} has images, but is no archive of `imgbuild mirror save`",
                f"`imgbuild copy oci-archive:{place} TARGET` takes its images",
            )
        (layer,) = oci.parse(_document(blobs, Digest.parse(artifact["digest"])))["layers"]
        contents = _document(blobs, Digest.parse(layer["digest"]))
        said = oci.parse(contents)
        if said["mirror"] != 1:
            raise UsageError(f"{place} was written by a newer imgbuild", "use that one here, too")
        made, artifacts = _index(contents, signature)
        if index != made:
            raise changed
        for one in artifacts:
            _document(blobs, Digest.of(one))
        return Mirror(
            oci_layout.layout(index, blobs, place),
            {str(name): tuple(map(str, tags)) for name, tags in said["tags"].items()},
            {Digest.parse(digest): int(one["size"]) for digest, one in said["blobs"].items()},
            {Digest.parse(digest): str(one["of"]) for digest, one in said["blobs"].items()},
            {Digest.parse(digest): str(name) for digest, name in said["without"].items()},
            {
                str(path): (Digest.parse(one["digest"]), int(one["size"]))
                for path, one in said["building"]["files"].items()
            },
            str(said["building"]["at"]),
            contents,
            cosign.base64_bytes(signature) or b"",
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise changed from None


def _document(blobs: Blobs, digest: Digest) -> bytes:
    with blobs.open(digest) as file:
        data = blobs_.document(file, digest)
    if Digest.of(data) != digest:
        raise ValueError(digest)
    return data


def _add(file: BinaryIO, name: str, size: int, data: Iterable[bytes]) -> None:
    for piece in archive.member(name, size, data):
        file.write(piece)


def _verified(blob: Bytes) -> Iterator[bytes]:
    found = hashlib.sha256()
    with blob.open() as file:
        while piece := file.read(_PIECE):
            found.update(piece)
            yield piece
    if found.hexdigest() != blob.digest.hex:
        raise IntegrityError(
            f"{blob.place}: {blob.digest} is damaged: it has the digest sha256:{found.hexdigest()}",
            blob.digest, f"sha256:{found.hexdigest()}", "do the same again; if it is the same, build or fetch it anew",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Documents:
    """What was written just now, of which the small parts are still known."""

    documents: Mapping[Digest, bytes]

    def open(self, digest: Digest) -> BinaryIO:
        """The bytes of a digest."""
        return io.BytesIO(self.documents[digest])
