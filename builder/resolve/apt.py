"""A private apt: its own sources, keyrings, lists and status; apt's solver decides, nothing of the host leaks in."""

from __future__ import annotations

import email.utils
import io
import re
import shutil
import urllib.request
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path
from urllib.parse import unquote

from builder.errors import ResolveError, SourceError, Unsatisfiable
from builder.formats import deb
from builder.formats.relations import Related
from builder.model.digest import CacheKey, Digest
from builder.model.lock import LockedPackage, LockedSource
from builder.resolve import apt_config, apt_errors, apt_policy, indexes, stanzas
from builder.resolve.apt_policy import Pin, Policy
from builder.resolve.facts import Facts, PackageSource
from builder.resolve.indexes import Index
from builder.tools import process
from builder.tools.store import Store

WISH = "imgbuild-wish"
_URI = re.compile(r"^'([^']+)' (\S+) (\d+)")
_INDEX_FIELDS = frozenset({"Filename", "Size", "SHA256", "MD5sum", "SHA1", "Status", "Description-md5", "Tag"})
"""What an index adds to a package's control fields, and what only an installed package has."""

_RELATIONS = frozenset(
    {"Pre-Depends", "Depends", "Recommends", "Suggests", "Enhances", "Conflicts", "Breaks", "Replaces"}
)
"""Fields of a version that do not speak for another one."""


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """Where a package lies now: a path below the address of a source, with ``%`` written as addresses do."""

    source: str
    suite: str
    path: str


class AptRoot:
    """An apt root for some sources and an architecture, kept in the store between runs."""

    def __init__(self, store: Store, sources: tuple[PackageSource, ...], architecture: str, netrc: Path | None) -> None:
        self._store, self._sources, self._architecture = store, sources, architecture
        told = [
            [
                s.name,
                s.mirrored,
                s.suites,
                s.components,
                str(s.keyring),
                s.fingerprints,
                s.priority,
                str(s.debs),
                # What is carried in takes the place of what was before, and is of another time.
                "" if s.plain else s.valid_at,
            ]
            for s in sources
        ]
        self.name = CacheKey.of("apt", [told, architecture])[:32]
        self._root = store.folder("apt") / self.name
        self._netrc = netrc
        self._lookup: dict[str, list[tuple[Index, int]]] | None = None
        self._read: dict[Path, tuple[int, ...]] = {}
        self._listed: tuple[tuple[tuple[int, ...], ...], tuple[Index, ...]] | None = None
        # What many definitions stand on is looked at once.
        self._related: dict[str, Related] = {}

    def update(self, seen: Iterable[LockedSource] = ()) -> None:
        """Bring the indexes up to date and check their signatures.

        Args:
            seen: how suites stood when they were locked: none may be older now.

        Raises:
            SourceError: a source is unsigned, expired, tampered with, replayed or cannot be reached.
        """
        with self._exclusive():
            self._lookup = None
            self._write()
            result = self._apt("apt-get", "update", check=False)
            if result.code != 0:
                # apt would go on from there, and some servers let it, though theirs is another one by now.
                for path in (self._root / "state/lists/partial").glob("*Release"):
                    path.unlink()
            if error := apt_errors.update_error(result.errors, self._sources, self._netrc):
                raise error
            if result.code != 0:
                raise apt_errors.unknown_error(result.errors)
            self._require_architecture()
            self._require_in_force()
        now = {(source.name, source.suite): source.date for source in self.dates()}
        for old in seen:
            date = now.get((old.name, old.suite))
            if date and date < old.date:
                raise SourceError(
                    f"source {old.name}: {old.suite} is of {date}, but a lock has seen it as of {old.date}",
                    "the mirror lags behind, or somebody replays an old state: wait, or use another mirror",
                )

    def dates(self) -> tuple[LockedSource, ...]:
        """How the suites stood when they were read."""
        found = []
        for source in self._sources:
            for suite in source.suites:
                if fields := self._release(source, suite):
                    date, until = _rfc3339(fields.get("Date", "")), _rfc3339(fields.get("Valid-Until", ""))
                    found.append(LockedSource(source.name, suite, date, until))
        return tuple(sorted(found))

    def files(self) -> Iterator[tuple[str, str, Path]]:
        """What was read of the sources: a source's name, a path below its address, the file."""
        lists = self._root / "state/lists"
        for source in self._sources:
            for suite in source.suites if source.mirrored else ():
                where = suite.rstrip("/") if suite.endswith("/") else f"dists/{suite}"
                below = [f"{where}/{name}" for name in ("InRelease", "Release", "Release.gpg")]
                for component in source.components if not suite.endswith("/") else ():
                    below += [f"{where}/{component}/binary-{one}/Packages" for one in (self._architecture, "all")]
                below += [f"{where}/Packages"] if suite.endswith("/") else []
                for one in below:
                    path = lists / indexes.list_name(f"{source.mirrored.rstrip('/')}/{one}")
                    if path.exists():
                        yield source.name, one, path

    def solve(
        self,
        facts: Facts,
        installed: tuple[LockedPackage, ...],
        pins: tuple[Pin, ...] = (),
        newer: Mapping[str, str] | None = None,
    ) -> tuple[LockedPackage, ...]:
        """The packages that the wishes add to what is installed.

        Args:
            installed: what is there and must stay; apt sees it as installed.
            pins: versions that it has to take, or must not.
            newer: versions that the wishes want of what is installed, by name: of these nobody has to know any more what
                the installed one needed.

        Raises:
            Unsatisfiable: there is no answer; apt's explanation is told.
        """
        with self._exclusive(), self._wishing(facts, installed, pins, newer or {}) as (wishes, options):
            # What lies below may have moved: packages that do not go with it any more move too.
            argv = ["apt-get", "install", "--print-uris", "--yes", "--no-remove", "--fix-broken", *options]
            result = self._apt(*argv, "-qq", check=False)
            if result.code != 0:
                why = self._apt(*argv, check=False)  # when told to be quiet it gives no reasons
                raise Unsatisfiable(
                    f"{' → '.join(facts.chain)}: the packages cannot be had together:\n{_reasons(why, facts.definition)}",
                    facts.chain,
                    "loosen a constraint, or `imgbuild lock --update` what lies below",
                )
            found = [_URI.match(line) for line in result.text.splitlines()]
            uris = {entry[1]: entry[2] for entry in found if entry and not entry[2].startswith(f"{WISH}_")}
            packages, known = self._locked(uris)
        return _explained(packages, set(deb.relation_names(",".join(wishes))), known, bool(installed))

    def stanza(self, package: LockedPackage) -> dict[str, str] | None:
        """A package's control fields: as resolved before, from an index, or from its .deb in the store."""
        if kept := stanzas.read(self._store.root / "stanzas" / package.sha256):
            return kept
        if found := next((index.stanza(at) for index, at in self._known().get(package.sha256, ())), None):
            return found
        digest = Digest.from_hex(package.sha256)
        if not self._store.has(digest):
            return None
        with self._store.open(digest) as file:
            return deb.control(file, package.name).fields

    def related(self, package: LockedPackage) -> Related | None:
        """What a package needs, gives and cannot stand; None if nothing is known of it any more."""
        if package.sha256 not in self._related and (fields := self.stanza(package)):
            self._related[package.sha256] = Related.of(fields)
        return self._related.get(package.sha256)

    def knows(self, package: LockedPackage) -> bool:
        """Whether a package's control fields can be had here."""
        kept = (self._store.root / "stanzas" / package.sha256).exists()
        return kept or self._store.has(Digest.from_hex(package.sha256)) or package.sha256 in self._known()

    def replaced(self, package: LockedPackage) -> bool:
        """Whether it came from a folder of .deb files that does not have these bytes any more."""
        folders = {source.name for source in self._sources if source.debs is not None}
        return package.source in folders and package.sha256 not in self._known()

    def places(self, sha256: str) -> tuple[Found, ...]:
        """Where a package with these bytes lies now, in every source and suite, in the order of the sources."""
        return tuple(
            Found(index.source, index.suite, index.stanza(at)["Filename"].removeprefix("./").replace("%", "%25"))
            for index, at in self._known().get(sha256, ())
        )

    def newest(
        self, names: Iterable[str], wishes: Iterable[str] = (), pins: tuple[Pin, ...] = ()
    ) -> dict[str, tuple[str, str]]:
        """The version of each package that apt would take, and the suite it is in, where there is one.

        Args:
            wishes: whose constraints hold.
            pins: versions that it has to take, or must not.
        """
        wanted = tuple(names)
        if not wanted:
            return {}
        with self._exclusive():
            self._write_pins(wishes, pins)
            found = self._policies(wanted)
        return {
            name: (policy.candidate, policy.suites[policy.candidate])
            for name, policy in found.items()
            if policy.candidate
        }

    def exactly(self, versions: Mapping[str, str]) -> tuple[LockedPackage, ...] | None:
        """The packages of some names and versions; None if one is nowhere, or differs from place to place."""
        found: dict[str, set[str]] = {name: set() for name in versions}
        fields: dict[str, dict[str, str]] = {}
        for one in self._of_versions({*versions.values()}):
            if versions.get(one["Package"]) == one["Version"]:
                found[one["Package"]].add(one["SHA256"])
                fields.setdefault(one["Package"], one)
        if any(len(each) != 1 for each in found.values()):
            return None
        for one in fields.values():
            self._keep(one)
        return tuple(_package(one, self.places(one["SHA256"])[0]) for one in fields.values())

    def built_from(self, source: str, version: str) -> frozenset[tuple[str, str]]:
        """The binary packages of a version of a source, and their versions, as far as indexes have them."""
        found: set[tuple[str, str]] = set()
        for index in self._indexes():
            other = [index.stanza(at) for at in index.exactly("Source", f"{source} ({version})")]
            # A package that is called as its source does not say its source's name, nor one of its version its version.
            same = (index.stanza(at) for at in index.exactly("Version", version))
            found |= {
                (fields["Package"], fields["Version"])
                for fields in (*other, *(x for x in same if x.get("Source", x["Package"]) == source))
            }
        return frozenset(found)

    def names(self) -> tuple[str, ...]:
        """The names of all packages, sorted."""
        with self._exclusive():
            return tuple(sorted(set(self._apt("apt-cache", "pkgnames").text.split())))

    # the root; what follows is called by one process at a time

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._store.exclusive(f"apt-{self.name}"):
            yield

    def _write(self) -> None:
        for folder in ("state/lists/partial", "cache/archives/partial", "etc/parts", "etc/sources", "keyrings", "debs"):
            (self._root / folder).mkdir(parents=True, exist_ok=True)
        plain = any(source.plain for source in self._sources)
        _write(self._root / "apt.conf", apt_config.settings(self._root, self._architecture, self._netrc, plain=plain))
        written = set()
        for number, source in enumerate(sorted(self._sources, key=_rank)):
            if source.debs is not None:
                text = self._folder_of_debs(source.name, source.debs)
            else:
                text = apt_config.apt_source(source, self._root / "keyrings")
            _write(self._root / "etc/sources" / f"{number:02}-{source.name}.sources", text)
            written.add(f"{number:02}-{source.name}.sources")
        for path in (self._root / "etc/sources").iterdir():
            if path.name not in written:
                path.unlink()
        _write(self._root / "status", "")

    def _require_in_force(self) -> None:
        for source in self._sources:
            for suite in source.suites if source.valid_at else ():
                at = source.valid_at if "T" in source.valid_at else f"{source.valid_at}T00:00:00Z"
                fields = self._release(source, suite)
                date, until = (_rfc3339(fields.get(name, "")) for name in ("Date", "Valid-Until"))
                if not date or date > at or (until and until < at):
                    span = f"of {date or 'no date'}" + (f" and was valid until {until}" if until else "")
                    raise SourceError(
                        f"source {source.name}: {suite}: its Release file was not in force at {at}: it is {span}",
                        "`valid_at` is the time at which the archived mirror was what it is",
                    )

    def _require_architecture(self) -> None:
        # apt leaves out in silence what a suite does not have for an architecture.
        read = {(index.source, index.suite, index.component) for index in self._indexes()}
        for source in self._sources:
            for suite in source.suites:
                listed = self._release(source, suite).get("SHA256", "")
                for component in () if suite.endswith("/") else source.components:
                    name = re.escape(f"{component}/binary-{self._architecture}/Packages")
                    if (source.name, suite, component) not in read and not re.search(
                        rf" {name}(\.\w+)?$", listed, re.M
                    ):
                        raise SourceError(
                            f"source {source.name}: {suite}: {component} has no packages for {self._architecture}",
                            "is `defaults: {architecture: …}` one that this source is made for?",
                        )

    def _release(self, source: PackageSource, suite: str) -> dict[str, str]:
        if not source.mirrored:
            return {}
        where = suite.rstrip("/") if suite.endswith("/") else f"dists/{suite}"
        for name in ("InRelease", "Release"):
            path = self._root / "state/lists" / indexes.list_name(f"{source.mirrored.rstrip('/')}/{where}/{name}")
            if path.exists():
                return deb.fields(_signed_part(path.read_text(errors="replace")))
        return {}

    def _write_pins(self, wishes: Iterable[str], fixed: tuple[Pin, ...] = ()) -> None:
        path = self._root / "etc/preferences"
        # Of records that speak of one version apt takes the first.
        pins = "\n".join((*(pin.text for pin in fixed), apt_config.preferences(self._sources, self._indexes())))
        _write(path, pins)
        named = {wish: name for wish in wishes if (name := apt_policy.constrained(wish))}
        if named:
            policies = self._policies(named.values())
            for one in fixed:
                if one.never and one.name in policies:
                    policies[one.name].suites.pop(one.version, None)
            more = [apt_policy.pin(wish, policies[name]) for wish, name in named.items() if name in policies]
            _write(path, "\n".join((pins, *more)))

    def _policies(self, names: Iterable[str]) -> dict[str, Policy]:
        with self._store.temporary_folder() as folder:
            options = _status(folder, "")
            return apt_policy.parse(self._apt("apt-cache", *options, "policy", *names, check=False).text)

    def _folder_of_debs(self, name: str, debs: Path) -> str:
        stanzas = []
        for path in sorted(debs.glob("*.deb")):
            data = path.read_bytes()
            control = deb.control(io.BytesIO(data), path.name)
            sha256 = Digest.of(data).hex
            stanzas.append(f"{control.stanza}Filename: ./{path.name}\nSize: {len(data)}\nSHA256: {sha256}\n")
        index = "\n".join(stanzas)
        data = index.encode("utf-8", "surrogateescape")
        # an address of its own for each content: apt would not look again
        folder = self._root / "debs" / name / Digest.of(data).hex[:32]
        if not folder.exists():
            shutil.rmtree(folder.parent, ignore_errors=True)
            folder.mkdir(parents=True)
        _write(folder / "Packages", index)
        _write(folder / "Release", apt_config.release_of_debs(name, data))
        return apt_config.folder_source(folder)

    def _apt(self, *argv: str, check: bool = True) -> process.Result:
        proxies = urllib.request.getproxies_environment()
        env = {f"{name}_proxy": proxies[name] for name in ("http", "https", "no") if name in proxies}
        try:
            result = process.run(argv, env={**env, "APT_CONFIG": str(self._root / "apt.conf")}, check=False)
        except FileNotFoundError:
            raise ResolveError(f"{argv[0]} is not installed", "imgbuild resolves with apt, as Debian does") from None
        if result.code != 0 and "No space left on device" in result.errors:
            raise ResolveError(f"{self._store.root}: no space is left for package indexes", "make room, then try again")
        if result.code != 0 and check:
            raise ResolveError(f"{' '.join(argv[:2])} failed: {result.errors}")
        return result

    def _indexes(self) -> tuple[Index, ...]:
        if not (self._root / "apt.conf").exists():
            return ()
        # What it lists are the sources, and what their Release files say of themselves.
        now = tuple(map(_stamp, (self._root / "state/lists", *sorted((self._root / "etc/sources").iterdir()))))
        if self._listed is None or self._listed[0] != now:
            self._listed = now, indexes.parse(self._apt("apt-get", "indextargets").text)
        return self._listed[1]

    def _known(self) -> dict[str, list[tuple[Index, int]]]:
        # Every package of every index by its checksum; a tenth of a second for all of Debian. Somebody else may have
        # brought the indexes up to date meanwhile.
        if self._lookup is None or any(_stamp(path) != stamp for path, stamp in self._read.items()):
            self._lookup = {}
            found = self._indexes()
            self._read = {index.path: _stamp(index.path) for index in found}
            for index in found:
                for sha256, at in index.find("SHA256"):
                    self._lookup.setdefault(sha256, []).append((index, at))
        return self._lookup

    # solving

    @contextmanager
    def _wishing(
        self, facts: Facts, installed: tuple[LockedPackage, ...], pins: tuple[Pin, ...], newer: Mapping[str, str]
    ) -> Iterator[tuple[list[str], list[str]]]:
        self._write()
        self._write_pins(facts.wishes, pins)
        wishes = [*facts.wishes, *(self._essential() if facts.essential else ())]
        status = "".join(self._installed_stanza(package, newer.get(package.name)) for package in installed)
        with self._store.temporary_folder() as folder:
            options = _status(folder, status)
            options += [
                "-o",
                f"APT::Install-Recommends={str(facts.recommends).lower()}",
                str(_wish(folder, wishes)),
            ]
            yield wishes, options

    def _essential(self) -> list[str]:
        found = [index.stanza(at) for index in self._indexes() for _, at in index.find("Essential", {"yes"})]
        return sorted({fields["Package"] for fields in found})

    def _installed_stanza(self, package: LockedPackage, newer: str | None) -> str:
        fields = self.stanza(package) or (self._like(package, newer) if newer else None)
        if fields is None:
            raise ResolveError(
                f"{package.name} {package.version} is locked, but nothing is known of it any more",
                "the mirror has dropped it: run `imgbuild lock --update` for the definition that has locked it",
            )
        lines = [f"{name}: {value}" for name, value in fields.items() if name not in _INDEX_FIELDS]
        return f"{lines[0]}\nStatus: install ok installed\n" + "\n".join(lines[1:]) + "\n\n"

    def _like(self, package: LockedPackage, newer: str) -> dict[str, str] | None:
        # It goes in any case: what counts is that it is there now, and by which version.
        found = next((fields for fields in self._of_versions({newer}) if fields["Package"] == package.name), None)
        if found is None:
            return None
        own = {"Version": package.version, "Architecture": package.architecture}
        return {key: own.get(key, value) for key, value in found.items() if key not in _RELATIONS}

    def _of_versions(self, versions: Collection[str]) -> Iterator[dict[str, str]]:
        """What indexes have of any of some versions, whatever it is called; none is asked for none."""
        for index in self._indexes() if versions else ():
            for version in versions:
                yield from map(index.stanza, index.exactly("Version", version))

    def _locked(self, uris: dict[str, str]) -> tuple[tuple[LockedPackage, ...], dict[str, dict[str, str]]]:
        """What lies at some addresses: locked packages, and their fields by name."""
        found = self._indexes()
        known: dict[str, dict[str, str]] = {}
        for index in found:
            paths = {path: uri for uri in uris if (path := index.below(uri))}
            for path, at in index.find("Filename", {*paths, *(f"./{path}" for path in paths)}):
                known.setdefault(paths[path.removeprefix("./")], index.stanza(at))
        for uri, file in uris.items():
            if uri not in known:
                raise ResolveError(f"{file} is at {unquote(uri)}, but no index describes it")
        packages = []
        for fields in known.values():
            self._keep(fields)
            packages.append(_package(fields, self.places(fields["SHA256"])[0]))
        return tuple(sorted(packages)), {fields["Package"]: fields for fields in known.values()}

    def _keep(self, fields: dict[str, str]) -> None:
        path = self._store.folder("stanzas") / fields["SHA256"]
        if not path.exists():
            self._store.write_file(path, stanzas.text(fields))


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _rank(source: PackageSource) -> tuple[int, bool, str]:
    # Of packages that look alike to apt (versions and relations, not bytes) it takes the one whose source it reads first.
    priority = apt_config.DEFAULT_PRIORITY if source.priority is None else source.priority
    return -priority, source.debs is None, source.name


def _package(fields: dict[str, str], place: Found) -> LockedPackage:
    source, _, rest = fields.get("Source", fields["Package"]).partition(" ")
    return LockedPackage(
        fields["Package"], fields["Version"], fields["Architecture"], source, rest.strip("() ") or fields["Version"],
        place.source, place.suite, place.path, int(fields["Size"]), fields["SHA256"], "",
    )  # fmt: skip


def _status(folder: Path, text: str) -> list[str]:
    # A status of the call's own, and no cache of it: what one asks is nothing to the next.
    (folder / "status").write_text(text, errors="surrogateescape")
    return ["-o", f"Dir::State::status={folder}/status", "-o", "Dir::Cache::pkgcache="]


def _reasons(result: process.Result, definition: str) -> str:
    text = result.text.partition("unmet dependencies:\n")[2] or result.text
    lines = [line for line in (text + result.errors).splitlines() if line.strip()]
    return "\n".join(lines).replace(f"{WISH} :", f"{definition} :")


def _wish(folder: Path, wishes: list[str]) -> Path:
    control = folder / "wish/DEBIAN/control"
    control.parent.mkdir(parents=True)
    text = f"Package: {WISH}\nVersion: 1\nArchitecture: all\nMaintainer: none <none@localhost>\nDescription: wishes\n"
    control.write_text(text + (f"Depends: {', '.join(wishes)}\n" if wishes else ""))
    target = folder / f"{WISH}.deb"
    process.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", folder / "wish", target])
    return target


def _explained(
    packages: tuple[LockedPackage, ...], asked: set[str], stanzas: dict[str, dict[str, str]], installed: bool
) -> tuple[LockedPackage, ...]:
    """Say of each package why it is there: the nearest one that needs it."""
    by_name = {package.name: package for package in packages}
    provided: dict[str, list[str]] = {}
    for name in by_name:
        for virtual in deb.relation_names(stanzas[name].get("Provides", "")):
            provided.setdefault(virtual, []).append(name)
    reasons = {name: "asked for" for name in by_name if name in asked}
    for virtual in asked - by_name.keys():
        reasons |= dict.fromkeys(provided.get(virtual, ()), "asked for")
    queue = deque(sorted(reasons))
    while queue:
        name = queue.popleft()
        fields = stanzas[name]
        relations = ",".join(fields.get(key, "") for key in ("Pre-Depends", "Depends", "Recommends"))
        for needed in deb.relation_names(relations):
            for candidate in [needed] if needed in by_name else provided.get(needed, ()):
                if candidate not in reasons:
                    reasons[candidate] = name
                    queue.append(candidate)
    rest = "needed below" if installed else "essential"
    return tuple(replace(package, why=reasons.get(package.name, rest)) for package in packages)


def _signed_part(text: str) -> str:
    return text.split("\n\n", 1)[1] if text.startswith("-----BEGIN PGP SIGNED") else text


def _rfc3339(date: str) -> str:
    try:
        return email.utils.parsedate_to_datetime(date).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (TypeError, ValueError):
        return ""


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(errors="surrogateescape") != text:
        path.write_text(text, errors="surrogateescape")
