"""What environments ask for → wheels, by uv on Python indexes; and what wheels say of themselves.

uv decides (https://docs.astral.sh/uv/pip/compile/), as apt does for Debian's packages: for the Python, the machine and
the C library of the image, whatever those of this machine are. Only wheels count: nothing is built here.
"""

from __future__ import annotations

import email.parser
import os
import posixpath
import re
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from packaging import tags
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from builder.errors import ResolveError, Unsatisfiable
from builder.model.digest import Digest
from builder.tools import process
from builder.tools.machine import KERNELS
from builder.tools.store import Store
from dsl.requirements import Wanted

PYPI = "https://pypi.org/simple"
FILES = "https://files.pythonhosted.org/"
_PYPI_FILE = re.compile(r"/(packages/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}/[^/]+)$")
_GLIBCS = (17, 28, *range(31, 41))
"""The minor versions of glibc for which uv has a platform."""
_OLDEST_GLIBC = 5
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_HANDED_ON = (
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
SYSTEM_LIBRARIES = {
    "libstdc++.so.6": "libstdc++6", "libgcc_s.so.1": "libgcc-s1", "libz.so.1": "zlib1g", "libexpat.so.1": "libexpat1",
    "libatomic.so.1": "libatomic1", "libglib-2.0.so.0": "libglib2.0-0", "libgobject-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0", "libX11.so.6": "libx11-6", "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1", "libICE.so.6": "libice6", "libSM.so.6": "libsm6", "libGL.so.1": "libgl1",
}  # fmt: skip
"""What wheels may take from the system beside the C library (PEP 600 and auditwheel's policy), and the package that has it:
on later Debians the name may go on with ``t64``."""
ONLY_WHEELS = (
    "only wheels are installed, nothing is built: make one (`pip wheel NAME`, in a container of the same distribution) "
    "and name its folder as a source: sources: {own: {wheels: wheels}}; or take a version that has one"
)


@dataclass(frozen=True, slots=True)
class Target:
    """What wheels are chosen for.

    Attributes:
        python: the interpreter's version: ``3.13.5``.
        glibc: its minor version: 41 of 2.41.
        architecture: Debian's name of it.
    """

    python: str
    glibc: int
    architecture: str

    @property
    def minor(self) -> str:
        """``3.13``."""
        return ".".join(self.python.split(".")[:2])

    def tags(self) -> list[str]:
        """The tags of wheels that it can use, the best first (PyPA's "Platform compatibility tags")."""
        machine = KERNELS[self.architecture]
        oldest = _OLDEST_GLIBC if machine == "x86_64" else 17
        platforms = []
        for minor in range(self.glibc, oldest - 1, -1):
            platforms.append(f"manylinux_2_{minor}_{machine}")
            if minor in _LEGACY:
                platforms.append(f"{_LEGACY[minor]}_{machine}")
        platforms.append(f"linux_{machine}")
        version = tuple(int(part) for part in self.minor.split("."))
        interpreter = f"cp{self.minor.replace('.', '')}"
        found = [*tags.cpython_tags(version, platforms=platforms)]
        found += tags.compatible_tags(version, interpreter, platforms)
        return [str(tag) for tag in found]

    def platform(self) -> str:
        """What uv calls it."""
        minor = max((known for known in _GLIBCS if known <= self.glibc), default=_GLIBCS[0])
        return f"{KERNELS[self.architecture]}-manylinux_2_{minor}"


@dataclass(frozen=True, slots=True)
class Index:
    """Where wheels come from: an index or a folder.

    Attributes:
        url: as the definition says it; empty for a folder.
        asked: what is asked in its place, credentials and all.
    """

    name: str
    url: str = ""
    asked: str = ""
    folder: Path | None = None

    @property
    def substituted(self) -> bool:
        """Whether a site's own is asked in place of the public one."""
        return self.url.rstrip("/") != _without_login(self.asked).rstrip("/")


@dataclass(frozen=True, slots=True)
class FoundWheel:
    """A wheel that an index has.

    Attributes:
        url: where it is; a ``file:`` address for one in a folder.
    """

    name: str
    version: str
    filename: str
    url: str
    size: int | None
    sha256: str


def resolve(
    target: Target,
    wanted: Iterable[Wanted],
    fixed: Iterable[tuple[str, str]],
    kept: Iterable[tuple[str, str]],
    indexes: Sequence[Index],
    chain: tuple[str, ...],
    store: Store,
) -> tuple[FoundWheel, ...]:
    """The wheels that some requirements want, with all that they need, sorted by name.

    Args:
        fixed: (name, version) that may not move: what lies below.
        kept: (name, version) that stay where they can: what is locked.
        chain: names of the definitions, from the bottom to the one that asks, for messages.

    Raises:
        Unsatisfiable: there is no answer.
        ResolveError: an index cannot be read, or a wheel that is not for this target is all that it has.
    """
    asked = list(dict.fromkeys(one.text for one in wanted))
    words = ("--python-version", target.python, "--python-platform", target.platform())
    found = _compiled(asked, list(fixed), list(kept), indexes, chain, store, words)
    good = {tag: place for place, tag in enumerate(target.tags())}
    chosen = []
    for name, wheels in sorted(found.items()):
        fitting = [(place, wheel) for wheel in wheels if (place := _best(wheel.filename, good)) is not None]
        if not fitting:
            raise ResolveError(
                f"{' → '.join(chain)}: no wheel of {name} is for Python {target.minor}, {KERNELS[target.architecture]} "
                f"and glibc 2.{target.glibc}",
                ONLY_WHEELS,
            )
        chosen.append(min(fitting, key=lambda one: (one[0], one[1].filename))[1])
    return tuple(chosen)


def places(
    wheels: Iterable[tuple[str, str]], indexes: Sequence[Index], store: Store, target: str = "3.13"
) -> dict[str, str]:
    """Where indexes have the files of some wheels (name, version) now, by sha256."""
    pinned = [f"{name}=={version}" for name, version in sorted(set(wheels))]
    words = ("--no-deps", "--universal", "--python-version", target)
    found: dict[str, str] = {}
    # All at once; one by one where one of them is gone, or is there in two versions.
    for asked in (pinned, *([one] for one in pinned if len(pinned) > 1)):
        try:
            there = _compiled(asked, [], [], indexes, ("wheels",), store, words)
        except ResolveError:
            continue
        found |= {wheel.sha256: wheel.url for wheels_ in there.values() for wheel in wheels_}
        if asked is pinned:
            break
    return found


def public(url: str, indexes: Iterable[Index]) -> str:
    """What a lock may say of an address: what is public, and never what stands in its place here."""
    parts = urlsplit(url)
    if url.startswith(FILES):
        return urlunsplit(parts._replace(query="", fragment=""))
    if parts.scheme == "file" or any(index.substituted for index in indexes):
        found = _PYPI_FILE.search(parts.path)
        return FILES + found[1] if found else ""
    return _without_login(urlunsplit(parts._replace(query="", fragment="")))


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _best(filename: str, good: Mapping[str, int]) -> int | None:
    try:
        _, _, _, said = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return None
    return min((good[str(tag)] for tag in said if str(tag) in good), default=None)


def _compiled(
    asked: list[str],
    fixed: list[tuple[str, str]],
    kept: list[tuple[str, str]],
    indexes: Sequence[Index],
    chain: tuple[str, ...],
    store: Store,
    words: tuple[str, ...],
) -> dict[str, list[FoundWheel]]:
    import sys

    import uv

    with store.temporary_folder() as folder:
        (folder / "wanted.in").write_text("".join(f"{text}\n" for text in asked))
        (folder / "fixed.txt").write_text("".join(f"{name}=={version}\n" for name, version in fixed))
        (folder / "uv.toml").write_text(_configuration(indexes))
        (folder / "uv.toml").chmod(0o600)
        rows = "".join(f"[[packages]]\nname = {_text(name)}\nversion = {_text(version)}\n" for name, version in kept)
        output = folder / "pylock.toml"
        if kept:
            # What is there already is kept where it fits.
            output.write_text(f'lock-version = "1.0"\ncreated-by = "imgbuild"\n{rows}')
        handed = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
        if "SSL_CERT_FILE" not in handed and "PIP_CERT" in os.environ:
            handed["SSL_CERT_FILE"] = os.environ["PIP_CERT"]
        argv: list[str | Path] = [
            uv.find_uv_bin(), "pip", "compile", "wanted.in", "--constraints", "fixed.txt", "--config-file", "uv.toml",
            "--format", "pylock.toml", "--output-file", "pylock.toml", "--no-header", "--quiet", "--no-python-downloads",
            "--python", sys.executable, "--system-certs", "--color", "never", *words,
        ]  # fmt: skip
        env = {**handed, "UV_CACHE_DIR": str(store.folder("uv")), "HOME": str(folder)}
        try:
            process.run(argv, env=env, cwd=folder)
            read = tomllib.loads(output.read_text())
        except process.ProgramFailed as failed:
            raise _refused(failed.result.errors, chain, indexes) from None
    found: dict[str, list[FoundWheel]] = {}
    for package in read.get("packages", ()):
        found[canonicalize_name(package["name"])] = [_wheel(package, one, folder) for one in package.get("wheels", ())]
    return found


def _wheel(package: dict[str, Any], said: dict[str, Any], folder: Path) -> FoundWheel:
    url = said.get("url") or (folder / said["path"]).resolve().as_uri()
    filename = said.get("name") or unquote(posixpath.basename(urlsplit(url).path))
    version = str(package["version"])
    return FoundWheel(
        canonicalize_name(package["name"]), version, filename, url, said.get("size"), said["hashes"]["sha256"]
    )


def _configuration(indexes: Sequence[Index]) -> str:
    """uv's own: what an index earlier in the list has is taken from nowhere else (uv's ``first-index``)."""
    parts = ["no-build = true\n"]
    for number, index in enumerate(indexes):
        default = "default = true\n" if number == len(indexes) - 1 else ""
        if index.folder is not None:
            parts.append(f'[[index]]\nurl = {_text(str(index.folder))}\nformat = "flat"\n{default}')
        else:
            parts.append(f"[[index]]\nurl = {_text(index.asked)}\n{default}")
    return "".join(parts)


def _text(value: str) -> str:
    # Of TOML's basic strings all that a path or an address may have.
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _refused(said: str, chain: tuple[str, ...], indexes: Sequence[Index]) -> ResolveError:
    for index in indexes:
        if "@" in urlsplit(index.asked).netloc:
            said = said.replace(index.asked, index.url)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    reasons = [line.partition(": ")[2] or line for line in lines if line.startswith(("cause:", "╰─▶", "├─▶"))]
    reason = " ".join((reasons or lines or ["uv gave no reason"])[: 1 if reasons else 4])
    where = " → ".join(chain)
    if "No solution found" in said:
        hint = ONLY_WHEELS if "usable wheels" in said or "no wheels" in said else ""
        return Unsatisfiable(f"{where}: {reason}", chain, hint)
    more = f" ({reasons[-1]})" if len(reasons) > 1 else ""
    names = ", ".join(index.url or str(index.folder) for index in indexes)
    return ResolveError(
        f"{where}: {' '.join(lines[:1]).removeprefix('error: ')}{more}",
        f"asked was {names}: is it reachable? `IMGBUILD_INDEX`, the workspace's `index` or pip's configuration may name another",
    )


@dataclass(frozen=True, slots=True)
class About:
    """What a wheel says of itself.

    Attributes:
        needs: names of packages that it needs in an environment of the target, normalised; those of extras too.
        files: what it brings, as its RECORD says: path → hash.
        libraries: of ``SYSTEM_LIBRARIES`` those that its modules are linked with, sorted.
    """

    needs: frozenset[str]
    files: Mapping[str, str]
    libraries: tuple[str, ...] = ()


def about(path: Path, filename: str, target: Target) -> About:
    """Read a wheel.

    Raises:
        ResolveError: it is none.
    """
    broken = ResolveError(f"{filename} is no wheel that can be read", "ask who made it, or take another version")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/(METADATA|RECORD)", name)]
            texts = {posixpath.basename(name): archive.read(name).decode("utf-8", "replace") for name in names}
            libraries = {
                library
                for name in archive.namelist()
                if re.search(r"\.so(\.|$)", posixpath.basename(name))
                for library in _linked(archive.read(name))
            }
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):
        raise broken from None
    if texts.keys() != {"METADATA", "RECORD"}:
        raise broken
    metadata = email.parser.HeaderParser().parsestr(texts["METADATA"])
    environment = {
        "python_version": target.minor, "python_full_version": target.python, "sys_platform": "linux",
        "platform_machine": KERNELS[target.architecture], "platform_system": "Linux", "os_name": "posix",
        "implementation_name": "cpython", "platform_python_implementation": "CPython", "extra": "",
    }  # fmt: skip
    needs = set()
    for text in metadata.get_all("Requires-Dist") or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        # One of an extra counts if something has asked for the extra: then it is there.
        said = str(requirement.marker or "")
        if "extra" in said or not requirement.marker or requirement.marker.evaluate(environment):
            needs.add(canonicalize_name(requirement.name))
    rows = (line.rsplit(",", 2) for line in texts["RECORD"].splitlines())
    return About(
        frozenset(needs), {row[0].strip('"'): row[1] for row in rows if len(row) == 3}, tuple(sorted(libraries))
    )


def _linked(module: bytes) -> Iterator[str]:
    # A module's table of strings has the name of each library that it needs, between zeros (ELF, "Dynamic Section").
    for library in SYSTEM_LIBRARIES:
        if f"\0{library}\0".encode() in module:
            yield library


def contents_of(folder: Path) -> list[list[str]]:
    """The wheels of a folder: other ones may be another answer."""
    return [[path.name, Digest.of(path.read_bytes())] for path in sorted(folder.glob("*.whl"))]
