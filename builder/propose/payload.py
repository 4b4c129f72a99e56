"""What of a package tells how its service runs."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import BinaryIO

from builder.formats import deb, places

_READ = (
    "usr/lib/systemd/system/", "usr/lib/sysusers.d/", "usr/lib/tmpfiles.d/", "etc/",
)  # fmt: skip
_MAX_TEXT = 256 * 1024
_PROGRAMS = ("usr/bin/", "usr/sbin/", "usr/lib/", "usr/libexec/", "usr/share/")


@dataclass(frozen=True, slots=True)
class PackageFiles:
    """One package.

    Attributes:
        fields: of its control stanza.
        scripts: its preinst and postinst, together.
        texts: units, init scripts, configuration … by path without a leading ``/``.
        programs: executable files and links by path: the program that runs a script, where a link leads; empty for others.
        folders: the folders below /var and /etc that it brings.
        copyright: the text of its copyright file; empty if that is a link to another package's.
    """

    name: str
    fields: Mapping[str, str]
    scripts: str = ""
    texts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    programs: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    folders: tuple[str, ...] = ()
    copyright: str = ""


def read(file: BinaryIO, name: str) -> PackageFiles:
    """A package from its .deb.

    Raises:
        MakeError: it is no Debian package, or it is damaged.
    """
    control = deb.control(file, name)
    scripts = [control.get(member) or b"" for member in ("preinst", "postinst")]
    texts: dict[str, str] = {}
    programs: dict[str, str] = {}
    folders: list[str] = []
    copyright_ = ""
    with deb.payload(file, name) as entries:
        for info, stream in entries:
            try:
                path = places.canonical(info.name)
            except ValueError:
                continue
            if info.isdir() and path.startswith(("var/", "etc/")):
                folders.append("/" + path)
            elif info.issym() and path.startswith(_PROGRAMS[:2]):
                target = posixpath.normpath(posixpath.join("/", posixpath.dirname(path), info.linkname))
                programs[path] = "/" + places.canonical(target)
            elif info.isreg() and path == f"usr/share/doc/{name}/copyright" and stream and info.size <= _MAX_TEXT:
                copyright_ = stream.read(_MAX_TEXT).decode(errors="replace")
            elif info.isreg():
                wanted = path.startswith(_READ) and info.size <= _MAX_TEXT
                runs = bool(info.mode & 0o111) and path.startswith(_PROGRAMS)
                if not (wanted or runs):
                    continue
                data = stream.read(_MAX_TEXT if wanted else 100) if stream else b""
                if runs:
                    line = data.partition(b"\n")[0].decode(errors="replace")
                    programs[path] = line[2:].strip() if line.startswith("#!") else ""
                if wanted and b"\0" not in data:
                    texts[path] = data.decode(errors="replace")
    text = "\n".join(script.decode(errors="replace") for script in scripts)
    return PackageFiles(
        name,
        control.fields,
        text,
        MappingProxyType(texts),
        MappingProxyType(programs),
        tuple(sorted(folders)),
        copyright_,
    )


def is_shell(word: str) -> bool:
    """Whether a program is a shell."""
    return posixpath.basename(word) in ("sh", "bash", "dash")
