"""Images → a registry: first all their blobs, each once for all of them, then manifests, what refers to them, tags.

Whoever pulls by a tag finds all that it names: a run that is killed leaves blobs without a name, and the next one finds
these there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock as Mutex
from typing import BinaryIO, TypeVar

from builder.errors import ImageError, IntegrityError, RegistryError
from builder.formats import oci
from builder.model.digest import Digest
from builder.registry import content, uploads
from builder.registry.content import Manifest
from builder.registry.session import Session
from builder.registry.uploads import Bytes
from builder.report import Reporter
from builder.transports import attaching, naming
from builder.transports.parcels import Parcel
from builder.transports.sealing import Seals
from builder.trust.cosign import Signer
from dsl.errors import ImgbuildError

_VERSION = "org.opencontainers.image.version"
In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of an image.

    Attributes:
        reference: ``registry.example/openstack/nova-api:31.0.0-r4``.
        status: ``published``, ``there`` or ``failed``.
        layers_sent, layers_mounted, layers_there: how its layers came there; one that several images have is sent
            with the first of them.
        bytes: sent, of layers and config.
        tags: that have moved to it, its own included.
        attached: what refers to it since now.
        signed: ``new``, ``there``, or nothing if nobody signs.
        attested: what is attested of it since now.
    """

    reference: str
    digest: Digest
    status: str
    layers_sent: int = 0
    layers_mounted: int = 0
    layers_there: int = 0
    bytes: int = 0
    tags: tuple[str, ...] = ()
    attached: tuple[str, ...] = ()
    signed: str = ""
    attested: tuple[str, ...] = ()
    error: ImgbuildError | None = None


@dataclass(frozen=True, slots=True)
class _State:
    """What a registry has of an image.

    Attributes:
        there: the image itself, under its tag.
        known: blobs that its repository has.
    """

    there: bool
    known: frozenset[Digest]


@dataclass(frozen=True, slots=True)
class _Delivered:
    """How one blob came into repositories: ``sent``, ``mounted`` or ``there``."""

    how: Mapping[str, str]


def send(
    parcels: Sequence[Parcel], session: Session, reporter: Reporter, jobs: int = 4, *, dry_run: bool = False,
    signer: Signer | None = None, origins: Mapping[Digest, str] | None = None,
) -> tuple[Sent, ...]:  # fmt: skip
    """Send images; one that fails keeps none of the others from coming.

    Args:
        jobs: how much at once.
        dry_run: only say what would be sent.
        signer: who signs them, and attests what lies beside them, before any tag names them.
        origins: repositories that have a blob, where that is known beforehand.
    """
    shipment = _Shipment(session, reporter, signer, dry_run=dry_run)
    with session.workers(jobs) as pool:
        return shipment.send(parcels, pool, dict(origins or {}))


class _Shipment:
    def __init__(self, session: Session, reporter: Reporter, signer: Signer | None, *, dry_run: bool) -> None:
        self._session, self._reporter, self._signer, self._dry = session, reporter, signer, dry_run
        self._mutex = Mutex()
        self._done = self._total = 0

    def send(
        self, parcels: Sequence[Parcel], pool: ThreadPoolExecutor, origins: dict[Digest, str]
    ) -> tuple[Sent, ...]:  # fmt: skip
        states = _each(pool, self._look, parcels)
        wanted: dict[Digest, dict[str, Bytes]] = {}
        for parcel, state in zip(parcels, states, strict=True):
            if isinstance(state, ImgbuildError):
                continue
            for blob in _blobs(parcel):
                if blob.digest in state.known:
                    origins.setdefault(blob.digest, parcel.repository)
                else:
                    wanted.setdefault(blob.digest, {}).setdefault(parcel.repository, blob)
        # The largest first: the last one sent is what all others wait for.
        ordered = sorted(wanted, key=lambda digest: -next(iter(wanted[digest].values())).size)
        self._total = sum(next(iter(wanted[digest].values())).size for digest in ordered)
        if ordered and not self._dry:
            self._reporter.step(f"sending what {self._session.host} lacks of {len(ordered)} blobs")
        done = _each(pool, lambda digest: self._deliver(wanted[digest], origins.get(digest)), ordered)
        delivered = dict(zip(ordered, done, strict=True))
        pairs = list(zip(parcels, states, strict=True))
        finished = _each(pool, lambda pair: self._finish(pair[0], pair[1], delivered), pairs)
        return tuple(
            _failed(self._session, parcel, found) if isinstance(found, ImgbuildError) else found
            for parcel, found in zip(parcels, finished, strict=True)
        )

    def _look(self, parcel: Parcel) -> _State:
        """What the registry has of an image; of what came before it, too, with which it shares most layers."""
        own = frozenset(blob.digest for blob in _blobs(parcel))
        found = content.digest_of(self._session, parcel.repository, parcel.tag)
        if found == parcel.digest:
            return _State(True, own)
        self._require_own(parcel, found)
        for reference in (*((found,) if found else ()), *reversed(parcel.floating)):
            before = content.manifest(self._session, parcel.repository, reference)
            if before:
                return _State(False, own & self._blobs_of(parcel.repository, before))
        return _State(False, frozenset())

    def _blobs_of(self, repository: str, found: Manifest) -> frozenset[Digest]:
        """The blobs that a manifest leads to, or the manifests of an index."""
        if found.media_type != oci.INDEX:
            return _named(found.data)
        inner = (content.manifest(self._session, repository, digest) for digest in oci.listed(found.data))
        return frozenset().union(*(_named(one.data) for one in inner if one))

    def _require_own(self, parcel: Parcel, found: Digest | None) -> None:
        """What a release is for an architecture never changes; it may come to be for one more."""
        if found is None or found == parcel.digest or not parcel.fixed:
            return
        there = content.manifest(self._session, parcel.repository, found)
        known = oci.listed(there.data) if there and there.media_type == oci.INDEX else (found,)
        if not known or not set(known) <= {one.image.digest for one in parcel.every}:
            raise _other(self._session, parcel, found)

    def _deliver(self, wanted: Mapping[str, Bytes], origin: str | None) -> _Delivered:
        """See that some repositories have a blob, which is sent to one of them at most."""
        how = {}
        for repository in sorted(wanted):
            how[repository] = self._deliver_to(repository, wanted[repository], origin)
            origin = repository
        blob = next(iter(wanted.values()))
        if "sent" not in how.values():
            self._tell(blob.size)
        return _Delivered(how)

    def _deliver_to(self, repository: str, blob: Bytes, origin: str | None) -> str:
        location = ""
        if origin and origin != repository:
            if self._dry:
                return "mounted"
            try:
                location = uploads.mount(self._session, repository, blob.digest, origin)
                if not location:
                    return "mounted"
            except RegistryError as error:
                # Who may not read the other repository may still write to this one.
                if error.status is None:
                    raise
        if content.has_blob(self._session, repository, blob.digest):
            return "there"
        if not self._dry:
            uploads.send(self._session, repository, blob, self._tell, location)
        return "sent"

    def _finish(
        self, parcel: Parcel, state: _State | ImgbuildError, delivered: Mapping[Digest, _Delivered | ImgbuildError]
    ) -> Sent:
        """Name what has come: by its digest first, by tags last."""
        if isinstance(state, ImgbuildError):
            raise state
        counts = dict.fromkeys(("sent", "mounted", "there"), 0)
        layers, size = {layer.digest for one in parcel.every for layer in one.image.layers}, 0
        for blob in _blobs(parcel):
            found = delivered.get(blob.digest)
            if isinstance(found, ImgbuildError):
                raise found
            how = found.how.get(parcel.repository, "there") if found else "there"
            counts[how] += blob.digest in layers
            size += blob.size if how == "sent" else 0
        sent = Sent(
            _reference(self._session, parcel), parcel.digest, "there" if state.there else "published",
            counts["sent"], counts["mounted"], counts["there"], size,
        )  # fmt: skip
        attached: dict[str, None] = {}
        attested: dict[str, None] = {}
        signed: set[str] = set()
        for one in parcel.every:
            if not self._dry and not state.there:
                self._write(one)
            seals = Seals(self._session, one.repository, one.image.digest, self._signer)
            found_ = attaching.attach(self._session, one, seals, new=not state.there, dry_run=self._dry)
            attached |= dict.fromkeys(found_.new)
            attested |= dict.fromkeys(seals.attest(found_.told, one.attestations, dry_run=self._dry))
            signed.add(seals.sign(one.signatures, dry_run=self._dry))
        if parcel.others:
            if not self._dry and not state.there:
                self._tag(parcel, parcel.digest)
            seals = Seals(self._session, parcel.repository, parcel.digest, self._signer)
            signed.add(seals.sign(parcel.index_signatures, dry_run=self._dry))
        tags: list[str] = []
        if not state.there:
            tags.append(parcel.tag)
            if not self._dry:
                self._require_unnamed(parcel)
                self._tag(parcel, parcel.tag)
        moved = (*tags, *self._float(parcel))
        # "new" if any is.
        said = next((word for word in ("new", "there") if word in signed), "")
        return replace(sent, tags=moved, attached=tuple(attached), signed=said, attested=tuple(attested))

    def _write(self, parcel: Parcel) -> None:
        image = parcel.image
        try:
            uploads.put_manifest(self._session, parcel.repository, image.digest, image.manifest, parcel.media_type)
        except RegistryError as error:
            if not uploads.MISSING & set(error.codes):
                raise
            # It has lost what an image before had, or a mount was for show: now nothing is believed.
            self._reporter.detail(f"{_reference(self._session, parcel)}: {error.message}; each blob is looked for")
            for blob in _blobs(replace(parcel, others=())):
                if not content.has_blob(self._session, parcel.repository, blob.digest):
                    uploads.send(self._session, parcel.repository, blob)
            uploads.put_manifest(self._session, parcel.repository, image.digest, image.manifest, parcel.media_type)

    def _require_unnamed(self, parcel: Parcel) -> None:
        """Somebody else may have published meanwhile."""
        found = content.digest_of(self._session, parcel.repository, parcel.tag) if parcel.fixed else None
        self._require_own(parcel, found)

    def _tag(self, parcel: Parcel, tag: str) -> None:
        uploads.put_manifest(self._session, parcel.repository, tag, parcel.named, parcel.named_type)

    def _float(self, parcel: Parcel) -> tuple[str, ...]:
        """Move tags, forwards only, but for those of a release that was withdrawn."""
        moved = []
        releases: dict[Digest, str] = {}
        for tag in parcel.floating:
            found = content.digest_of(self._session, parcel.repository, tag)
            if found == parcel.digest:
                continue
            if found:
                if found not in releases:
                    releases[found] = self._release(parcel.repository, found)
                name = f"{self._session.host}/{parcel.repository}:{tag}"
                if not releases[found]:
                    self._reporter.warn(f"{name} stays where it is: {found} there does not say which release it is")
                    continue
                newer = naming.age(f"x:{releases[found]}") > naming.age(f"x:{parcel.release}")
                if newer and releases[found] not in parcel.withdrawn:
                    self._reporter.detail(f"{name} stays at {releases[found]}, which is newer than {parcel.tag}")
                    continue
            if not self._dry:
                self._tag(parcel, tag)
            moved.append(tag)
        return tuple(moved)

    def _release(self, repository: str, digest: Digest) -> str:
        """Which release an image says that it is; empty if it does not."""
        try:
            found = content.manifest(self._session, repository, digest)
            if found and found.media_type == oci.INDEX:
                # All are of one release.
                found = content.manifest(self._session, repository, oci.listed(found.data)[0])
            config = oci.config_digest(found.data) if found else None
            data = content.document(self._session, repository, config) if config else None
            labels = ((oci.parse(data) if data else {}).get("config") or {}).get("Labels") or {}
            return str(labels.get(_VERSION) or "")
        except (ValueError, AttributeError, TypeError, IndexError, IntegrityError):
            return ""

    def _tell(self, count: int) -> None:
        with self._mutex:
            self._done += count
            if not self._dry and count:
                self._reporter.progress("upload", self._done, self._total, "B")


def _blobs(parcel: Parcel) -> tuple[Bytes, ...]:
    """What an image's manifest names, and those of other architectures, each once."""
    found: dict[Digest, Bytes] = {}
    for one in parcel.every:
        config = one.image.config
        found[one.image.config_digest] = Bytes.of(config, one.place)
        for layer in one.image.layers:
            found.setdefault(layer.digest, Bytes(layer.digest, layer.size, _opener(one, layer.digest), one.place))
    return tuple(found.values())


def _opener(parcel: Parcel, digest: Digest) -> Callable[[], BinaryIO]:
    def opened() -> BinaryIO:
        try:
            return parcel.image.blobs.open(digest)
        except KeyError:
            raise ImageError(f"{parcel.place}: {digest} is missing", "build it again") from None

    return opened


def _named(manifest: bytes) -> frozenset[Digest]:
    """The blobs that a manifest names, as far as it can be read."""
    try:
        data = oci.parse(manifest)
        return frozenset(Digest.parse(one["digest"]) for one in (data["config"], *data["layers"]))
    except (ValueError, KeyError, TypeError):
        return frozenset()


def _other(session: Session, parcel: Parcel, found: Digest) -> RegistryError:
    return RegistryError(
        f"{_reference(session, parcel)} is there with other content: {found} there, {parcel.digest} here",
        hint="a release never gets another content; `imgbuild diff` of both says what differs, `imgbuild lock` gives the "
        "next revision to what has changed; of another architecture `imgbuild copy` brings it into the layout first",
    )  # fmt: skip


def _failed(session: Session, parcel: Parcel, error: ImgbuildError) -> Sent:
    return Sent(_reference(session, parcel), parcel.digest, "failed", error=error)


def _reference(session: Session, parcel: Parcel) -> str:
    return f"{session.host}/{parcel.repository}:{parcel.tag}"


def _each(pool: ThreadPoolExecutor, function: Callable[[In], Out], items: Iterable[In]) -> list[Out | ImgbuildError]:
    """What a function gives for each item, or its error."""

    def one(item: In) -> Out | ImgbuildError:
        try:
            return function(item)
        except ImgbuildError as error:
            return error

    return list(pool.map(one, items))
