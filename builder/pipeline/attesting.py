"""What is told of images beside them: bills of materials, and from what and how they were built.

Nothing of it enters an image: the same image may be built at another time, from another commit, by another version.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from builder.attest import inventory, provenance, sbom
from builder.attest.provenance import Material, Run
from builder.model.image import Image
from builder.model.lock import Lock, LockedPackage
from builder.model.plan import ImagePlan
from builder.pipeline import packages
from builder.tools import git
from builder.transports import oci_layout
from dsl.catalog import SHIPPED_LAYERS, Catalog, Definition


@dataclass(frozen=True, slots=True)
class Attesting:
    """One run that attests what it builds.

    Attributes:
        started: when it began.
        origin: the commit that the workspace is at, if it is in a git repository; as it was then, since a build may
            write locks.
        scans: layers that were read for images before.
    """

    catalog: Catalog
    id: str
    started: datetime
    origin: git.Origin | None
    scans: inventory.Scans = field(default_factory=dict)

    def beside(
        self, image: Image, definition: Definition, plan: ImagePlan, locks: Mapping[str, Lock]
    ) -> dict[str, bytes]:
        """What a layout keeps beside an image."""
        found = inventory.read(image, self.scans)
        run = Run(self.id, _text(self.started), _text(datetime.now(UTC)))
        statement = provenance.statement(
            f"{plan.image}:{plan.tag}",
            image.digest,
            _asked(self.catalog, definition),
            {"architecture": plan.architecture, "compression": self.catalog.workspace.defaults.compression},
            [*self._origins(), *_materials(self.catalog, definition, locks)],
            run,
        )
        return {
            oci_layout.PROVENANCE: statement,
            oci_layout.SPDX: sbom.FORMATS["spdx"](found).encode(),
            oci_layout.CYCLONEDX: sbom.FORMATS["cyclonedx"](found).encode(),
        }

    def _origins(self) -> Iterator[Material]:
        if self.origin:
            name = f"workspace {self.catalog.workspace.workspace}"
            notes = {"dirty": self.origin.dirty}
            yield Material(name, _repository(self.origin.url), {"gitCommit": self.origin.commit}, notes)
        for used in self.catalog.workspace.uses:
            notes_ = {"path": used.path} if used.path else {}
            yield Material(f"used {used.path}".rstrip(), _repository(used.url), {"gitCommit": used.commit}, notes_)


def begin(catalog: Catalog, images: Iterable[Definition]) -> Attesting:
    """A run begins now.

    Args:
        images: what is to be built.
    """
    files = {path for image in images for part in image.chain() for path in (*_files(catalog, part), part.lock_path)}
    origin = git.origin(catalog.root, tuple(sorted(files)))
    return Attesting(catalog, str(uuid.uuid4()), datetime.now(UTC), origin)


def _files(catalog: Catalog, definition: Definition) -> tuple[Path, ...]:
    """The files that say what a definition is."""
    overlays = [catalog.root / folder / "overlay.yaml" for folder in catalog.workspace.overlays]
    brought = [
        definition.beside("files", path, "from")
        for path, file in definition.model.files.items()
        if file.from_ is not None
    ]
    brought += [
        definition.beside("environments", name, "requirements")
        for name, environment in definition.model.environments.items()
        if environment.requirements is not None
    ]
    found = [definition.document.file, *(overlays if definition.site else ()), *brought]
    return tuple(dict.fromkeys(path for path in found if path.is_file()))


def _asked(catalog: Catalog, image: Definition) -> dict[str, Any]:
    component = catalog.component_of(image)
    files = {path: None for part in image.chain() for path in _files(catalog, part)}
    workspace = catalog.root / "imgbuild.yaml"
    if workspace.is_file():
        files = {workspace: None, **files}
    return {
        "workspace": catalog.workspace.workspace,
        "target": image.reference,
        "overlay": component.overlay or "",
        "definitions": [{"path": _called(catalog, path), "sha256": _sha256(path)} for path in files],
    }


def _called(catalog: Catalog, path: Path) -> str:
    """A path without what is this machine's alone."""
    for folder, prefix in ((catalog.root, ""), (SHIPPED_LAYERS.parent, "imgbuild/")):
        if path.is_relative_to(folder):
            return prefix + str(path.relative_to(folder))
    return "/".join(path.parts[-2:])


def _materials(catalog: Catalog, image: Definition, locks: Mapping[str, Lock]) -> Iterator[Material]:
    keyrings: dict[str, Material] = {}
    suites: dict[tuple[str, str], Material] = {}
    debs: dict[str, Material] = {}
    for part in image.chain():
        lock = locks[part.key]
        yield Material(
            f"lock of {part.reference}", "", {"sha256": lock.digest().hex}, {"fingerprint": lock.fingerprint}
        )
        sources = {source.name: source for source in packages.sources(catalog, part)}
        for source in sources.values():
            if source.keyring and source.keyring.is_file():
                name = f"keyring {source.keyring_name}"
                keyrings[name] = Material(name, "", {"sha256": _sha256(source.keyring)}, {})
        for row in lock.sources:
            known = sources.get(row.name)
            notes = {"date": row.date, "validUntil": row.valid_until, "validAt": known.valid_at if known else ""}
            uri = f"{known.uri.rstrip('/')}/dists/{row.suite}" if known and known.uri else f"source:{row.name}"
            said = {key: value for key, value in notes.items() if value}
            suites[row.name, row.suite] = Material(f"{row.name} {row.suite}".strip(), uri, {}, said)
        for package in (*lock.packages, *lock.compiler, *lock.clock):
            known = sources.get(package.source)
            debs[package.sha256] = _deb(package, known.uri if known else "")
        for wheel in lock.wheels:
            debs[wheel.sha256] = Material(wheel.filename, wheel.url, {"sha256": wheel.sha256}, {})
    yield from (*keyrings.values(), *suites.values(), *(debs[key] for key in sorted(debs, key=lambda k: debs[k].name)))


def _deb(package: LockedPackage, base: str) -> Material:
    uri = f"{base.rstrip('/')}/{package.path}" if base else package.path
    name = f"{package.name}_{package.version}_{package.architecture}"
    return Material(name, uri, {"sha256": package.sha256}, {})


def _repository(url: str) -> str:
    """A repository's address as in-toto has it, without credentials."""
    parts = urlsplit(url)
    if not parts.scheme:
        return f"git+{url}" if url else ""
    return "git+" + urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
