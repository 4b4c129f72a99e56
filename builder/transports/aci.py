"""App Container images, which rkt runs: one ``.aci`` a release in a folder, signed, with a page by which it is found.

The specification is github.com/appc/spec, 0.8.11: spec/aci.md (archives, manifest), spec/discovery.md (the page).
"""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from builder.declared import Declared
from builder.errors import ImageError, UsageError
from builder.formats import appc, compress, tar, tree
from builder.formats.tar import Entry
from builder.model.image import Image
from builder.tools import files, process

PAGE, KEYS = "index.html", "pubkeys.gpg"


@dataclass(frozen=True, slots=True)
class Site:
    """Who offers App Container images.

    Attributes:
        name: what their names begin with: ``example.com/openstack``; empty for none.
        address: where the folder is served: ``https://images.example.com/aci``; none if it is served below its name.
        key: the fingerprint of the OpenPGP key that signs; empty for unsigned ones.
    """

    name: str = ""
    address: str = ""
    key: str = ""

    def of(self, image: str) -> str:
        """What an image is found by."""
        return f"{self.name}/{image}" if self.name else image


NOBODY = Site()
"""Images that are found by their own names alone, and unsigned."""


def file_name(site: Site, image: str, tag: str, architecture: str) -> str:
    """The path of an image's archive below the folder, as the page's template gives it (discovery.md#discovery-templates)."""
    return f"{site.of(image)}-{tag}-linux-{appc.ARCHITECTURES.get(architecture, architecture)}.aci"


def write(image: Image, folder: Path, reference: str, site: Site) -> None:
    """Write an image's archive, its signature and the page into a folder, each whole or not at all.

    Raises:
        ImageError: it cannot be said as an App Container image, or not be signed.
    """
    name, _, tag = reference.rpartition(":")
    config = image.configuration
    architecture = config["architecture"]
    path = folder / file_name(site, name, tag, architecture)
    merged = tree.of_image(image, lambda _: False, {})
    declared = Declared(reference, config.get("config") or {})
    manifest = appc.manifest(
        declared, merged, name=site.of(name), architecture=architecture, created=config.get("created", "")
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    compressor = compress.compressor("gzip")
    with files.replacing(path) as file:
        for piece in _pieces(image, merged, json.dumps(manifest, indent=1).encode()):
            file.write(compressor.compress(piece))
        file.write(compressor.flush())
    if site.key:
        _sign(path, site.key)
        files.write(folder / KEYS, _gpg("--export", site.key).stdout)
    if site.name:
        files.write(folder / PAGE, page(site).encode())


def page(site: Site) -> str:
    """What a web server answers at ``https://NAME?ac-discovery=1`` (discovery.md#discovery-url)."""
    address = site.address.rstrip("/") or f"https://{site.name.partition('/')[0]}"
    told = {"ac-discovery": f"{site.name} {address}/{{name}}-{{version}}-{{os}}-{{arch}}.{{ext}}"}
    if site.key:
        told["ac-discovery-pubkeys"] = f"{site.name} {address}/{KEYS}"
    lines = [f'<meta name="{name}" content="{html.escape(content)}">' for name, content in told.items()]
    head = ["<!DOCTYPE html>", '<html lang="en">', '<meta charset="utf-8">', f"<title>{html.escape(site.name)}</title>"]
    return "\n".join([*head, *lines, f"<p>Images of {html.escape(site.name)}, for rkt.</p>", "</html>", ""])


def _pieces(image: Image, merged: tree.Tree, manifest: bytes) -> Iterator[bytes]:
    # aci.md#image-archives: two names at the top, no entry twice.
    yield from tar.member(Entry("manifest", "file", 0o644, size=len(manifest)), manifest)
    yield from tar.member(Entry("rootfs", "folder", 0o755))
    for entry, data in tree.merged(image, merged):
        yield from tar.member(_below_root(entry), data)
    yield tar.END


def _below_root(entry: Entry) -> Entry:
    target = f"rootfs/{entry.target}" if entry.type == "hardlink" else entry.target
    return replace(entry, path=f"rootfs/{entry.path}", target=target)


def _sign(path: Path, key: str) -> None:
    # "ascii-armored detached signature mode"
    signature = path.with_name(path.name + ".asc")
    signed = _gpg("--local-user", key, "--armor", "--detach-sign", "--output", "-", str(path))
    files.write(signature, signed.stdout)


def _gpg(*words: str) -> process.Result:
    home = {name: os.environ[name] for name in ("HOME", "GNUPGHOME") if name in os.environ}
    try:
        found = process.run(["gpg", "--batch", "--yes", *words], env=home, check=False)
    except FileNotFoundError:
        raise UsageError(
            "App Container images are signed by gpg, which is not there", "apt-get install gnupg"
        ) from None
    if found.code or not found.stdout:
        raise ImageError(
            f"gpg does not sign: {found.reason}", "see `gpg --list-secret-keys`; the workspace's aci.key says which"
        )
    return found
