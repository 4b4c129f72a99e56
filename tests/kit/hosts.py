"""Other machines, as far as another root is one: Debian releases by mmdebstrap, entered as a container would be."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.kit.project import ROOT

MIRROR = "http://deb.debian.org/debian"
PACKAGES = "python3-venv,ca-certificates,git,uidmap,gpgv,mount"
"""What ``tools/set-up run`` asks for, so that it installs nothing more; and ``umount``."""
# A user namespace is refused in a plain chroot, so the root is really changed.
_ENTER = """\
set -e
root=$1; shift
mount --make-rprivate /
mount --bind "$root" "$root"
for place in $1; do mkdir -p "$root$place"; mount --rbind "$place" "$root$place"; done
shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -t tmpfs tmpfs "$root/run"
mkdir -p "$root/old"
cd "$root"
pivot_root . old
umount -l /old
cd "$1"; shift
exec "$@"
"""


class Host:
    """A root of another release, which sees some folders where they are.

    Args:
        seen: folders that are the same within.
    """

    def __init__(self, root: Path, seen: Sequence[Path]) -> None:
        self.root = root
        self._seen = " ".join(map(str, seen))

    def run(self, *words: str, cwd: Path, env: Mapping[str, str] | None = None) -> str:
        """Run a command in it: what it says on standard output."""
        inherited = {
            key: value
            for key, value in os.environ.items()
            if key.startswith("PIP_") or key.lower().endswith("_proxy") or key == "IMGBUILD_MIRROR"
        }
        told = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            **inherited,
            **(env or {}),
        }
        result = subprocess.run(
            ["unshare", "--mount", "--uts", "--ipc", "sh", "-c", _ENTER, "sh", self.root, self._seen, cwd, *words],
            env=told, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr + result.stdout
        return result.stdout


@contextmanager
def debian(suite: str, folder: Path, seen: Sequence[Path]) -> Iterator[Host]:
    """A minimal Debian with what imgbuild needs, and this machine's way to pip's index and Debian's mirror."""
    root = folder / suite
    keyring = ROOT / "layers/keyrings/debian-archive.gpg"
    mirror = os.environ.get("IMGBUILD_MIRROR", MIRROR)
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=apt", f"--keyring={keyring}", f"--include={PACKAGES}", suite, root, mirror],
        check=True, capture_output=True,
    )  # fmt: skip
    places = []
    for file in (
        Path("/etc/pip.conf"),
        Path("/etc/resolv.conf"),
        Path("/etc/hosts"),
        Path("/etc/ssl/certs/ca-certificates.crt"),
    ):
        if file.exists():
            (root / file.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
            (root / file.relative_to("/")).unlink(missing_ok=True)
            shutil.copy(file, root / file.relative_to("/"))
    if Path("/etc/pip.conf").exists():
        places += [word for word in _words(Path("/etc/pip.conf")) if Path(word).is_dir()]
    places += [
        word
        for key, value in os.environ.items()
        if key.startswith("PIP_")
        for word in value.split()
        if Path(word).is_dir()
    ]
    try:
        yield Host(root, (*seen, *map(Path, places)))
    finally:
        shutil.rmtree(root)


def _words(file: Path) -> list[str]:
    read = configparser.RawConfigParser()
    read.read(file)
    return [
        word.removeprefix("file://") for section in read for value in read[section].values() for word in value.split()
    ]
