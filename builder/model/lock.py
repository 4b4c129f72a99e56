"""What is locked: the exact packages that each definition of a chain adds."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace

from builder.model.digest import CacheKey, Digest

RULES = 4
"""The number of the rules by which layers are made; part of every lock and cache key."""


@dataclass(frozen=True, slots=True, order=True)
class LockedPackage:
    """One package; its sha256 is its identity, suite and path are hints.

    Attributes:
        source: the name of the definition's source it came from (``debian-security``).
        suite: the suite it was found in (``trixie-security``).
        path: where it lies below the source's address (``pool/main/…``).
        size: of the .deb, in bytes.
        sha256: of the .deb, 64 hexadecimal digits.
        why: ``asked for``, or the package that needs it.
    """

    name: str
    version: str
    architecture: str
    source_package: str
    source_version: str
    source: str
    suite: str
    path: str
    size: int
    sha256: str
    why: str

    @property
    def title(self) -> str:
        """What it is called among all that an image holds."""
        return self.name


@dataclass(frozen=True, slots=True, order=True)
class LockedEnvironment:
    """A Python virtual environment, as far as one definition adds to it.

    Attributes:
        python: the interpreter's minor version: ``3.13``.
        bins: how many layers those wheels share that do not stand alone.
    """

    name: str
    python: str
    bins: int


@dataclass(frozen=True, slots=True, order=True)
class LockedWheel:
    """One wheel; its sha256 is its identity, its address is a hint.

    Attributes:
        name: normalised (PEP 503).
        filename: as indexes have it.
        url: its public address; empty for one of a folder, or if nobody but a site's own index names one.
        group: its layer: its own name if it stands alone, or ``bin-03``.
        why: ``asked for``, or the package that needs it.
    """

    environment: str
    name: str
    version: str
    filename: str
    url: str
    size: int
    sha256: str
    group: str
    why: str

    @property
    def title(self) -> str:
        """What it is called among all that an image holds: no package of Debian has a slash in its name."""
        return f"{self.environment}/{self.name}"


Artifact = LockedPackage | LockedWheel
"""What is fetched by its sha256."""


@dataclass(frozen=True, slots=True, order=True)
class LockedUser:
    """A user with the number it keeps, as a line of /etc/passwd."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    comment: str = ""


@dataclass(frozen=True, slots=True, order=True)
class LockedGroup:
    """A group with the number it keeps."""

    name: str
    gid: int


@dataclass(frozen=True, slots=True, order=True)
class LockedSource:
    """How a suite stood when it was read: its Release file's Date and Valid-Until (RFC 3339), "" if it has none."""

    name: str
    suite: str
    date: str
    valid_until: str


@dataclass(frozen=True, slots=True, order=True)
class LockedAnswer:
    """The answer to a debconf question, as debconf-set-selections(1) takes it."""

    package: str
    question: str
    type: str
    value: str


@dataclass(frozen=True, slots=True, order=True)
class LockedText:
    """The version of a layer definition, and the digest of the text that it was given to."""

    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class Grouping:
    """How the packages of a definition fall into layers, by source package.

    Attributes:
        bins: how many layers those share that do not stand alone.
        alone: source packages with a layer of their own, sorted.
    """

    bins: int
    alone: tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class BuiltLayer:
    """What a layer turned out to be, once built.

    Attributes:
        newest: of a package layer: the newest time among its packages, in seconds since 1970.
    """

    cache_key: CacheKey
    digest: Digest
    diff_id: Digest
    size: int
    newest: int


@dataclass(frozen=True, slots=True)
class Lock:
    """What one definition adds for one architecture.

    Attributes:
        name: of the definition.
        architecture: Debian's name of it.
        fingerprint: hash of what the definition gives to resolving.
        stands_on: digest of the lock below; None at the bottom.
        answers: to debconf questions.
        compiler: at the bottom of a chain, the packages that compile byte code for all of it.
        clock: there too, the package whose library shows scripts the time of the rules (libfaketime); empty if the
            distribution has none.
        built: sorted by cache key; not part of the lock's digest.
        text: of one of ``layers/``; not part of the lock's digest either.
    """

    name: str
    architecture: str
    rules: int
    fingerprint: str
    stands_on: Digest | None
    sources: tuple[LockedSource, ...]
    packages: tuple[LockedPackage, ...]
    users: tuple[LockedUser, ...]
    groups: tuple[LockedGroup, ...]
    grouping: Grouping
    compiler: tuple[LockedPackage, ...] = ()
    clock: tuple[LockedPackage, ...] = ()
    answers: tuple[LockedAnswer, ...] = ()
    environments: tuple[LockedEnvironment, ...] = ()
    wheels: tuple[LockedWheel, ...] = ()
    built: tuple[BuiltLayer, ...] = ()
    text: LockedText | None = None

    def needs(self, packages: frozenset[str]) -> bool:
        """Whether one of some packages, by sha256, is its own, its compiler's or its clock's."""
        return any(package.sha256 in packages for package in (*self.packages, *self.compiler, *self.clock))

    @property
    def held(self) -> tuple[Artifact, ...]:
        """What is in images because of it."""
        return (*self.packages, *self.wheels)

    def artifacts(self) -> tuple[Artifact, ...]:
        """All that making its layers may read."""
        return (*self.packages, *self.compiler, *self.clock, *self.wheels)

    def digest(self) -> Digest:
        """What was resolved, here and below, hashed: packages, ids, groups, answers, rules.

        What was asked for, dates, places and built digests do not count.
        """
        value = {
            "name": self.name,
            "architecture": self.architecture,
            "rules": self.rules,
            "stands_on": self.stands_on,
            "packages": [[p.name, p.version, p.architecture, p.sha256] for p in sorted(self.packages)],
            "users": [astuple(x) for x in self.users],
            "groups": [astuple(x) for x in self.groups],
            "grouping": [self.grouping.bins, self.grouping.alone],
            "answers": [astuple(x) for x in self.answers],
            "compiler": sorted(p.sha256 for p in self.compiler),
            "clock": sorted(p.sha256 for p in self.clock),
        }
        if self.environments:
            value["environments"] = [astuple(x) for x in self.environments]
            value["wheels"] = [[w.environment, w.name, w.version, w.sha256, w.group] for w in sorted(self.wheels)]
        return Digest("sha256:" + CacheKey.of("lock", value))

    def with_built(self, built: tuple[BuiltLayer, ...]) -> Lock:
        """The same lock, knowing what its layers turned out to be."""
        return replace(self, built=tuple(sorted(set(built))))


@dataclass(frozen=True, slots=True, order=True)
class Revision:
    """Which revision of a version an image is at, and the content that it means.

    Attributes:
        architecture: of that content, Debian's name of it; empty where only one is known.
    """

    image: str
    version: str
    revision: int
    content_key: CacheKey
    architecture: str = ""

    def means(self, image: str, architecture: str) -> bool:
        """Whether it speaks of an image for an architecture."""
        return self.image == image and self.architecture in ("", architecture)


@dataclass(frozen=True, slots=True)
class LockFile:
    """One lock.yaml: a lock for each definition of its folder, and a component's revisions."""

    locks: tuple[Lock, ...] = ()
    revisions: tuple[Revision, ...] = ()

    def get(self, name: str, architecture: str) -> Lock | None:
        """The lock of a definition, if there is one."""
        return next((x for x in self.locks if (x.name, x.architecture) == (name, architecture)), None)

    @property
    def usual(self) -> str:
        """The architecture that rows of revisions do not say: the first there is. So nothing is said where it is the only one."""
        return min((lock.architecture for lock in self.locks), default="")

    def revision(self, image: str, architecture: str) -> Revision | None:
        """The revision of an image that holds for an architecture, if there is one."""
        return next((x for x in self.revisions if x.means(image, architecture)), None)
