"""The trees that a state is computed on: merged where they can be, searched as overlayfs does."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import MakeError
from builder.make.dpkg_status import Unpacked
from builder.tools.store import Store

OPAQUE = "user.overlay.opaque"


def merged(packages: Sequence[Unpacked], store: Store) -> tuple[Path, ...]:
    """Few trees, the topmost first, that show what the trees of these packages show.

    An overlay of hundreds of folders is slow, so packages share one tree of hard links. A package stands alone if
    it has a preinst, which must not see its own payload, or paths that do not go together with those of others.
    """
    alone = [package for package in packages if "preinst" in package.members]
    shared = [package for package in packages if "preinst" not in package.members]
    names = hashlib.sha256("\n".join(package.tree.name for package in shared).encode()).hexdigest()
    name = f"merged-{names}"
    with store.exclusive(f"{name[:40]}.lock"):
        if store.tree(name) is None:
            with store.making_tree(name) as target:
                for package in shared:
                    if not _link(package.tree, target):
                        raise MakeError(
                            f"{package.name}: its paths do not go together with those of other packages",
                            "it has a folder where another has a link, or the other way round: leave one of them out",
                        )
    tree = store.tree(name)
    assert tree is not None
    return (*(package.tree for package in alone), tree)


def _link(source: Path, target: Path) -> bool:
    # Paths are joined as text: this runs for each of 60,000 files.
    for folder, folders, files in os.walk(source):
        there = os.path.join(target, os.path.relpath(folder, source))
        for name in list(folders):
            path, new = os.path.join(folder, name), os.path.join(there, name)
            if os.path.islink(path):
                folders.remove(name)
                files.append(name)
            elif os.path.islink(new):
                # What lies in here would go through the link, out of the tree even.
                return False
            elif not os.path.isdir(new):
                os.mkdir(new)
                found = os.lstat(path)
                os.chown(new, found.st_uid, found.st_gid)
                os.chmod(new, stat.S_IMODE(found.st_mode))
        for name in files:
            new = os.path.join(there, name)
            if not os.path.lexists(new):
                os.link(os.path.join(folder, name), new, follow_symlinks=False)
            elif os.path.isdir(new) and not os.path.islink(new):
                return False
    return True


def is_whiteout(found: os.stat_result) -> bool:
    """Whether overlayfs means by it that a path is gone."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def is_opaque(folder: str | Path) -> bool:
    """Whether a folder hides what lies below it."""
    try:
        return os.getxattr(folder, OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Lowers:
    """Trees over each other, the topmost first."""

    trees: tuple[Path, ...]

    def find(self, path: str) -> Path | None:
        """Where the topmost tree that has a path has it; None if it is in none, or deleted.

        Args:
            path: relative.
        """
        # Paths are joined as text: this runs for thousands of paths, over a hundred trees.
        parts = path.split("/")
        for tree in self.trees:
            place = str(tree)
            above: list[str] = []
            for number, part in enumerate(parts, 1):
                place = f"{place}/{part}"
                try:
                    found = os.lstat(place)
                except (FileNotFoundError, NotADirectoryError):
                    break
                if is_whiteout(found):
                    return None
                if number == len(parts):
                    return Path(place)
                if not stat.S_ISDIR(found.st_mode):
                    # A link or file covers what lower trees have here.
                    return None
                above.append(place)
            if any(map(is_opaque, above)):
                return None
        return None

    def text(self, path: str) -> str:
        """A file's text, empty if there is none; a link is none, since it may lead out of the trees."""
        place = self.find(path)
        if place is None or not stat.S_ISREG(place.lstat().st_mode):
            return ""
        return place.read_text(errors="surrogateescape")
