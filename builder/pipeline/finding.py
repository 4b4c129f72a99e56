"""Images of a place × a wish for packages → which of them hold such a package, in which layer and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from builder import contents, transports
from builder.errors import UsageError
from builder.formats import lockfile
from builder.model.image import StoredImage
from builder.model.lock import Artifact, LockedPackage, LockedWheel
from builder.model.release import Publication, moment
from builder.pipeline import recording
from builder.tools.store import Store
from builder.transports import naming, oci_layout
from dsl.catalog import Catalog
from dsl.naming import Names

if TYPE_CHECKING:
    from builder.record import releases
    from builder.record.database import Record

_WISH = re.compile(
    r"\s*(?P<name>[a-z0-9][a-z0-9+._/-]+)\s*(?:\(\s*(?P<relation><<|<=|=|>=|>>)\s*(?P<version>[A-Za-z0-9.+:~!-]+)\s*\))?\s*"
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SHORT = re.compile(r"[0-9a-f]{12,64}")
_REFERENCE = re.compile(r"[^\s\"',=]+")


@dataclass(frozen=True, slots=True)
class Wish:
    """Packages by name and version, as a Depends field writes them (deb-control(5)): ``openssl (<< 3.5.9)``.

    Attributes:
        name: of binary packages, or of the source package that they are made from; of wheels, with their environment
            if one is meant: ``web/flask``.
        relation: ``<<``, ``<=``, ``=``, ``>=``, ``>>``; empty for any version.
    """

    name: str
    relation: str = ""
    version: str = ""

    @classmethod
    def parse(cls, text: str) -> Wish:
        """A wish from the command line.

        Raises:
            UsageError: it is none.
        """
        found = _WISH.fullmatch(text)
        if not found:
            raise UsageError(
                f"{text!r} names no package", "say a name, or 'openssl (<< 3.5.9)' with <<, <=, =, >= or >>"
            )
        return cls(found["name"], found["relation"] or "", found["version"] or "")

    def fits(self, package: Artifact) -> bool:
        """Whether a package is meant; versions are those of the source where the source's name is given."""
        if isinstance(package, LockedWheel):
            return self.name in (package.name, package.title) and self._fits_wheel(package.version)
        if package.name == self.name:
            return self._fits(package.version)
        return package.source_package == self.name and self._fits(package.source_version)

    def _fits_wheel(self, version: str) -> bool:
        from packaging.version import InvalidVersion, Version

        try:
            has, wanted = Version(version), Version(self.version or "0")
        except InvalidVersion:
            return not self.relation
        return self._holds((has > wanted) - (has < wanted))

    def _fits(self, version: str) -> bool:
        from debian.debian_support import version_compare

        return not self.relation or self._holds(version_compare(version, self.version))

    def _holds(self, order: int) -> bool:
        return (
            not self.relation
            or {"<<": order < 0, "<=": order <= 0, "=": order == 0, ">=": order >= 0, ">>": order > 0}[self.relation]
        )


@dataclass(frozen=True, slots=True)
class Found:
    """A package in an image.

    Attributes:
        image: what it is called there.
        digest: of the image.
        layer: the digest of the layer that holds it; empty if none says so.
        definition: whose lock it is in.
        since: the first release in a row, up to this one, that holds such a package.
        superseded: the newest release of the image; empty if it is this one.
        time, since_time: when this release and that one were made, in seconds since 1970; 0 if that is not known.
        published: where it lies, as far as the record knows.
    """

    image: str
    digest: str
    layer: str
    definition: str
    package: Artifact
    since: str
    superseded: str
    time: int = 0
    since_time: int = 0
    published: tuple[Publication, ...] = ()

    def data(self) -> dict[str, Any]:
        """For machines."""
        package = self.package
        source = (
            (package.source_package, package.source_version) if isinstance(package, LockedPackage) else (None, None)
        )
        return {
            "image": self.image,
            "digest": self.digest or None,
            "released": moment(self.time) or None,
            "layer": self.layer or None,
            "definition": self.definition,
            "package": self.package.title,
            "version": self.package.version,
            "source": source[0],
            "source_version": source[1],
            "why": self.package.why,
            "since": self.since,
            "since_released": moment(self.since_time) or None,
            "superseded_by": self.superseded or None,
            "published": [
                {"repository": one.repository, "since": moment(one.time) or None, "tags": list(one.floating)}
                for one in self.published
            ],
        }


def recorded(wish: Wish, catalog: Catalog, record: Record, chosen: Chosen) -> Iterator[Found]:
    """Where packages are in the releases that the record knows, image by image, oldest release first."""
    from builder.record import publications, releases

    name = recording.workspace(catalog)
    fits = cache(wish.fits)
    with record.reading() as connection:
        spans: dict[int, list[releases.Span]] = {}
        for span in releases.holding(connection, name, (wish.name,)):
            if fits(span.held.artifact):
                spans.setdefault(span.image, []).append(span)
        for image in releases.images(connection, name):
            mine = sorted(spans.get(image.number, ()), key=lambda span: span.held)
            numbers = range(image.newest if chosen.how == "current" else 0, image.newest + 1)
            since = {at: _since(mine, at) for at in numbers if any(span.first <= at <= span.last for span in mine)}
            if not since:
                continue
            needed = {*since, *since.values(), image.newest}
            known = releases.some(connection, image, needed if chosen.how == "current" else None)
            layers = releases.layers(connection, image)
            out = publications.since(connection, image.number, min(since))
            for at, first in since.items():
                one, newest = known[at], known[image.newest]
                # Of several architectures what runs may be named by their index, which is what was published.
                digests = (one.digest, one.config, *(x.digest for x in out.get(at, ())))
                if not chosen.has(one.reference, *digests, newest=at == image.newest):
                    continue
                for span in mine:
                    if span.first <= at <= span.last:
                        laid = layers.get((span.held.definition, span.held.layer), ())
                        layer = next((digest for begin, end, digest in laid if begin <= at <= end), "")
                        yield Found(
                            one.reference, one.digest, layer, span.held.definition, span.held.artifact,
                            known[first].reference, "" if one is newest else newest.reference, one.time,
                            known[first].time, out.get(at, ()),
                        )  # fmt: skip


def _since(spans: Sequence[releases.Span], number: int) -> int:
    """The first release in a row, up to one, in which there is one of some packages."""
    begin = min(span.first for span in spans if span.first <= number <= span.last)
    while more := [span.first for span in spans if span.first < begin <= span.last + 1]:
        begin = min(more)
    return begin


def find(wish: Wish, places: Sequence[str], store: Store, chosen: Chosen, names: Names) -> Iterator[Found]:
    """Where packages are, image by image, oldest release first.

    Args:
        names: what releases are called in registries.
        places: as images are named: ``oci:out``; names in ./out, or an empty one for all that is there.

    Raises:
        UsageError: a place has no images.
        ImageError: one is damaged, or has no lock beside it.
    """
    for releases in series(places, store, names).values():
        since = ""
        for stored in releases:
            held = tuple(_held(wish, stored))
            since = (since or stored.name) if held else ""
            image = transports.parsed(stored)
            if not held or not chosen.has(stored.name, *_digests(stored, chosen), newest=stored is releases[-1]):
                continue
            layers = {name: layer.digest for layer in contents.layers(image) for name, _ in layer.packages}
            newer = "" if stored is releases[-1] else releases[-1].name
            for definition, package in held:
                layer = layers.get(package.title, "")
                yield Found(stored.name, image.digest, layer, definition, package, since, newer)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which releases count: all, the newest of each image, or those that a text names.

    Attributes:
        how: ``all``, ``current`` or ``named``.
        digests: of manifests or configs, whole or their first twelve digits and more.
        references: names with their tags, as they are without a registry.
    """

    how: str
    digests: frozenset[str] = frozenset()
    references: frozenset[str] = frozenset()
    _lengths: frozenset[int] = frozenset()

    @classmethod
    def named(cls, text: str, names: Names) -> Chosen:
        """Those that ``docker ps``, ``podman ps`` or ``kubectl get pods`` print.

        Args:
            names: what releases are called in the registries that they were pulled from.
        """
        whole = {found.removeprefix("sha256:") for found in _DIGEST.findall(text)}
        words = set(_REFERENCE.findall(text))
        digests = frozenset(whole | {word for word in words if _SHORT.fullmatch(word)})
        references = {word.partition("@")[0].rpartition("/")[2] for word in words}
        references |= {names.read(word) for word in words}
        return cls("named", digests, frozenset(references), frozenset(map(len, digests)))

    def has(self, name: str, *digests: str, newest: bool) -> bool:
        """Whether a release is one of them."""
        if self.how != "named":
            return newest or self.how == "all"
        hexes = [digest.removeprefix("sha256:") for digest in digests if digest]
        # A cluster names hundreds of digests, a record hundreds of thousands of releases.
        return naming.tagged(name) in self.references or any(
            digest[:length] in self.digests for digest in hexes for length in self._lengths
        )


def series(places: Sequence[str], store: Store, names: Names) -> Mapping[tuple[str, str], tuple[StoredImage, ...]]:
    """The releases of some places, by image and stream, each oldest first.

    Raises:
        UsageError: a place has no images.
        ImageError: one is damaged.
    """
    found: dict[tuple[str, str], list[StoredImage]] = {}
    for place in places:
        for stored in transports.read_releases(place, store, names):
            found.setdefault(naming.series(names.read(naming.tagged(stored.name))), []).append(stored)
    return {
        name: tuple(sorted(all_, key=lambda one: naming.age(names.read(naming.tagged(one.name)))))
        for name, all_ in sorted(found.items())
    }


def _digests(stored: StoredImage, chosen: Chosen) -> Iterator[str]:
    """What something that runs may name a release by, whatever machine it runs on."""
    if chosen.how == "named":
        for one in stored.every():
            image = transports.parsed(one)
            yield from (image.digest, image.config_digest, *((one.index.digest,) if one.index else ()))


def _held(wish: Wish, stored: StoredImage) -> Iterable[tuple[str, Artifact]]:
    beside = stored.beside(oci_layout.LOCK)
    if beside is None:
        # An image of others, or from an engine: what its layers say of themselves, without sources and reasons.
        for layer in contents.layers(transports.parsed(stored)):
            for name, version in layer.packages:
                environment, slash, wheel = name.partition("/")
                package: Artifact = (
                    LockedWheel(environment, wheel, version, "", "", 0, "", "", "")
                    if slash
                    else LockedPackage(name, version, "", name, version, "", "", "", 0, "", "")
                )
                if wish.fits(package):
                    yield layer.definition, package
        return
    for lock in lockfile.beside(beside, stored.name):
        held: tuple[Artifact, ...] = (*lock.packages, *lock.wheels)
        yield from ((lock.name, package) for package in held if wish.fits(package))
