"""``doctor``: what this machine can do; what can be tried is tried."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from builder.errors import EngineError, SandboxError, UsageError
from builder.pipeline import packages, wheels
from builder.pipeline.edges import Edges
from builder.tools import credentials, fetch, machine, process, rootless, sandbox, sandbox_init
from builder.transports import engine
from dsl.catalog import Catalog
from dsl.errors import ImgbuildError

Status = Literal["ok", "missing", "optional"]
PROGRAMS = {"apt-get": "apt", "dpkg-deb": "dpkg"}
"""What every build wants, and the package that has it."""
OPTIONAL = {"git": "definitions from git (`uses:`)", "mmdebstrap": "`imgbuild compare`"}
VERIFIERS = ("gpgv", "sqv")
"""apt has one of them check signatures."""
MIRROR_SECONDS = 10
DISK = 10 << 30
MEMORY = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        status: ``missing`` if builds fail for the lack of it, ``optional`` if only something that few need does.
        hint: what to do, unless it is ``ok``.
    """

    name: str
    status: Status
    found: str
    hint: str = ""


def diagnose(catalog: Catalog | None, edges: Edges) -> Iterator[Finding]:
    """Look at everything, one after the other.

    Args:
        catalog: whose sources are asked for; None asks none.
    """
    yield _system()
    yield from programs()
    yield _ids()
    yield _layers(edges)
    wanted = _architectures(catalog)
    for one in machine.KERNELS:
        if one != machine.architecture():
            yield programs_of(one, edges, wanted=one in wanted)
    yield _disk(edges)
    yield _memory()
    if catalog and not edges.offline:
        yield from _mirrors(catalog)
    yield _engine("docker", edges)
    yield _engine("podman", edges)


def _system() -> Finding:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        name = "Linux of an unknown kind"
    kind = machine.container()
    words = [
        name, f"kernel {platform.release()}", f"Python {platform.python_version()}",
        f"in a container ({kind})" if kind else "no container",
        "as root" if machine.is_root() else f"as {rootless.user()}",
    ]  # fmt: skip
    return Finding("system", "ok", ", ".join(words))


def programs() -> Iterator[Finding]:
    """The programs that are called."""
    for name, package in PROGRAMS.items():
        said = _version(name)
        hint = f"install {package}; imgbuild wants Debian 12 or 13, or a container of it"
        yield Finding(name, "ok", said) if said else Finding(name, "missing", "not installed", hint)
    verifier = next((found for name in VERIFIERS if (found := shutil.which(name))), None)
    hint = "as root, apt-get install gpgv: apt checks signatures with it"
    yield Finding("gpgv", "ok", verifier) if verifier else Finding("gpgv", "missing", "not installed", hint)
    for name, purpose in OPTIONAL.items():
        said = _version(name)
        hint = f"as root, apt-get install {name}, for {purpose}"
        yield Finding(name, "ok", said) if said else Finding(name, "optional", "not installed", hint)


def _version(program: str) -> str:
    try:
        said = process.run([program, "--version"], check=False).text
    except OSError:
        return ""
    return said.partition("\n")[0].strip() or "installed"


def _ids() -> Finding:
    if machine.is_root():
        try:
            machine.require_ids()
        except SandboxError as error:
            return Finding("ids", "missing", error.message, error.hint)
        return Finding("ids", "ok", f"{machine.IDS} user and group ids")
    try:
        told = rootless.mappings()
    except SandboxError as error:
        return Finding("ids", "missing", error.message, error.hint)
    ranges = [f"{first}+{count}" for first, count in zip(told["newuidmap"][4::3], told["newuidmap"][5::3], strict=True)]
    return Finding("ids", "ok", f"subordinate ids {', '.join(ranges)}")


def _layers(edges: Edges) -> Finding:
    """Try what configuring does, where it is done."""
    name = "namespaces"
    try:
        with edges.store.temporary_folder() as folder:
            rootless.call(try_sandbox, folder / "try")
    except SandboxError as error:
        return Finding(name, "missing", error.message, error.hint)
    except OSError as error:
        said = f"{edges.store.root}: {error.strerror or error}"
        return Finding(name, "missing", said, "choose a place by XDG_CACHE_HOME that you can write to")
    return Finding(name, "ok", f"an overlay with owners, attributes and deletions works in {edges.store.root}")


def try_sandbox(folder: Path) -> None:
    """Make a sandbox in a folder, with an overlay, and change things in it.

    Raises:
        SandboxError: something does not work; the folder's file system is told.
    """
    for name in ("lower", "upper", "box"):
        (folder / name).mkdir(parents=True)
    gone = folder / "lower/gone"
    gone.touch()
    try:
        os.chown(gone, 1, machine.IDS - 1)
        os.setxattr(gone, "user.imgbuild", b"1")
        with sandbox.opened(folder / "box") as box:
            box.mount((folder / "lower",), folder / "upper")
            (box.root / "gone").unlink()
        left = (folder / "upper/gone").lstat()
    except OSError as error:
        said = f"its file system ({_file_system(folder)}) lacks what layers need: {error.strerror or error}"
        raise SandboxError(f"{folder}: {said}", _PLACE) from None
    except SandboxError as error:
        kind = _file_system(folder)
        hint = _PLACE if "mounting overlay" in error.message and kind in ("overlay", "tmpfs", "nfs") else error.hint
        raise SandboxError(f"{error.message} (file system: {kind})", hint) from None
    if not stat.S_ISCHR(left.st_mode):
        raise SandboxError("the overlay does not keep deletions", _PLACE)


def _architectures(catalog: Catalog | None) -> tuple[str, ...]:
    try:
        return packages.architectures(catalog) if catalog else ()
    except UsageError:
        # A machine of a kind for which no images are made.
        return ()


def programs_of(architecture: str, edges: Edges, *, wanted: bool) -> Finding:
    """Whether packages of another architecture are configured here: a program of that kind is run where scripts are.

    Args:
        wanted: whether the workspace's images are made for it.
    """
    try:
        machine.require_programs_of(architecture)
        with edges.store.temporary_folder() as folder:
            rootless.call(try_program, folder / "try", architecture)
    except SandboxError as error:
        hint = error.hint if wanted else f"only images for {architecture} need it: {error.hint}"
        return Finding(architecture, "missing" if wanted else "optional", error.message, hint)
    except OSError as error:
        # What is wrong with the place is told of namespaces, too.
        return Finding(architecture, "optional", f"{edges.store.root}: {error.strerror or error}", _PLACE)
    by = machine.emulator(architecture)
    how = f"{by}, which each sandbox tells the kernel of" if by else "what the kernel was told of"
    return Finding(architecture, "ok", f"its programs run here by {how}")


def try_program(folder: Path, architecture: str) -> None:
    """Run a program made for another architecture in a sandbox.

    Raises:
        SandboxError: it does not run.
    """
    for name in ("lower", "upper", "box"):
        (folder / name).mkdir(parents=True)
    program = folder / "lower/program"
    program.write_bytes(_program(architecture))
    program.chmod(0o755)
    with sandbox.opened(folder / "box", architecture=architecture) as box:
        box.mount((folder / "lower",), folder / "upper")
        said = box.run(["/program"])
    if said.code != _SAID:
        told = said.text.strip() or f"it ended with {said.code}"
        raise SandboxError(f"a program of {architecture} was tried, and does not run here: {told}", machine.way_out())


_SAID = 42
_CODE = {
    "amd64": b"\xb8\x3c\x00\x00\x00\xbf\x2a\x00\x00\x00\x0f\x05",  # mov $60,%eax; mov $42,%edi; syscall
    "arm64": struct.pack("<3I", 0xD2800BA8, 0xD2800540, 0xD4000001),  # mov x8,#93; mov x0,#42; svc #0
}
"""What exits with 42 (exit(2))."""


def _program(architecture: str) -> bytes:
    """The smallest program that there is for an architecture (elf(5))."""
    number, code = sandbox_init.ELF_MACHINES[machine.KERNELS[architecture]], _CODE[architecture]
    start, head, row = 0x400000, 64, 56
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, number, 1, start + head + row, head, 0, 0, head, row, 1, 0, 0, 0)
    size = head + row + len(code)
    return ident + header + struct.pack("<IIQQQQQQ", 1, 5, 0, start, start, size, size, 0x10000) + code


_PLACE = "set XDG_CACHE_HOME to a folder on ext4, xfs or btrfs; in a container, to a volume"


def _file_system(folder: Path) -> str:
    """The type of the file system that a folder lies on."""
    number = os.stat(folder).st_dev
    wanted = f"{os.major(number)}:{os.minor(number)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        if words[2] == wanted:
            return words[words.index("-") + 1]
    return "unknown"


def _disk(edges: Edges) -> Finding:
    place = next(path for path in (edges.store.root, *edges.store.root.parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    found = f"{free / 1e9:.1f} GB free in {place}"
    if free < DISK:
        hint = "nova needs 10 GB; `imgbuild cache clean` empties the store, XDG_CACHE_HOME moves it"
        return Finding("disk", "optional" if free > DISK // 10 else "missing", found, hint)
    return Finding("disk", "ok", found)


def _memory() -> Finding:
    rows = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(rows["MemAvailable"].split()[0]) << 10
    found = f"{free / 1e9:.1f} GB available, {len(os.sched_getaffinity(0))} processors"
    return Finding("memory", "ok", found) if free >= MEMORY else Finding("memory", "optional", found, "build with -j1")


def _mirrors(catalog: Catalog) -> Iterator[Finding]:
    addresses: dict[str, str] = {}
    for definition in catalog.definitions():
        try:
            for source in packages.sources(catalog, definition):
                for suite in source.suites:
                    base = source.mirrored.rstrip("/")
                    place = suite.rstrip("/") if suite.endswith("/") else f"dists/{suite}"
                    addresses.setdefault(f"{base}/{place}/InRelease", base)
        except ImgbuildError:
            continue  # `check` tells of it.
    logins = credentials.read(wheels.netrc(catalog))
    ask: Callable[[str], str] = lambda url: fetch.problem(url, logins, MIRROR_SECONDS)  # noqa: E731
    with ThreadPoolExecutor(8) as pool:
        problems = dict(zip(addresses, pool.map(ask, addresses), strict=True))
    for base in dict.fromkeys(addresses.values()):
        wrong = [f"{url}: {problems[url]}" for url in addresses if addresses[url] == base and problems[url]]
        if wrong:
            hint = "is there a proxy (http_proxy), or a mirror (IMGBUILD_MIRROR)? --offline asks nobody"
            yield Finding("mirror", "missing", "; ".join(wrong), hint)
        else:
            yield Finding("mirror", "ok", base)


def _engine(kind: engine.Kind, edges: Edges) -> Finding:
    try:
        engine.connect(kind, edges.store)
    except EngineError as error:
        return Finding(kind, "optional", error.message, f"only --to {kind}: needs it: {error.hint}")
    return Finding(kind, "ok", "answers")
