"""What definitions say of packages and files, made ready for resolving, fetching and planning."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path

from builder.errors import UsageError
from builder.model.digest import Digest
from builder.tools.store import Store
from dsl.catalog import Catalog, Definition

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
DEBIAN_MIRROR = "http://deb.debian.org"


def architecture(catalog: Catalog) -> str:
    """What images are made for, in Debian's words.

    Raises:
        UsageError: this machine is of another kind and the workspace names none.
    """
    chosen = catalog.workspace.defaults.architecture or MACHINES.get(platform.machine())
    if chosen is None:
        raise UsageError(f"no images for {platform.machine()}", "name one under `defaults: {architecture: …}`")
    return chosen


def mirror(catalog: Catalog) -> str | None:
    """What takes the place of Debian's public mirror at this site."""
    return os.environ.get("IMGBUILD_MIRROR") or catalog.workspace.mirror


def contents(images: Iterable[Definition], store: Store) -> dict[tuple[str, str], Digest]:
    """Put the files that definitions bring into the store.

    Returns:
        Their digests by definition and path.
    """
    found: dict[tuple[str, str], Digest] = {}
    for image in images:
        for definition in image.chain():
            for path, file in definition.model.files.items():
                if (definition.name, path) in found or file.link is not None:
                    continue
                if file.content is not None:
                    digest = store.add(file.content.encode())
                elif file.from_ is not None:
                    digest = store.add(_read(definition.folder / file.from_))
                else:
                    assert file.sha256 is not None, "checks see to it"
                    digest = Digest.from_hex(file.sha256)
                found[definition.name, path] = digest
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "a definition brings this file") from None
