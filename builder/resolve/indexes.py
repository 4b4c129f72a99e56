"""The package indexes that apt has read, searched as files: by checksum, in every source and suite at once."""

from __future__ import annotations

import mmap
import re
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from builder.formats import deb


@dataclass(frozen=True, slots=True)
class Index:
    """The packages of one component of a suite, for one architecture.

    Attributes:
        source: the name of the definition's source.
        suite: as the source names it.
        uri: of the repository.
        path: the index file in apt's lists.
        archive, codename, origin, label, version: what the Release file says of itself.
    """

    source: str
    suite: str
    component: str
    uri: str
    path: Path
    archive: str = ""
    codename: str = ""
    origin: str = ""
    label: str = ""
    version: str = ""

    def find(self, field: str, wanted: Container[str] | None = None) -> Iterator[tuple[str, int]]:
        """The values of a field and where in the file each stands; the field must not be a stanza's first.

        Args:
            wanted: only these values.
        """
        mark = f"\n{field}: ".encode()
        with self._open() as data:
            at = data.find(mark)
            while at >= 0:
                end = data.find(b"\n", at + len(mark))
                value = data[at + len(mark) : end if end >= 0 else len(data)].decode("utf-8", "surrogateescape").strip()
                if wanted is None or value in wanted:
                    yield value, at
                at = data.find(mark, at + len(mark))

    def exactly(self, field: str, value: str) -> Iterator[int]:
        """Where in the file a field has a value."""
        mark = f"\n{field}: {value}\n".encode("utf-8", "surrogateescape")
        with self._open() as data:
            at = data.find(mark)
            while at >= 0:
                yield at
                at = data.find(mark, at + len(mark) - 1)

    def stanza(self, at: int) -> dict[str, str]:
        """The fields of the stanza around a place that ``find`` gave."""
        with self._open() as data:
            first, last = data.rfind(b"\n\n", 0, at), data.find(b"\n\n", at)
            text = data[first + 2 if first >= 0 else 0 : last if last >= 0 else len(data)]
            return deb.fields(text.decode("utf-8", "surrogateescape"))

    @contextmanager
    def _open(self) -> Iterator[mmap.mmap | bytes]:
        if self.path.stat().st_size == 0:
            yield b""
            return
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data

    def below(self, uri: str) -> str:
        """What an address that apt gives names below the repository, as ``Filename`` does; "" if it is not there."""
        base, found = _plain(self.uri), _plain(uri)
        return found[len(base) :].removeprefix("./") if found.startswith(base) else ""


def _plain(uri: str) -> str:
    # file:///x and file:/x are one; credentials are not shown by apt
    return re.sub(r"^file:/+", "file:/", unquote(uri))


def parse(targets: str) -> tuple[Index, ...]:
    """What ``apt-get indextargets`` lists, in the order of the sources' names and as they list their suites."""
    found = []
    for text in targets.split("\n\n"):
        fields = deb.fields(text)
        if fields.get("Created-By") != "Packages":
            continue
        entry, _, line = fields["Sourcesentry"].rpartition(":")
        index = Index(
            Path(entry).name.removesuffix(".sources").partition("-")[2], fields.get("Release", ""), fields.get("Component", ""),
            fields["Repo-URI"], Path(fields["Filename"]),
            *(fields.get(key, "") for key in ("Suite", "Codename", "Origin", "Label", "Version")),
        )  # fmt: skip
        found.append((index.source, int(line), index.component, index))
    return tuple(index for *_, index in sorted(found, key=lambda entry: entry[:3]))


def list_name(uri: str) -> str:
    """The name that apt gives the file of an address in its lists."""
    plain = re.sub(r"^[a-z]+:(?://)?(?:[^/@]*@)?", "", uri)
    return re.sub(r'[\\|{}\[\]<>"^~_=!@#$%&*]', lambda found: f"%{ord(found[0]):02x}", plain).replace("/", "_")
