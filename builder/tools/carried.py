"""A folder with all that a site without internet builds from, as `imgbuild mirror load --building` fills it.

    blobs/sha256/HEX     everything by its bytes: packages and wheels are sought there
    apt/HOST/PATH/       repositories as they stood: signed indexes, and the packages that were brought
    feeds/HEX            documents of advisories, by the sha256 of their address
    wheels/, debs/       what comes from Python's indexes, and from folders of .deb files
    git/NAME.bundle      the workspace, and what it uses
    keyrings/NAME        that the repositories are signed with
    carried.json         at what time it stood so: written last

It stands in the place of every address.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from builder.errors import UsageError
from builder.model.digest import Digest
from builder.model.image import Blobs
from builder.tools import files

LIST = "carried.json"
_TOPS = ("apt", "debs", "feeds", "git", "keyrings", "wheels")
_FORM = re.compile(r"(?:[^/\0]+/)+[^/\0]+")


@dataclass(frozen=True, slots=True)
class Carried:
    """Such a folder.

    Attributes:
        at: a time at which all suites were in force.
    """

    root: Path
    at: str

    def apt(self, uri: str) -> str:
        """The address of a repository there."""
        return f"file://{self.root / apt_path(uri)}"

    def document(self, place: str) -> Path:
        """Where the document of an address lies."""
        return self.root / document_path(place)

    def repository(self, url: str) -> Path:
        """Where the bundle of a git repository lies."""
        return self.root / git_path(url)

    @property
    def blobs(self) -> Path:
        """The folder of files that are named by their sha256."""
        return self.root / "blobs/sha256"


def at(place: str | None) -> Carried | None:
    """The folder that a path or a file URL leads to, if it is one that was filled so."""
    if not place or (urlsplit(place).scheme not in ("", "file")):
        return None
    root = Path(unquote(urlsplit(place).path)) if place.startswith("file:") else Path(place)
    try:
        told = json.loads((root / LIST).read_bytes())
        return Carried(root.absolute(), str(told["at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def apt_path(uri: str) -> str:
    """Where a repository lies below the folder, by its address."""
    found = urlsplit(uri)
    host = found.netloc.rpartition("@")[2] or "localhost"
    return "/".join(("apt", _safe(host), *(_safe(part) for part in found.path.split("/") if part)))


def document_path(place: str) -> str:
    """Where the document of an address lies below the folder."""
    return f"feeds/{hashlib.sha256(place.encode()).hexdigest()}"


def git_path(url: str) -> str:
    """Where the bundle of a git repository lies below the folder."""
    name = _safe(url.rstrip("/").rpartition("/")[2].removesuffix(".git")) or "repository"
    return f"git/{name}-{hashlib.sha256(url.encode()).hexdigest()[:12]}.bundle"


def fill(root: Path, listed: Mapping[str, Digest], at_: str, blobs: Blobs) -> None:
    """Make a folder hold just these files, and keep the bytes that it had.

    It is of use at any moment: what apt reads first comes last. A run that was killed is finished by the next.

    Args:
        listed: digests by paths below the folder.
        at_: a time at which all suites were in force.
        blobs: all bytes that the folder does not have yet.

    Raises:
        UsageError: a path leads elsewhere.
    """
    for path in listed:
        if not _FORM.fullmatch(path) or path.partition("/")[0] not in _TOPS or {".", ".."} & {*path.split("/")}:
            raise UsageError(f"{path!r} is no path of what a site builds from")
    kept = root / "blobs/sha256"
    kept.mkdir(parents=True, exist_ok=True)
    with files.exclusive(root):
        _fill(root, kept, listed, at_, blobs)


def _fill(root: Path, kept: Path, listed: Mapping[str, Digest], at_: str, blobs: Blobs) -> None:
    for half in (*root.glob(f".{LIST}.*"), *kept.glob(".*")):
        half.unlink()  # of a run that was killed: nobody else writes now
    for digest in sorted(set(listed.values())):
        if not (kept / digest.hex).exists():
            with blobs.open(digest) as source, files.replacing(kept / digest.hex) as file:
                shutil.copyfileobj(source, file, 1 << 20)
    for path, digest in sorted(listed.items(), key=lambda one: (_is_release(one[0]), one[0])):
        _name(root / path, kept / digest.hex)
    files.write(root / LIST, json.dumps({"at": at_}).encode() + b"\n")
    for top in _TOPS:
        for folder, _, names in os.walk(root / top, topdown=False):
            for name in names:
                if os.path.relpath(os.path.join(folder, name), root) not in listed:
                    os.unlink(os.path.join(folder, name))
            if not os.listdir(folder):
                os.rmdir(folder)


def _name(path: Path, blob: Path) -> None:
    """Give a blob a further name, in place of what has that name."""
    if path.exists() and path.samefile(blob):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    os.link(blob, beside)
    os.replace(beside, path)


def _is_release(path: str) -> bool:
    return path.rpartition("/")[2] in ("InRelease", "Release", "Release.gpg")


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.:_~+-]", "_", text).lstrip(".") or "_"
