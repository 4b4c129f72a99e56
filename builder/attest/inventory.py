"""An image → what is in it: packages, the layer of each, licenses, files; read from the image and nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from builder.attest import licenses
from builder.attest.licenses import Licenses
from builder.formats import deb, entries
from builder.formats.layer_reader import STATUS
from builder.formats.notes import PREFIX
from builder.model.digest import Digest
from builder.model.image import Image, Layer

_LIST = re.compile(r"var/lib/dpkg/info/([^/:]+)(?::[^/]+)?\.list")
_METADATA = re.compile(r"opt/([^/]+)/lib/python[^/]+/site-packages/[^/]+\.dist-info/METADATA")
_DOC = "usr/share/doc/"
_OS = ("usr/lib/os-release", "etc/os-release")
_SOURCE = re.compile(r"(\S+)(?: \((.+)\))?")
_HOPS = 8
_SHORT = 60
_PAGES = ("homepage", "home", "source", "source code", "repository", "documentation")
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class InventoryPackage:
    """One package, as dpkg knows it, or a wheel, as its METADATA says.

    Attributes:
        layer: the one that has its files; None if no layer says so.
        sha256: of the .deb; empty if the image does not say.
        supplier: who maintains it: ``name <address>``.
        needs: keys of packages of the image that its Depends and Pre-Depends are met by, sorted.
        environment: the Python environment that a wheel lies in; empty for a package of Debian, as the architecture and
            the source package are for a wheel.
    """

    name: str
    version: str
    architecture: str
    source_package: str
    source_version: str
    layer: Digest | None
    sha256: str
    summary: str
    homepage: str
    supplier: str
    needs: tuple[str, ...]
    licenses: Licenses
    environment: str = ""

    @property
    def key(self) -> str:
        """A name that no other package of the image has."""
        return f"{self.environment}/{self.name}" if self.environment else self.name


@dataclass(frozen=True, slots=True)
class InventoryFile:
    """A file that a definition brings."""

    path: str
    layer: Digest
    size: int
    sha1: str
    sha256: str


@dataclass(frozen=True, slots=True)
class InventoryLayer:
    """A layer, and what it holds in words."""

    digest: Digest
    diff_id: Digest
    kind: str
    definition: str
    comment: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is in an image.

    Attributes:
        name, version: as its labels say; the version carries the revision.
        created: as its config says.
        system: of os-release: ``ID``, ``VERSION_ID``, ``PRETTY_NAME`` …
        layers: bottom first.
        packages, files: sorted by name, by path.
    """

    name: str
    version: str
    digest: Digest
    created: str
    architecture: str
    system: Mapping[str, str]
    layers: tuple[InventoryLayer, ...]
    packages: tuple[InventoryPackage, ...]
    files: tuple[InventoryFile, ...]


@dataclass(slots=True)
class Scan:
    """What one layer has of what an inventory wants.

    Attributes:
        texts: bytes of status, os-release and copyright files, by path; copyrights as what they say.
        gone: paths that the layer removes from those below.
        metadata: what wheels say of themselves, by path.
    """

    holds: set[str] = field(default_factory=set)
    texts: dict[str, bytes] = field(default_factory=dict)
    copyrights: dict[str, Licenses] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    metadata: dict[str, bytes] = field(default_factory=dict)
    files: list[InventoryFile] = field(default_factory=list)


Scans = dict[Digest, Scan]
"""Layers that were read before, by digest: what several images share is read once."""


def read(image: Image, scans: Scans | None = None) -> Inventory:
    """What is in an image.

    Args:
        scans: taken from and added to.

    Raises:
        ImageError: a layer is missing or damaged.
    """
    known = {} if scans is None else scans
    whole = Scan()
    holder: dict[str, Digest] = {}
    files: dict[str, InventoryFile] = {}
    metadata: dict[str, tuple[bytes, Digest]] = {}
    for layer in image.layers:
        if layer.digest not in known:
            known[layer.digest] = _scan(image, layer)
        found = known[layer.digest]
        for name in found.holds:
            holder.setdefault(name, layer.digest)
        for path in found.gone:
            whole.copyrights.pop(path, None)
            whole.links.pop(path, None)
            metadata.pop(path, None)
        for path in found.copyrights.keys() | found.links.keys():
            whole.copyrights.pop(path, None)
            whole.links.pop(path, None)
        whole.texts |= found.texts
        whole.copyrights |= found.copyrights
        whole.links |= found.links
        files |= {file.path: file for file in found.files}
        metadata |= {path: (text, layer.digest) for path, text in found.metadata.items()}
    checksums = _checksums(image)
    packages = [*_packages(whole, holder, checksums), *_wheels(metadata, checksums)]
    labels = image.labels
    config = image.configuration
    return Inventory(
        labels.get("org.opencontainers.image.title", "image"),
        labels.get("org.opencontainers.image.version", ""),
        image.digest,
        str(config.get("created") or "1970-01-01T00:00:00Z"),
        str(config.get("architecture") or ""),
        _system(whole.texts),
        _layers(image),
        tuple(sorted(packages, key=lambda p: (p.environment, p.name, p.architecture))),
        tuple(files[path] for path in sorted(files)),
    )


def _scan(image: Image, layer: Layer) -> Scan:
    scan = Scan()
    said = dict(layer.annotations)
    own_files = said.get(f"{PREFIX}kind") == "files"
    early = frozenset(json.loads(said.get(f"{PREFIX}files", "[]")))
    seen: dict[bytes, Licenses] = {}
    for entry, data in entries.of(image.blobs, layer):
        path = entry.path
        name = posixpath.basename(path)
        if name.startswith(".wh."):
            scan.gone.add(posixpath.join(posixpath.dirname(path), name.removeprefix(".wh.")))
        elif path.startswith(_DOC) and entry.type == "link":
            scan.links[path] = entry.target
        elif path.startswith(_DOC) and entry.type == "hardlink" and entry.target in scan.copyrights:
            scan.copyrights[path] = scan.copyrights[entry.target]
        elif data is None:
            continue
        elif path == STATUS or path in _OS:
            scan.texts[path] = data.read()
        elif path.startswith(_DOC) and name == "copyright":
            text = data.read()
            if text not in seen:
                seen[text] = licenses.read(text.decode("utf-8", "replace"))
            scan.copyrights[path] = seen[text]
        elif _METADATA.fullmatch(path):
            scan.metadata[path] = data.read()
        elif found := _LIST.fullmatch(path):
            scan.holds.add(found[1])
        elif own_files or path in early:
            scan.files.append(_file(path, layer.digest, data))
    return scan


def _file(path: str, layer: Digest, data: BinaryIO) -> InventoryFile:
    # SPDX demands a SHA-1 of every file; it protects nothing.
    sha1, sha256, size = hashlib.sha1(usedforsecurity=False), hashlib.sha256(), 0
    while piece := data.read(_PIECE):
        sha1.update(piece)
        sha256.update(piece)
        size += len(piece)
    return InventoryFile(path, layer, size, sha1.hexdigest(), sha256.hexdigest())


def _layers(image: Image) -> tuple[InventoryLayer, ...]:
    history = [entry for entry in image.configuration.get("history") or () if not entry.get("empty_layer")]
    found = []
    for number, layer in enumerate(image.layers):
        said = dict(layer.annotations)
        entry = history[number] if number < len(history) else {}
        words = entry.get("comment") or entry.get("created_by") or ""
        kind, definition = said.get(f"{PREFIX}kind", ""), said.get(f"{PREFIX}definition", "")
        found.append(InventoryLayer(layer.digest, layer.diff_id, kind, definition, words))
    return tuple(found)


def _checksums(image: Image) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for layer in image.layers:
        said = dict(layer.annotations)
        names = (word.partition("=") for word in said.get(f"{PREFIX}packages", "").split())
        sums = said.get(f"{PREFIX}sha256", "").split()
        found |= {(name, version): sum_ for (name, _, version), sum_ in zip(names, sums, strict=False)}
    return found


def _system(texts: Mapping[str, bytes]) -> dict[str, str]:
    text = next((texts[path] for path in _OS if path in texts), b"").decode("utf-8", "replace")
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def _packages(
    whole: Scan, holder: Mapping[str, Digest], checksums: Mapping[tuple[str, str], str]
) -> Iterator[InventoryPackage]:
    text = whole.texts.get(STATUS, b"").decode("utf-8", "replace")
    stanzas = [stanza for stanza in map(deb.fields, text.split("\n\n")) if _installed(stanza)]
    met = _met(stanzas)
    for stanza in stanzas:
        name, version = stanza["Package"], stanza.get("Version", "")
        source = _SOURCE.fullmatch(stanza.get("Source", name).strip())
        needs = {
            found
            for kind in ("Pre-Depends", "Depends")
            for mentioned in deb.relation_names(stanza.get(kind, ""))
            for found in met.get(mentioned, ())
        }
        yield InventoryPackage(
            name,
            version,
            stanza.get("Architecture", ""),
            source[1] if source else name,
            (source[2] if source else None) or version,
            holder.get(name),
            checksums.get((name, version), ""),
            stanza.get("Description", "").split("\n")[0],
            stanza.get("Homepage", ""),
            " ".join(stanza.get("Maintainer", "").split()),
            tuple(sorted(needs - {name})),
            _licenses(whole, name),
        )


def _wheels(
    metadata: Mapping[str, tuple[bytes, Digest]], checksums: Mapping[tuple[str, str], str]
) -> Iterator[InventoryPackage]:
    # An image without wheels does without these.
    import email.parser

    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    said = {}
    for path, (text, layer) in metadata.items():
        fields = email.parser.HeaderParser().parsestr(text.decode("utf-8", "replace"))
        environment = path.split("/")[1]
        said[f"{environment}/{canonicalize_name(fields.get('Name', ''))}"] = (path, environment, fields, layer)
    for key, (path, environment, fields, layer) in said.items():
        needs = set()
        for asked in fields.get_all("Requires-Dist") or ():
            with contextlib.suppress(InvalidRequirement):
                needs.add(f"{environment}/{canonicalize_name(Requirement(asked).name)}")
        version = fields.get("Version", "")
        pages = [one.partition(",") for one in fields.get_all("Project-URL") or ()]
        named = {label.strip().lower(): url.strip() for label, _, url in pages}
        homepage = fields.get("Home-page") or next((named[name] for name in _PAGES if name in named), "")
        yield InventoryPackage(
            key.partition("/")[2], version, "", "", "", layer, checksums.get((key, version), ""),
            fields.get("Summary", ""), homepage, "", tuple(sorted((needs & said.keys()) - {key})),
            _license_of(fields.get("License-Expression") or "", fields.get("License") or "", path), environment,
        )  # fmt: skip


def _license_of(expression: str, said: str, path: str) -> Licenses:
    if expression:
        return Licenses(expression, place=f"/{path}")
    # Older wheels have a name there, or a whole text for people.
    if said.strip() and "\n" not in said.strip() and len(said) <= _SHORT:
        return replace(licenses.combined({said.strip(): ""}, {}), place=f"/{path}")
    return replace(licenses.UNKNOWN, place=f"/{path}")


def _installed(stanza: Mapping[str, str]) -> bool:
    return "Package" in stanza and stanza.get("Status", "").split()[-1:] not in (["not-installed"], ["config-files"])


def _met(stanzas: list[dict[str, str]]) -> dict[str, tuple[str, ...]]:
    """Names that relations may mention → packages of the image that they mean."""
    found: dict[str, set[str]] = {}
    for stanza in stanzas:
        found.setdefault(stanza["Package"], set()).add(stanza["Package"])
    real = frozenset(found)
    for stanza in stanzas:
        for provided in deb.relation_names(stanza.get("Provides", "")):
            if provided not in real:
                found.setdefault(provided, set()).add(stanza["Package"])
    return {name: tuple(sorted(packages)) for name, packages in found.items()}


def _licenses(whole: Scan, package: str) -> Licenses:
    found = whole.copyrights.get(_resolved(f"{_DOC}{package}/copyright", whole.links), licenses.UNKNOWN)
    return replace(found, place=f"/{_DOC}{package}/copyright")


def _resolved(path: str, links: Mapping[str, str]) -> str:
    """Where a path leads by links."""
    for _ in range(_HOPS):
        parts = path.split("/")
        prefixes = ("/".join(parts[:length]) for length in range(1, len(parts) + 1))
        link = next((prefix for prefix in prefixes if prefix in links), None)
        if link is None:
            break
        target = posixpath.join("/", posixpath.dirname(link), links[link], path.removeprefix(link).lstrip("/"))
        path = posixpath.normpath(target).lstrip("/")
    return path
