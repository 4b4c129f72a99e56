"""Releases ↔ an archive for a site without internet, of which what the site has is left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from builder import transports
from builder.errors import ImageError, RegistryError, UsageError
from builder.model.digest import Digest
from builder.model.image import Blobs, Image, StoredImage
from builder.pipeline import carrying, copying, trusting
from builder.pipeline.copying import Copied
from builder.pipeline.edges import Edges
from builder.pipeline.finding import Chosen
from builder.registry import address, content
from builder.registry.address import Home
from builder.registry.logins import Logins
from builder.registry.session import Session
from builder.registry.uploads import Bytes
from builder.tools import carried
from builder.tools.store import Store
from builder.transports import mirror_archive, naming, registry
from builder.transports.mirror_archive import Mirror, Part, Released
from builder.transports.oci_layout import LayoutBlobs
from builder.transports.registry import RegistryBlobs
from builder.trust.cosign import Signer, Verifier
from dsl import versions
from dsl.catalog import Catalog
from dsl.naming import Names

_HEX = 64
_LINE = re.compile(r"^(sha256:[0-9a-f]{64}) (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Saved:
    """An archive that was written.

    Attributes:
        images: the references of those that it brings, with the digest of each.
        blobs, bytes: how much of them is in it.
        without: how many layers were left out.
        files: how many there are that the site builds from.
    """

    archive: str
    images: tuple[tuple[str, Digest], ...]
    blobs: int
    bytes: int
    without: int
    files: int

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {
            "archive": self.archive,
            "images": [{"image": name, "digest": digest} for name, digest in self.images],
            "blobs": self.blobs,
            "bytes": self.bytes,
            "left_out": self.without,
            "files": self.files,
        }


def save(
    sources: Iterable[str], archive: Path, since: Iterable[str], names: Names, edges: Edges,
    catalog: Catalog | None = None, signer: Signer | None = None,
) -> Saved:  # fmt: skip
    """Write an archive.

    Args:
        sources: images, or places for the newest release of each image and stream there, as `imgbuild copy` takes them;
            none for those of ./out.
        since: what the site has: files (archives before, what `listed` gives, what `kubectl get pods` prints), places,
            images.
        names: what releases are called in registries.
        catalog: what defines the images, if the site is to build and patch them itself.
        signer: who signs the archive.

    Raises:
        UsageError: something is not there.
        ImageError: an image is missing or damaged.
        RegistryError: a registry does not answer.
    """
    if not archive.parent.is_dir():
        raise UsageError(f"there is no folder {archive.parent}", f"make it: mkdir -p {archive.parent}")
    found = tuple(_newest(tuple(sources) or ("",), names, edges.store))
    had = _had(since, found, names, edges.store)
    images = tuple(_one_each(_released(stored, names, edges) for stored in found))
    building = carrying.gather(catalog, {one.image for one in images}, edges) if catalog else None
    edges.reporter.step(f"writing {archive}: {len(found)} images")
    written = mirror_archive.write(archive, images, had, edges.reporter, building, signer)
    named = tuple(sorted((one.reference, one.digest) for one in images))
    return Saved(
        str(archive), named, len(written.blobs), sum(written.blobs.values()), len(written.without), len(written.files)
    )


def load(
    catalog: Catalog | None, archive: Path, target: str, edges: Edges, verifiers: Sequence[Verifier] = (),
    building: Path | None = None,
) -> tuple[Copied, ...]:  # fmt: skip
    """Bring in what an archive has; nothing is written before all of it was read and is as it was written.

    Args:
        catalog: whose images are recorded where they are now; None where there is no workspace.
        target: ``oci:DIR`` or ``registry:HOST[:PORT][/PREFIX]``.
        verifiers: if there are any, the archive, or each of its images, must be signed by one of them.
        building: a folder for what the site builds from.

    Raises:
        UsageError: there is no such archive, or images cannot go there.
        ImageError, IntegrityError: it was cut off or changed, or the site lacks what was left out.
        RegistryError: the registry does not answer, or refuses.
    """
    kind, _, rest = target.partition(":")
    if kind not in ("oci", transports.REGISTRY) or not rest:
        raise UsageError(
            f"{target!r}: archives come into a layout or a registry", "say oci:DIR or registry:HOST[:PORT][/PREFIX]"
        )
    mirror = mirror_archive.read(archive, edges.store, edges.reporter)
    found = tuple(mirror.layout.read(entry.name) for entry in mirror.layout.entries)
    if verifiers and not any(one.verifies(mirror.contents, mirror.signature) for one in verifiers):
        _require_signed(found, archive, verifiers)
        if building:
            raise ImageError(
                f"{archive}: what the site builds from is not signed by this key",
                "nothing was taken in: `mirror save --sign` signs all of an archive",
            )
    if building:
        _require_files(mirror, building)
    done = _into(catalog, mirror, found, archive, target, edges)
    if building:
        edges.reporter.step(f"filling {building}: {len(mirror.files)} files")
        listed_ = {path: digest for path, (digest, _) in mirror.files.items()}
        carried.fill(building, listed_, mirror.at, mirror.layout.blobs)
    return done


def _into(
    catalog: Catalog | None, mirror: Mirror, found: tuple[StoredImage, ...], archive: Path, target: str, edges: Edges
) -> tuple[Copied, ...]:
    kind, _, rest = target.partition(":")
    if kind == "oci":
        way = transports.parse_target(target)
        transports.require((way,), [naming.split(stored.name)[0] for stored in found], edges.store)
        here = LayoutBlobs(Path(way.path))
        _require(tuple(digest for digest in mirror.without if not here.path(digest).exists()), mirror, target)
        return tuple(copying.write((_from(archive, stored, here) for stored in found), way, edges))
    home = address.home(rest, catalog.names if catalog else Names())
    with Session(home.address.host, Logins(), edges.reporter) as session:
        session.ping()
        origins = _origins(mirror, found, target, home, session, edges.jobs)
        there = RegistryBlobs(session, tuple(sorted(set(origins.values()))), edges.store)
        images = tuple(_from(archive, stored, there) for stored in found)
        return tuple(copying.send(catalog, images, rest, edges, floating=mirror.floating, origins=origins))


def listed(place: str, names: Names, store: Store) -> Mapping[Digest, str]:
    """The layers that the images of a place have, each with the name of an image: what `save` may leave out.

    Args:
        names: what releases are called in registries.

    Raises:
        UsageError: there are no images.
    """
    if there := carried.at(place):
        return {Digest.from_hex(path.name): "building" for path in there.blobs.iterdir() if len(path.name) == _HEX}
    found: dict[Digest, str] = {}
    for stored in transports.read_releases(place, store, names):
        found |= _layers(stored, names)
    return found


def _layers(stored: StoredImage, names: Names, running: Chosen | None = None) -> dict[Digest, str]:
    """The layers of a release, with its image's component and name.

    Args:
        running: what of it is there; all if nothing is said. By its name, or its index, that is all of it.
    """
    images = [transports.parsed(one) for one in stored.every()]
    name = _whole(naming.split(names.read(naming.tagged(stored.name)))[0], images[0])
    index = stored.index.digest if stored.index else ""
    return {
        layer.digest: name
        for image in images
        if not running or running.has(stored.name, index, image.digest, image.config_digest, newest=False)
        for layer in image.layers
    }


def _whole(name: str, image: Image) -> str:
    component = image.labels.get(copying.COMPONENT, "")
    return f"{component}/{name}" if component else name


def _newest(sources: Iterable[str], called: Names, store: Store) -> Iterator[StoredImage]:
    """The newest release of each image and stream; one that several sources name, once."""
    found: dict[str, str] = {}
    for source in sources:
        last: dict[tuple[str, str], str] = {}
        for name in transports.releases(source, store, called):
            last[naming.series(called.read(naming.tagged(name)))] = name
        found |= {called.read(naming.tagged(name)): name for name in last.values()}
    for name in found.values():
        stored = transports.read_stored(name, store, called)
        if not stored.kept:
            raise UsageError(f"{name}: no manifest is kept there", "name images in a layout or a registry")
        yield stored


def _released(stored: StoredImage, names: Names, edges: Edges) -> Released:
    image = transports.parsed(stored)
    parts = tuple(_part(one, stored.name, edges) for one in stored.every())
    named = parts[0].named
    floating = _floating(stored, named.reference, names, edges.store)
    whole = stored.whole()
    of_index = {whole.digest: copying.seals(whole, edges)} if whole and whole.digest else {}
    return mirror_archive.described(parts, _whole(named.image, image), floating, of_index)


def _part(stored: StoredImage, place: str, edges: Edges) -> Part:
    image = transports.parsed(stored)
    layers = (Bytes(one.digest, one.size, _Opener(image, one.digest, place), place) for one in image.layers)
    return Part(copying.called(stored, image, edges), image.manifest, image.config, tuple(layers))


def _one_each(images: Iterable[Released]) -> Iterator[Released]:
    """Images of which one alone, the newest, has a floating tag."""
    taken: set[tuple[str, str]] = set()
    for one in sorted(images, key=lambda one: naming.age(one.reference), reverse=True):
        own = tuple(tag for tag in one.floating if (one.image, tag) not in taken)
        taken |= {(one.image, tag) for tag in own}
        yield replace(one, floating=own)


@dataclass(frozen=True, slots=True)
class _Opener:
    image: Image
    digest: Digest
    place: str

    def __call__(self) -> BinaryIO:
        try:
            return self.image.blobs.open(self.digest)
        except KeyError:
            raise ImageError(f"{self.place}: {self.digest} is missing", "build it again") from None


def _floating(stored: StoredImage, reference: str, names: Names, store: Store) -> tuple[str, ...]:
    """The tags that lead to an image beside its own: those of its registry; of a layout, those that `publish` would move."""
    version, revision = versions.parse_tag(naming.split(reference)[1]) or ("", 0)
    usual = versions.floating_tags(version)
    kind, _, rest = stored.name.partition(":")
    if kind != transports.REGISTRY:
        return usual if revision else ()
    known = dict(zip(names.floating(version), usual, strict=True))
    place, _, _ = registry.at(rest, store, names)
    with place.session:
        named = stored.named or Digest.of(stored.manifest)
        there = place.floating(address.parse(rest).path).get(named, ())
    return tuple(sorted(known.get(tag, tag) for tag in there))


def _had(since: Iterable[str], found: Iterable[StoredImage], names: Names, store: Store) -> dict[Digest, str]:
    had: dict[Digest, str] = {}
    for text in since:
        path = Path(text)
        if not path.is_file():
            had |= listed(text, names, store)
            continue
        known = mirror_archive.list_of(path, store)
        had |= _named(path.read_text("utf-8", "replace"), found, names, store) if known is None else known
    return had


def _named(text: str, found: Iterable[StoredImage], names: Names, store: Store) -> dict[Digest, str]:
    """What a text says that a site has: layers, or images by their digests or names, of those that there are here."""
    if lines := _LINE.findall(text):
        return {Digest(digest): name for digest, name in lines}
    had: dict[Digest, str] = {}
    running = Chosen.named(text, names)
    for image in dict.fromkeys(stored.name.rpartition(":")[0] for stored in found):
        for stored in transports.read_releases(image, store, names):
            had |= _layers(stored, names, running)
    return had


@dataclass(frozen=True, slots=True)
class _Both:
    """Blobs of an archive, and of the place where those are that were left out."""

    first: Blobs
    second: Blobs

    def open(self, digest: Digest) -> BinaryIO:
        """The bytes of a digest."""
        try:
            return self.first.open(digest)
        except KeyError:
            return self.second.open(digest)


def _from(archive: Path, stored: StoredImage, there: Blobs) -> StoredImage:
    index = stored.index
    if index:
        images = index.images
        index = replace(index, images=lambda: tuple(_from(archive, replace(x, index=None), there) for x in images()))
    return replace(stored, name=f"oci-archive:{archive}:{stored.name}", blobs=_Both(stored.blobs, there), index=index)


def _require(lacking: Sequence[Digest], mirror: Mirror, target: str) -> None:
    if lacking:
        names = sorted({mirror.without[digest] for digest in lacking} - {""})
        of = f" (of {', '.join(names[:3])}{' …' if len(names) > 3 else ''})" if names else ""
        raise ImageError(
            f"{mirror.layout.place} leaves out {len(lacking)} layers that {target} does not have{of}",
            "take in the archives before it first, or write it with --since what this site has: `imgbuild mirror list` "
            "of it there",
        )


def _origins(
    mirror: Mirror, images: Iterable[StoredImage], target: str, home: Home, session: Session, jobs: int
) -> dict[Digest, str]:  # fmt: skip
    """Where a registry has what was left out: in a repository of an image that is brought now, or was before."""
    own = dict.fromkeys(_whole(naming.split(stored.name)[0], transports.parsed(stored)) for stored in images)

    def origin(digest: Digest) -> str:
        for name in dict.fromkeys((mirror.without[digest], *own)):
            component, _, image = name.rpartition("/")
            repository = home.repository(component, image)
            try:
                if image and content.has_blob(session, repository, digest):
                    return repository
            except RegistryError as error:
                # Who may write here may not be let see everything there.
                if error.status not in (401, 403):
                    raise
        return ""

    with session.workers(jobs) as pool:
        found = dict(zip(mirror.without, pool.map(origin, mirror.without), strict=True))
    _require(tuple(digest for digest, repository in found.items() if not repository), mirror, target)
    return found


def _require_files(mirror: Mirror, building: Path) -> None:
    if not mirror.files:
        raise UsageError(
            f"{mirror.layout.place} has nothing that a site builds from", "write it with `mirror save --for-building`"
        )
    there = carried.at(str(building))
    if there and mirror.at < there.at:
        raise ImageError(
            f"{mirror.layout.place} is older than what {building} holds: of {mirror.at}, not {there.at}",
            "take in the newest archive last, or name another folder",
        )
    kept = building / "blobs/sha256"
    lacking = [d for d, _ in mirror.files.values() if d not in mirror.blobs and not (kept / d.hex).exists()]
    if lacking:
        raise ImageError(
            f"{mirror.layout.place} leaves out {len(lacking)} files that {building} does not have",
            "take in the archives before it first, with --building, or write it with --since what this site has",
        )


def _require_signed(found: Iterable[StoredImage], archive: Path, verifiers: Sequence[Verifier]) -> None:
    for stored in found:
        whole = stored.whole()
        for one in (*stored.every(), *((whole,) if whole else ())):
            beside = transports.evidence_of(one)
            faults = trusting.judge(beside, Digest.of(one.manifest), verifiers)[2] if beside else ()
            if beside is None or faults:
                because = faults[0].message if faults else "nothing lies beside it"
                raise ImageError(
                    f"{archive}: {stored.name}: {because}", "nothing was taken in: ask who made the archive"
                )
        for one in stored.every():
            labels = transports.parsed(one).labels
            says = ":".join(labels.get(f"org.opencontainers.image.{key}", "") for key in ("title", "version"))
            if says != stored.name:
                raise ImageError(
                    f"{archive}: what it calls {stored.name} says of itself that it is {says}",
                    "nothing was taken in: ask who made the archive",
                )
