"""A root that foreign scripts write to, written to from outside of it: never through a link, which would lead out of it."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from builder.errors import MakeError
from builder.formats.places import canonical


class Root:
    """A root as seen from outside: an absolute link in it leads to the host's files.

    Each method raises a ``MakeError`` where a link is in the way.

    Args:
        what: is done here, for messages.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._path, self._what = path, what

    def exists(self, path: str) -> bool:
        """Whether a path is there."""
        return os.path.lexists(self._at(path))

    def read(self, path: str) -> str:
        """A file's text, empty if there is none."""
        place = self._at(path)
        return place.read_text(errors="surrogateescape") if _kind(place) == stat.S_IFREG else ""

    def names(self, path: str) -> tuple[str, ...]:
        """What is in a folder, sorted; nothing if there is none."""
        place = self._at(path)
        return tuple(sorted(os.listdir(place))) if _kind(place) == stat.S_IFDIR else ()

    def target(self, path: str) -> str:
        """Where a symbolic link points, empty if there is none."""
        place = self._at(path)
        return os.readlink(place) if place.is_symlink() else ""

    def write(self, path: str, data: bytes, mode: int, uid: int, gid: int) -> None:
        """Write a file."""
        place = self._new(path)
        place.write_bytes(data)
        os.chown(place, uid, gid)
        place.chmod(mode)

    def rewrite(self, path: str, text: str) -> None:
        """Give a file that is there another text, or make one."""
        place = self._at(path)
        if _kind(place) not in (None, stat.S_IFREG):
            raise MakeError(f"{self._what}: /{path} is no file", "a script of a package has put something else there")
        place.write_text(text, errors="surrogateescape")

    def link(self, path: str, target: str, uid: int, gid: int) -> None:
        """Make a symbolic link."""
        place = self._new(path)
        place.symlink_to(target)
        os.chown(place, uid, gid, follow_symlinks=False)

    def folder(self, path: str, mode: int, uid: int, gid: int) -> None:
        """Make a folder, or give it other permissions."""
        place = self._at(path, make=True)
        if _kind(place) != stat.S_IFDIR:
            place.mkdir()
        os.chown(place, uid, gid)
        place.chmod(mode)

    def copy(self, source: Path, path: str) -> None:
        """Put a package's file at a path."""
        place = self._new(path)
        found = source.lstat()
        if stat.S_ISLNK(found.st_mode):
            place.symlink_to(os.readlink(source))
        else:
            shutil.copyfile(source, place)
        os.chown(place, found.st_uid, found.st_gid, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            place.chmod(stat.S_IMODE(found.st_mode))
            for name in os.listxattr(source):
                os.setxattr(place, name, os.getxattr(source, name))
            os.utime(place, ns=(found.st_mtime_ns, found.st_mtime_ns))

    def remove(self, path: str) -> None:
        """Delete a file, or a folder with all that is in it."""
        place = self._at(path)
        kind = _kind(place)
        if kind == stat.S_IFDIR:
            shutil.rmtree(place)
        elif kind is not None:
            place.unlink()

    def _new(self, path: str) -> Path:
        place = self._at(path, make=True)
        if os.path.lexists(place):
            place.unlink()
        return place

    def _at(self, path: str, *, make: bool = False) -> Path:
        place = self._path
        *parents, name = canonical(path).split("/")
        for part in parents:
            place = place / part
            if place.is_symlink():
                link = f"/{place.relative_to(self._path)}"
                raise MakeError(
                    f"{self._what}: /{path.lstrip('/')} lies behind the symbolic link {link}",
                    f"if the definition names it, name where {link} leads to; else a script of a package has made the link",
                )
            if make and not place.exists():
                place.mkdir()
                place.chmod(0o755)
        return place / name


def _kind(place: Path) -> int | None:
    try:
        return stat.S_IFMT(os.lstat(place).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None
