"""A private apt: its own sources, keyrings, lists and status; apt's solver decides, nothing of the host leaks in."""

from __future__ import annotations

import email.utils
import os
import re
import shutil
from collections import deque
from collections.abc import Iterable
from datetime import UTC
from pathlib import Path
from urllib.parse import unquote

from builder.errors import PackageGone, ResolveError, SourceError, Unsatisfiable
from builder.formats import deb
from builder.model.digest import CacheKey, Digest
from builder.model.lock import LockedPackage, LockedSource
from builder.resolve.facts import Facts, PackageSource
from builder.tools import process
from builder.tools.store import Store

WISH = "imgbuild-wish"
_URI = re.compile(r"^'([^']+)' (\S+) (\d+)")
_RECENT = 300.0
"""Seconds for which an index is taken as fresh within one run of work."""


class AptRoot:
    """An apt root for some sources and an architecture, kept in the store between runs."""

    def __init__(self, store: Store, sources: tuple[PackageSource, ...], architecture: str, netrc: Path | None) -> None:
        self._store, self._sources, self._architecture = store, sources, architecture
        told = [
            [s.name, s.mirrored, s.suites, s.components, str(s.keyring), s.fingerprints, s.priority, str(s.debs)]
            for s in sources
        ]
        self.name = CacheKey.of("apt", [told, architecture])[:32]
        self._root = store.folder("apt") / self.name
        self._netrc = netrc
        self._stanzas: dict[str, dict[str, str]] = {}

    def available(self, package: LockedPackage) -> bool:
        """Whether a package can still be had: from the store, or with the same bytes from an index."""
        if self._store.has(Digest.from_hex(package.sha256)):
            return True
        architecture = self._architecture if package.architecture == "all" else package.architecture
        found = self._show([f"{package.name}:{architecture}={package.version}"])
        return any(fields.get("SHA256") == package.sha256 for fields in found)

    def update(self) -> None:
        """Bring the indexes up to date and check their signatures.

        Raises:
            SourceError: a source is unsigned, expired, tampered with or cannot be reached.
        """
        with self._store.exclusive(f"apt-{self.name}"):
            self._write()
            result = self._apt("apt-get", "update", check=False)
            errors = [line for line in result.errors.splitlines() if line.startswith(("E:", "W:"))]
            if result.code != 0 or any("not signed" in line or "verified" in line for line in errors):
                raise SourceError(self._explain(errors or result.errors.splitlines()), _hint(errors))

    def dates(self) -> tuple[LockedSource, ...]:
        """How the suites stood when they were read."""
        found = []
        for source in self._sources:
            for suite in source.suites:
                name = re.sub(r"^[a-z]+://", "", source.mirrored).rstrip("/").replace("/", "_")
                path = self._root / "state/lists" / f"{name}_dists_{suite.replace('/', '_')}_InRelease"
                if path.exists():
                    fields = deb.fields(path.read_text(errors="replace").split("\n\n", 1)[-1])
                    found.append(
                        LockedSource(
                            source.name,
                            suite,
                            _rfc3339(fields.get("Date", "")),
                            _rfc3339(fields.get("Valid-Until", "")),
                        )
                    )
        return tuple(sorted(found))

    def solve(self, facts: Facts, installed: tuple[LockedPackage, ...]) -> tuple[LockedPackage, ...]:
        """The packages that the wishes add to what is installed.

        Args:
            installed: what is there and must stay; apt sees it as installed.

        Raises:
            Unsatisfiable: there is no answer; apt's explanation is told.
        """
        with self._store.exclusive(f"apt-{self.name}"):
            self._write()
            wishes = [*facts.wishes, *(self._essential() if facts.essential else ())]
            status = "".join(self._installed_stanza(package) for package in installed)
            (self._root / "status").write_text(status)
            wish = self._wish(wishes)
            # What lies below may have moved: packages that do not go with it any more move too.
            argv = ["apt-get", "install", "--print-uris", "-qq", "--yes", "--no-remove", "--fix-broken"]
            argv += ["-o", f"APT::Install-Recommends={str(facts.recommends).lower()}", str(wish)]
            result = self._apt(*argv, check=False)
            if result.code != 0:
                text = "\n".join(line for line in (result.text + result.errors).splitlines() if line.strip())
                raise Unsatisfiable(
                    f"{' → '.join(facts.chain)}: the packages cannot be had together:\n{text}",
                    facts.chain,
                    "loosen a constraint, or `imgbuild lock --update` what lies below",
                )
            found = [self._located(line) for line in result.text.splitlines() if _URI.match(line)]
        packages = self._locked([entry for entry in found if entry])
        return _explained(
            packages, set(deb.relation_names(",".join(wishes))), self._stanzas, {p.name for p in installed}
        )

    def stanza(self, package: LockedPackage) -> dict[str, str] | None:
        """A package's control fields: as resolved before, or from its .deb in the store."""
        path = self._store.folder("stanzas") / package.sha256
        if path.exists():
            return deb.fields(path.read_text(errors="surrogateescape"))
        digest = Digest.from_hex(package.sha256)
        if self._store.has(digest):
            with self._store.open(digest) as file:
                return deb.control(file, package.name).fields
        candidates = self._show(
            [
                f"{package.name}:{package.architecture if package.architecture != 'all' else self._architecture}={package.version}"
            ]
        )
        return next((fields for fields in candidates if fields.get("SHA256") == package.sha256), None)

    def newest(self, names: Iterable[str]) -> dict[str, str]:
        """The candidate version of each package, where there is one."""
        result = self._apt("apt-cache", "policy", *names, check=False)
        found, name = {}, ""
        for line in result.text.splitlines():
            if line and not line.startswith(" "):
                name = line.rstrip(":")
            elif line.strip().startswith("Candidate:"):
                version = line.split(":", 1)[1].strip()
                if version != "(none)":
                    found[name] = version
        return found

    def names(self) -> tuple[str, ...]:
        """The names of all packages, sorted."""
        return tuple(sorted(set(self._apt("apt-cache", "pkgnames").text.split())))

    # the root

    def _write(self) -> None:
        for folder in ("state/lists/partial", "cache/archives/partial", "etc/parts", "debs"):
            (self._root / folder).mkdir(parents=True, exist_ok=True)
        root = self._root
        settings = {
            "Dir": "/", "Dir::Etc": f"{root}/etc", "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": f"{root}/etc/sources", "Dir::Etc::parts": f"{root}/etc/parts",
            "Dir::Etc::main": "/dev/null", "Dir::Etc::preferences": f"{root}/etc/preferences",
            "Dir::Etc::preferencesparts": "/dev/null", "Dir::Etc::trusted": "/dev/null",
            "Dir::Etc::trustedparts": "/dev/null", "Dir::Etc::netrc": str(self._netrc or "/dev/null"),
            "Dir::Etc::netrcparts": "/dev/null", "Dir::State": f"{root}/state", "Dir::State::status": f"{root}/status",
            "Dir::State::extended_states": f"{root}/extended", "Dir::Cache": f"{root}/cache", "Dir::Log": f"{root}/log",
            "APT::Architecture": self._architecture, "APT::Sandbox::User": "root", "APT::Solver": "internal",
            "APT::Get::Always-Include-Phased-Updates": "false", "APT::Get::Never-Include-Phased-Updates": "true",
            "APT::Install-Suggests": "false", "Acquire::Languages": "none", "Acquire::Check-Valid-Until": "true",
            "Acquire::Retries": "3", "Acquire::http::Timeout": "30", "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false",
            "Acquire::AllowInsecureRepositories": "false", "APT::Update::Error-Mode": "any", "APT::Get::AllowUnauthenticated": "false",
        }  # fmt: skip
        lines = [f'{name} "{value}";' for name, value in settings.items()]
        lines += [
            "#clear APT::Architectures;",
            f'APT::Architectures {{ "{self._architecture}"; }};',
            "#clear DPkg::Pre-Install-Pkgs;",
        ]
        _write(root / "apt.conf", "\n".join(lines) + "\n")
        (root / "etc/sources").mkdir(exist_ok=True)
        pins = []
        for source in self._sources:
            if source.debs is not None:
                text = self._index_of_debs(source)
            else:
                text = (
                    f"Types: deb\nURIs: {source.mirrored}\nSuites: {' '.join(source.suites)}\n"
                    f"Components: {' '.join(source.components)}\nSigned-By: {self._signed_by(source)}\n"
                )
            _write(root / "etc/sources" / f"{source.name}.sources", text)
            if source.priority is not None:
                host = re.sub(r"^[a-z]+://([^/:]*).*$", r"\1", source.mirrored)
                pin = f'origin "{host}"' if source.debs is None and host else 'origin ""'
                pins.append(f"Package: *\nPin: {pin}\nPin-Priority: {source.priority}\n")
        _write(root / "etc/preferences", "\n".join(pins))
        if not (root / "status").exists():
            (root / "status").write_text("")

    def _signed_by(self, source: PackageSource) -> str:
        if source.keyring is None or not source.keyring.exists():
            raise SourceError(f"source {source.name}: there is no keyring {source.keyring_name!r}")
        if source.fingerprints:
            raise SourceError(f"source {source.name}: fingerprints need a keyring of their keys alone")
        return str(source.keyring)

    def _index_of_debs(self, source: PackageSource) -> str:
        assert source.debs is not None
        folder = self._root / "debs" / source.name
        folder.mkdir(exist_ok=True)
        stanzas = []
        for path in sorted(source.debs.glob("*.deb")):
            data = path.read_bytes()
            with path.open("rb") as file:
                control = deb.control(file, path.name)
            digest = Digest.of(data)
            if not self._store.has(digest):
                self._store.add(data)
            stanzas.append(f"{control.stanza}Filename: ./{path.name}\nSize: {len(data)}\nSHA256: {digest.hex}\n")
            if not (folder / path.name).exists():
                (folder / path.name).symlink_to(path)
        _write(folder / "Packages", "\n".join(stanzas))
        return f"Types: deb\nURIs: file:{folder}\nSuites: ./\nTrusted: yes\n"

    def _apt(self, *argv: str, check: bool = True) -> process.Result:
        proxies = {
            name: value
            for name, value in os.environ.items()
            if name.lower() in ("http_proxy", "https_proxy", "no_proxy")
        }
        try:
            return process.run(argv, env={**proxies, "APT_CONFIG": str(self._root / "apt.conf")}, check=check)
        except FileNotFoundError:
            raise ResolveError(f"{argv[0]} is not installed", "imgbuild resolves with apt, as Debian does") from None

    # solving

    def _essential(self) -> list[str]:
        result = self._apt("apt-cache", "dumpavail")
        stanzas = (text for text in result.text.split("\n\n") if "\nEssential: yes" in text)
        return sorted({deb.fields(text)["Package"] for text in stanzas})

    def _wish(self, wishes: list[str]) -> Path:
        folder = self._root / "wish"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "DEBIAN").mkdir(parents=True)
        text = (
            f"Package: {WISH}\nVersion: 1\nArchitecture: all\nMaintainer: none <none@localhost>\nDescription: wishes\n"
        )
        if wishes:
            text += f"Depends: {', '.join(wishes)}\n"
        (folder / "DEBIAN/control").write_text(text)
        target = self._root / f"{WISH}.deb"
        process.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", folder, target])
        return target

    def _installed_stanza(self, package: LockedPackage) -> str:
        fields = self.stanza(package)
        if fields is None:
            raise PackageGone(
                f"{package.name} {package.version} is locked, but nothing is known of it any more",
                package.sha256,
                "the mirror has dropped it: run `imgbuild lock --update` for the definition that has locked it",
            )
        skipped = {"Filename", "Size", "SHA256", "MD5sum", "SHA1", "Status", "Description-md5", "Tag"}
        lines = [f"{name}: {value}" for name, value in fields.items() if name not in skipped]
        return f"{lines[0]}\nStatus: install ok installed\n" + "\n".join(lines[1:]) + "\n\n"

    def _located(self, line: str) -> tuple[str, str, str, str] | None:
        found = _URI.match(line)
        assert found, "the caller matched it"
        uri, file = found[1], unquote(found[2])
        name, version, architecture = file.removesuffix(".deb").split("_")
        return None if name == WISH else (uri, name, unquote(version), architecture)

    def _locked(self, found: list[tuple[str, str, str, str]]) -> tuple[LockedPackage, ...]:
        if not found:
            return ()
        wanted = [
            f"{name}:{self._architecture if arch == 'all' else arch}={version}" for _, name, version, arch in found
        ]
        by_file: dict[str, list[dict[str, str]]] = {}
        for fields in self._show(wanted):
            by_file.setdefault(fields["Filename"].removeprefix("./"), []).append(fields)
        packages = []
        for uri, name, version, architecture in found:
            source, path = self._source_of(uri)
            candidates = by_file.get(unquote(path)) or by_file.get(path)
            if not candidates:
                raise ResolveError(f"{name} {version} is at {uri}, but no index describes it")
            fields = candidates[0]
            self._stanzas[name] = fields
            origin = fields.get("Source", name)
            source_version = re.search(r"\((.+)\)", origin)
            kept = self._store.folder("stanzas") / fields["SHA256"]
            if not kept.exists():
                text = "".join(f"{key}: {value}\n" for key, value in fields.items())
                self._store.write_file(kept, text.encode("utf-8", "surrogateescape"))
            packages.append(
                LockedPackage(
                    name, version, architecture, origin.split(" ")[0], source_version[1] if source_version else version,
                    source.name, source.suites[0] if source.suites else "", path, int(fields["Size"]), fields["SHA256"], "",
                )
            )  # fmt: skip
        return tuple(sorted(packages))

    def _show(self, wanted: list[str]) -> list[dict[str, str]]:
        result = self._apt("apt-cache", "show", *wanted, check=False)
        return [deb.fields(text) for text in result.text.split("\n\n") if "\nFilename:" in text]

    def _source_of(self, uri: str) -> tuple[PackageSource, str]:
        for source in self._sources:
            base = f"file:{self._root}/debs/{source.name}/" if source.debs else source.mirrored.rstrip("/") + "/"
            base = base.replace("file:///", "file:/", 1)  # as apt writes it
            if uri.startswith(base):
                return source, uri[len(base) :].removeprefix("./")
        raise ResolveError(f"{uri} belongs to no source of the definition")

    def _explain(self, errors: list[str]) -> str:
        names = [s.name for s in self._sources if any(s.mirrored and s.mirrored in line for line in errors)]
        return f"source {', '.join(names) or 'index'}: " + "\n".join(dict.fromkeys(line[2:].strip() for line in errors))


def _hint(errors: list[str]) -> str:
    text = " ".join(errors)
    if "NO_PUBKEY" in text or "not signed" in text:
        return "does `keyring` have the key that signs this suite?"
    if "expired" in text or "no longer valid" in text or "not valid" in text:
        return "the mirror is out of date, or this machine's clock is wrong"
    return "is the mirror reachable? a site's own is named by `mirror:` in imgbuild.yaml or by IMGBUILD_MIRROR"


def _explained(
    packages: tuple[LockedPackage, ...], asked: set[str], stanzas: dict[str, dict[str, str]], installed: set[str]
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
    return tuple(
        LockedPackage(
            p.name, p.version, p.architecture, p.source_package, p.source_version, p.source, p.suite, p.path, p.size, p.sha256,
            reasons.get(p.name, "needed below" if installed else "essential"),
        )
        for p in packages
    )  # fmt: skip


def _rfc3339(date: str) -> str:
    try:
        return email.utils.parsedate_to_datetime(date).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (TypeError, ValueError):
        return ""


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
