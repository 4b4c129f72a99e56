"""The ordinary way: the same packages, at the same versions, installed by mmdebstrap, apt and dpkg into an empty root.

They come from a folder with an index of exactly these packages, so apt's solver has no choice, and there is no network. What
a definition says beside its packages is done with dpkg's own tools: files that must be there before configuring,
answers, users, statoverrides, alternatives. Nothing of the making of layers is used here but the rules of what is left
out, as the lines for dpkg that the image itself has.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from builder.errors import CompareError
from builder.formats import deb
from builder.make.epoch import EPOCH, HOSTS
from builder.make.leave_out import dpkg_cfg
from builder.model.digest import Digest
from builder.model.lock import LockedPackage
from builder.model.plan import FileEntry, LeaveOutRules, StateLayerPlan
from builder.tools import process, sandbox_init
from builder.tools.store import Store

PROGRAM = "mmdebstrap"
HINT = f"as root, apt-get install {PROGRAM}"
_NAMESPACES = ("unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child")
_BEGIN = """\
import os, runpy, sys
runpy.run_path(sys.argv[1])["name_machine"]()
os.execvp(sys.argv[2], sys.argv[2:])
"""
_TAIL = 15


def install(state: StateLayerPlan, store: Store, folder: Path, log: Path) -> Path:
    """Install the packages of a chain.

    To be called where files can have all owners.

    Args:
        state: the topmost of the chain; the store has its packages and files.
        folder: an empty one.
        log: where all goes that is said.

    Returns:
        The tar of the root.

    Raises:
        CompareError: mmdebstrap is not there, or failed.
    """
    chain = state.chain()
    packages = tuple(package for part in chain for package in part.packages)
    repository = folder / "repository"
    repository.mkdir()
    _publish(packages, store, repository)
    files = folder / "files"
    files.mkdir()
    tar = folder / "root.tar"
    work = folder / "work"
    work.mkdir()
    hooks = {
        "setup": setup_hook(frozenset(package.name for package in packages), man="man" not in state.leave_out.kinds),
        "essential": _early(chain, store, files) + answers_hook(chain),
        "customize": customize_hook(chain),
    }
    argv = [*_NAMESPACES, sys.executable, "-I", "-c", _BEGIN, sandbox_init.__file__, PROGRAM]
    argv += ["--mode=root", "--variant=essential", f"--architectures={state.architecture}", "--format=tar"]
    argv += [f"--include={package.name}={package.version}" for package in packages]
    argv += [f"--dpkgopt={line}" for line in options(state)]
    for name, script in hooks.items():
        file = folder / name
        file.write_text(script)
        file.chmod(0o755)
        argv.append(f"--{name}-hook={file}")
    argv += ['--aptopt=APT::Sandbox::User "root"', "", str(tar), f"deb [trusted=yes] copy:{repository} ./"]
    environment = {"SOURCE_DATE_EPOCH": str(EPOCH), "TMPDIR": str(work), "HOME": "/root"}
    try:
        done = process.run(argv, env=environment, check=False)
    except FileNotFoundError as error:
        raise CompareError(f"{error.filename} is not installed", HINT) from None
    log.write_bytes(done.stdout + done.stderr)
    if done.code:
        raise CompareError(
            f"{PROGRAM} ended with {done.code}: the packages cannot be installed the ordinary way\n{_why(done.errors)}",
            f"all that it said is in {log}",
        )
    return tar


def _why(said: str) -> str:
    """What was said before the first package failed; if none did, at the end."""
    lines = said.splitlines()
    first = next(
        (number for number, line in enumerate(lines) if line.startswith("dpkg: error processing")), len(lines) - 1
    )
    return "\n".join(lines[max(first - _TAIL, 0) : first + 2])


def options(state: StateLayerPlan) -> tuple[str, ...]:
    """What dpkg is told, as its configuration has it: of what is left out, that which all definitions of the chain do."""
    chain = [part.leave_out for part in state.chain()]
    kinds = frozenset(chain[0].kinds).intersection(*(rules.kinds for rules in chain))
    keep = {path for rules in chain for path in rules.keep}
    lines = dpkg_cfg(LeaveOutRules(tuple(sorted(kinds)), tuple(sorted(keep)))).splitlines()
    return ("force-unsafe-io", "force-confold", "force-confdef", *(line for line in lines if not line.startswith("#")))


def setup_hook(packages: Container[str], *, man: bool = True) -> str:
    """Before anything is unpacked: instead of files of this machine, which mmdebstrap has brought, a machine's that knows itself.

    Debian 12's base-files brings no links of a merged /usr: as every installer there, we make them. And as who leaves out
    manual pages must, their folders: update-alternatives fails without (openjdk).

    Args:
        man: whether packages bring those folders.
    """
    lines = ["#!/bin/sh", "set -eu", 'rm -f "$1/etc/hostname" "$1/etc/resolv.conf"', 'mkdir -p "$1/etc"']
    lines.append(f'printf %s {shlex.quote(HOSTS)} > "$1/etc/hosts"')
    if "usr-is-merged" in packages:
        lines += [f'mkdir -p "$1/usr/{name}"; ln -s usr/{name} "$1/{name}"' for name in ("bin", "lib", "lib64", "sbin")]
    if not man:
        lines += [f'mkdir -p "$1/usr/share/man/man{section}"' for section in range(1, 9)]
    return "".join(f"{line}\n" for line in lines)


def answers_hook(chain: Iterable[StateLayerPlan]) -> str:
    """When the essential packages are installed: debconf is told the answers."""
    lines = "".join(f"{a.package} {a.question} {a.type} {a.value}\n" for part in chain for a in part.debconf)
    return f'printf %s {shlex.quote(lines)} | chroot "$1" debconf-set-selections\n' if lines else ""


def customize_hook(chain: Iterable[StateLayerPlan]) -> str:
    """When all packages are installed: users that only the definition makes, statoverrides, alternatives."""
    lines = ["#!/bin/sh", "set -eu"]
    for part in chain:
        made = [user for user in part.users if user.name in part.create_users]
        gids = {user.gid for user in made}
        for group in part.groups:
            if group.gid in gids or group.name in part.create_users:
                lines += _unless("group", group.name, (
                    ("group", f"{group.name}:x:{group.gid}:"), ("gshadow", f"{group.name}:!::"),
                ))  # fmt: skip
        for user in made:
            passwd = f"{user.name}:x:{user.uid}:{user.gid}:{user.comment}:{user.home}:{user.shell}"
            lines += _unless("passwd", user.name, (
                ("passwd", passwd), ("shadow", f"{user.name}:!:{EPOCH // 86400}::::::"),
            ))  # fmt: skip
        for name, group_name in part.user_groups:
            lines.append(f'chroot "$1" usermod -a -G {shlex.quote(group_name)} {shlex.quote(name)}')
        for entry in part.statoverrides:
            words = ("--force-statoverride-add", "--update", "--add", entry.owner, entry.group, entry.mode, entry.path)
            lines.append(f'chroot "$1" dpkg-statoverride {shlex.join(words)}')
        for name, path in part.alternatives:
            lines.append(f'chroot "$1" update-alternatives --quiet --set {shlex.join((name, path))}')
    return "".join(f"{line}\n" for line in lines)


def _unless(file: str, name: str, lines: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield f'if ! grep -q {shlex.quote(f"^{name}:")} "$1/etc/{file}"; then'
    for where, line in lines:
        if where in ("shadow", "gshadow"):
            yield f'  [ -e "$1/etc/{where}" ] || install -m 0000 /dev/null "$1/etc/{where}"'
        yield f'  echo {shlex.quote(line)} >> "$1/etc/{where}"'
    yield "fi"


def _early(chain: Iterable[StateLayerPlan], store: Store, folder: Path) -> str:
    lines = ["#!/bin/sh", "set -eu"]
    entries = [entry for part in chain for entry in part.early_files]
    for number, entry in enumerate(entries):
        place = f'"$1"{shlex.quote(entry.path)}'
        lines.append(f'mkdir -p "$1"{shlex.quote(os.path.dirname(entry.path))}')
        lines += _put(entry, place, folder / str(number), store)
    return "".join(f"{line}\n" for line in lines)


def _put(entry: FileEntry, place: str, file: Path, store: Store) -> Iterator[str]:
    if entry.kind == "folder":
        yield f"mkdir -p {place}"
    elif entry.kind == "link":
        yield f"ln -sfn {shlex.quote(entry.target)} {place}"
    else:
        assert entry.content is not None
        file.write_bytes(store.read(entry.content))
        yield f"cp {shlex.quote(str(file))} {place}"
    yield f"chown -h {entry.uid}:{entry.gid} {place}"
    if entry.kind != "link":
        yield f"chmod {entry.mode:04o} {place}"


def _publish(packages: Iterable[LockedPackage], store: Store, folder: Path) -> None:
    """An index of these packages, and links to them."""
    stanzas = []
    for package in packages:
        digest = Digest.from_hex(package.sha256)
        name = f"{package.sha256}.deb"
        (folder / name).symlink_to(store.path(digest).absolute())
        with store.open(digest) as file:
            control = deb.control(file, package.name).stanza.strip("\n")
        stanzas.append(f"{control}\nFilename: ./{name}\nSize: {package.size}\nSHA256: {package.sha256}\n")
    (folder / "Packages").write_text("\n".join(stanzas), errors="surrogateescape")
