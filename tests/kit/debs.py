"""Packages made without dpkg: the same bytes on every machine."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

from builder.model.digest import Digest
from builder.model.lock import LockedPackage

TIME = 1_000_000_000


def deb(
    name: str, files: Mapping[str, str], version: str = "1", control: str = "", members: Mapping[str, str] | None = None
) -> tuple[LockedPackage, bytes]:
    """A package and its bytes.

    Args:
        files: text by path; ``-> target`` is a link, ``== path`` a hard link, ``+ text`` executable.
        control: further fields.
        members: of the control archive: ``postinst``, ``conffiles``.
    """
    fields = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: T <t@localhost>\nDescription: x\n{control}"
    told = {"control": fields, **(members or {})}
    parts = {
        "debian-binary": b"2.0\n",
        "control.tar": _tar({f"./{path}": text for path, text in told.items()}),
        "data.tar": _tar({f"./{path}": text for path, text in files.items()}),
    }
    data = b"!<arch>\n"
    for part, content in parts.items():
        header = f"{part:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
        data += header.encode() + content + b"\n" * (len(content) % 2)
    digest = Digest.of(data)
    path = f"pool/{name}_{version}_all.deb"
    return LockedPackage(name, version, "all", name, version, "s", "", path, len(data), digest.hex, "asked for"), data


def _tar(files: Mapping[str, str]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as tar:
        folders: set[str] = set()
        for path, text in files.items():
            parts = path.split("/")
            for depth in range(2, len(parts)):
                folder = "/".join(parts[:depth])
                if folder not in folders:
                    folders.add(folder)
                    tar.addfile(_member(folder + "/", type=tarfile.DIRTYPE, mode=0o755))
            if text.startswith("-> "):
                tar.addfile(_member(path, type=tarfile.SYMTYPE, mode=0o777, linkname=text[3:]))
            elif text.startswith("== "):
                tar.addfile(_member(path, type=tarfile.LNKTYPE, linkname=f"./{text[3:]}"))
            else:
                data = text.removeprefix("+ ").encode()
                mode = 0o755 if text.startswith("+ ") else 0o644
                tar.addfile(_member(path, size=len(data), mode=mode), io.BytesIO(data))
    return archive.getvalue()


def _member(name: str, **values: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mtime = TIME
    for key, value in values.items():
        setattr(info, key, value)
    return info
