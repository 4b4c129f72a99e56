"""A guest for hosts of virtual machines: Debian's kernel for clouds, and busybox as its first and only program."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.kit.debian_tools import tools

SAYS = "the guest is up"
_INIT = f"""\
#!/bin/busybox sh
/bin/busybox echo "{SAYS}"
exec /bin/busybox sleep 2147483647
"""


@dataclass(frozen=True, slots=True)
class Guest:
    """What a virtual machine boots from.

    Attributes:
        initramfs: a cpio archive; its ``/init`` tells the console what ``SAYS`` is, and waits.
    """

    kernel: Path
    initramfs: Path


def made(folder: Path) -> Guest:
    """Make one from packages of Debian 13."""
    found = tools(folder / "debian", ("linux-image-cloud-amd64", "busybox-static"))
    busybox = found.programs / "busybox"
    root = folder / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin/busybox").write_bytes(busybox.read_bytes())
    (root / "init").write_text(_INIT)
    for program in ("init", "bin/busybox"):
        (root / program).chmod(0o755)
    packed = subprocess.run(
        [busybox, "cpio", "-o", "-H", "newc"],
        cwd=root,
        input=b"init\nbin\nbin/busybox\n",
        capture_output=True,
        check=True,
    )
    (folder / "initramfs").write_bytes(packed.stdout)
    (kernel,) = (found.root / "boot").glob("vmlinuz-*")
    return Guest(kernel, folder / "initramfs")
