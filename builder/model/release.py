"""What was released: versions of images, what they hold, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from builder.model.lock import Artifact, LockedPackage, LockedWheel
from dsl import versions


def moment(seconds: int) -> str:
    """A time as RFC 3339 has it; empty if it is not known."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z") if seconds else ""


@dataclass(frozen=True, slots=True, order=True)
class Held:
    """A package as an image holds it.

    Attributes:
        definition: whose lock has it.
        layer: the group of packages that a fix of it replaces.
        name: of a binary package; of a wheel with its environment: ``web/flask``.
        source: the source package; empty for a wheel.
        why: ``asked for``, or what needs it.
    """

    definition: str
    layer: str
    name: str
    version: str
    source: str
    source_version: str
    why: str

    @property
    def artifact(self) -> Artifact:
        """As a lock would say it, without where it comes from."""
        environment, slash, wheel = self.name.partition("/")
        if slash:
            return LockedWheel(environment, wheel, self.version, "", "", 0, "", self.layer, self.why)
        return LockedPackage(
            self.name, self.version, "", self.source, self.source_version, "", "", "", 0, "", self.why
        )  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class ReleasedLayer:
    """A layer of packages, and what it turned out to be.

    Attributes:
        name: the group of packages in its definition.
        size: compressed, in bytes.
    """

    definition: str
    name: str
    key: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Release:
    """One version of one image.

    Attributes:
        component: with its stream: ``nova@bookworm``.
        version: with the site's name, as in tags.
        lock: the digest of its lock.
        commit: the first one of git's that has it; empty if none is known.
        time: of that commit, or else when it was built or sent here, in seconds since 1970; 0 if neither is known.
        digest, config: of manifest and config; empty as long as nobody has built it.
        held: what it holds, by the definitions of its chain.
    """

    component: str
    image: str
    version: str
    revision: int
    content_key: str
    lock: str
    commit: str = ""
    time: int = 0
    digest: str = ""
    config: str = ""
    held: tuple[tuple[Held, ...], ...] = ()
    layers: tuple[ReleasedLayer, ...] = ()

    @property
    def reference(self) -> str:
        """``nova-api:31.0.0-r3``."""
        return f"{self.image}:{versions.tag(self.version, self.revision)}"


@dataclass(frozen=True, slots=True)
class Publication:
    """A release in a registry.

    Attributes:
        component: with its stream.
        version: as in tags.
        repository: with its registry: ``registry.example:5000/openstack/nova-api``.
        digest: that its name leads to: of its manifest, or of the index of several architectures.
        floating: the tags beside its own that name it there.
        time: when it was published, in seconds since 1970; 0 if that is not known.
    """

    component: str
    image: str
    version: str
    revision: int
    repository: str
    digest: str
    floating: tuple[str, ...] = ()
    time: int = 0
