"""What dpkg settles while it unpacks: whose file a path has, diversions, owners and modes that are overridden."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import MakeError
from builder.formats import places
from builder.formats.places import canonical
from builder.make.dpkg_status import INFO, Unpacked, winner
from builder.make.lowers import Lowers
from builder.make.root import Root
from builder.model.plan import FileEntry, StateLayerPlan

DIVERSIONS = "var/lib/dpkg/diversions"
OVERRIDES = "var/lib/dpkg/statoverride"


_PLAIN = (0, 0, 0o755)


def _owned(path: str, place: str | Path) -> FileEntry | None:
    try:
        found = os.lstat(place)
    except (FileNotFoundError, NotADirectoryError):
        return None
    mode = stat.S_IMODE(found.st_mode)
    return FileEntry(path, "folder", found.st_uid, found.st_gid, mode) if stat.S_ISDIR(found.st_mode) else None


def _is_plain(folder: FileEntry) -> bool:
    return (folder.uid, folder.gid, folder.mode) == _PLAIN


def folders(
    new: Sequence[Unpacked], rest: Lowers, known: Mapping[str, FileEntry]
) -> tuple[tuple[FileEntry, ...], frozenset[str]]:
    """What dpkg leaves of folders of which packages say different things: those that are there, or the first package's.

    Layers of packages have no order that knows of this, so the state brings these folders.

    Args:
        new: in the order in which dpkg unpacks them.
        rest: the trees below all that is new.
        known: the folders in there that are not root's with mode 0755.

    Returns:
        These folders; and the paths of all folders of new packages that are not root's with mode 0755.
    """
    first: dict[str, FileEntry] = {}
    said: dict[str, set[FileEntry]] = defaultdict(set)
    for package in new:
        listed = {path: folder for path in package.files if (folder := _owned(path, f"{package.tree}/{path}"))}
        for path, folder in listed.items():
            first.setdefault(path, folder)
            said[path].add(folder)
        # A layer has entries for those too that the package does not name.
        for name in places.above_all(package.files) - listed.keys():
            said[name].add(FileEntry(name, "folder", *_PLAIN))
    differing = []
    unusual = set()
    for path, all_said in said.items():
        if path not in known and all(map(_is_plain, all_said)):
            continue
        unusual.add(path)
        place = None if path in known else rest.find(path)
        there = known.get(path) or (place and _owned(path, place)) or first.get(path)
        if there and all_said != {there}:
            differing.append(there)
    return tuple(sorted(differing)), frozenset(unusual)


def unusual(root: Lowers, paths: Iterable[str]) -> tuple[FileEntry, ...]:
    """The folders among some paths that are not root's with mode 0755."""
    found = (_owned(path, place) for path in sorted(set(paths)) if (place := root.find(path)))
    return tuple(folder for folder in found if folder and not _is_plain(folder))


def _equal(place: Path, source: Path) -> bool:
    here, there = place.lstat(), source.lstat()
    if stat.S_ISLNK(here.st_mode) and stat.S_ISLNK(there.st_mode):
        return os.readlink(place) == os.readlink(source)
    if not (stat.S_ISREG(here.st_mode) and stat.S_ISREG(there.st_mode)) or here.st_size != there.st_size:
        return False
    same = (here.st_mode, here.st_uid, here.st_gid) == (there.st_mode, there.st_uid, there.st_gid)
    return same and place.read_bytes() == source.read_bytes()


@dataclass(frozen=True, slots=True)
class Diversion:
    """A package has a path for itself; what others bring there goes elsewhere.

    Attributes:
        spelt: the path as dpkg knows it: it diverts ``/lib/x`` only from packages that say so, not ``/usr/lib/x``.
        path, target: as layers spell them.
    """

    spelt: str
    path: str
    target: str
    package: str

    def concerns(self, package: Unpacked) -> bool:
        """Whether it takes the path away from a package."""
        return package.name != self.package and self.spelt in package.text("list").splitlines()


def diversions(text: str) -> tuple[Diversion, ...]:
    """What dpkg's file of diversions says: three lines each."""
    lines = text.splitlines()
    return tuple(
        Diversion(path, canonical(path), canonical(target), package)
        for path, target, package in zip(lines[::3], lines[1::3], lines[2::3], strict=False)
    )


def owners(root: Root, new: Sequence[Unpacked], old: Sequence[Unpacked]) -> Mapping[str, Path]:
    """Put the right package's file at each path that several bring or that is diverted.

    Layers of packages have no order that knows of this, so the state brings these files. As with dpkg, the lists of
    the other packages then lose the path.

    Returns:
        The paths that the state brings, though the trees below may show the same, and whose files they are.

    Raises:
        MakeError: neither Replaces nor a diversion decides.
    """
    diverted = {diversion.path: diversion for diversion in diversions(root.read(DIVERSIONS))}
    bringing = _bringing(new, old, diverted)
    names = {package.name for package in new}
    put: dict[str, Path] = {}
    lost: dict[Unpacked, set[str]] = defaultdict(set)

    def bring(packages: Sequence[Unpacked], path: str, at: str) -> None:
        package = _winner(path, packages)
        root.copy(package.tree / path, at)
        put[at] = package.tree / path
        for other in packages:
            if other is not package and not _equal(other.tree / path, package.tree / path):
                lost[other].add(path)

    for path, packages in sorted(bringing.items()):
        diversion = diverted.get(path)
        if not any(package.name in names for package in packages) and (
            diversion is None or diversion.package not in names
        ):
            continue
        if diversion:
            others = [package for package in packages if diversion.concerns(package)]
            own = [package for package in packages if package not in others]
            if others:
                bring(others, path, diversion.target)
            if own and (others or not root.exists(path)):
                bring(own, path, path)
            elif others:
                root.remove(path)
        elif not _all_equal(path, packages):
            bring(packages, path, path)
    for package, paths in lost.items():
        _forget(root, package, paths)
    return put


def _forget(root: Root, package: Unpacked, paths: Container[str]) -> None:
    file = f"{INFO}/{package.control.info_name}.list"
    kept = [line for line in root.read(file).splitlines() if canonical(line) not in paths]
    text = "".join(f"{line}\n" for line in kept)
    root.write(file, text.encode("utf-8", "surrogateescape"), 0o644, 0, 0)


def _bringing(new: Sequence[Unpacked], old: Sequence[Unpacked], diverted: Collection[str]) -> dict[str, list[Unpacked]]:
    # What old ones bring together was settled when they came, unless it is diverted now.
    asked = {path for package in new for path in package.files} | {*diverted}
    found: dict[str, list[Unpacked]] = defaultdict(list)
    for package in (*old, *new):
        for path in asked.intersection(package.files):
            found[path].append(package)
    result = {}
    for path, packages in found.items():
        if len(packages) > 1 or path in diverted:
            # A list says `/bin` of what the tree has, merged, in `/usr/bin`.
            modes = [package.mode(path) for package in packages]
            files = [p for p, mode in zip(packages, modes, strict=True) if mode is not None and not stat.S_ISDIR(mode)]
            if files and any(mode is not None and stat.S_ISDIR(mode) for mode in modes):
                names = " and ".join(package.name for package in packages)
                raise MakeError(f"/{path} of {names} is a folder in one and none in the other", "leave one of them out")
            if len(files) > 1 or (files and path in diverted):
                result[path] = files
    return result


def _all_equal(path: str, packages: Sequence[Unpacked]) -> bool:
    return all(_equal(packages[0].tree / path, other.tree / path) for other in packages[1:])


def _winner(path: str, packages: Sequence[Unpacked]) -> Unpacked:
    for package in packages:
        rest = [other for other in packages if other is not package]
        if all(winner(package.control, other.control) is package.control for other in rest):
            return package
    if _all_equal(path, packages):
        return packages[0]
    names = " and ".join(package.name for package in packages)
    raise MakeError(f"/{path} is brought by {names}, and none replaces the others", "leave one of them out")


def drop_alternatives(root: Root, folder: str, left_out: Callable[[str], bool]) -> None:
    """Remove the records of alternatives all of whose choices are left out: update-alternatives would not have made them.

    Args:
        folder: where they are (update-alternatives(1), "Files").
        left_out: says it of a path without a leading ``/``.
    """
    for name in root.names(folder):
        head, _, rest = root.read(f"{folder}/{name}").partition("\n\n")
        # Of each choice its path, its priority, and a line for each slave, of which the head has two.
        size = 2 + len(head.splitlines()[2:]) // 2
        choices = [path for path in rest.split("\n")[::size] if path]
        if choices and all(left_out(canonical(path)) for path in choices):
            root.remove(f"{folder}/{name}")


def overrides(root: Root, plan: StateLayerPlan, new: Sequence[Unpacked], run: Callable[[Sequence[str]], None]) -> None:
    """Give paths the owners and modes that statoverrides say: those of the plan, and older ones for new payloads."""
    users = {user.name: user.uid for user in plan.users}
    groups = {group.name: group.gid for group in plan.groups}
    paths = {path for package in new for path in package.files}
    for line in root.read(OVERRIDES).splitlines():
        owner, group, mode, path = line.split(" ", 3)
        if canonical(path) in paths:
            run(["chown", "-h", f"{owner.lstrip('#')}:{group.lstrip('#')}", path])
            run(["chmod", mode, path])
    for entry in plan.statoverrides:
        owner = f"#{users[entry.owner]}" if entry.owner in users else entry.owner
        group = f"#{groups[entry.group]}" if entry.group in groups else entry.group
        run(
            ["dpkg-statoverride", "--force-statoverride-add", "--update", "--add", owner, group, entry.mode, entry.path]
        )
