"""Learn from Debian's history which source packages are patched often.

``python -m bench.learn_sources CACHE_FOLDER`` writes ``builder/plan/hot_sources.yaml``; CACHE_FOLDER keeps the
indexes that it downloads.

A version tells how often a stable release's package was updated (``+deb13u5``: five times). Where the security
suite has another upstream version than the main suite (``3.5.7-1~deb13u3`` and ``3.5.9-1~deb13u1``) the counter began
anew, so both counts are added. The table is sorted by updates per byte, since a fix makes what lies above its layer be
unpacked again: small and often patched goes on top.
"""

from __future__ import annotations

import lzma
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
from debian import debian_support

from builder.formats import deb

MIRROR = "http://deb.debian.org"
RELEASES = ("bookworm", "trixie")
TARGET = Path(__file__).parent.parent / "builder/plan/hot_sources.yaml"
AT_LEAST = 2
"""Updates that make a source one that is patched often."""
SMALL = 50_000
"""Bytes below which sources count as equally small."""
_NOT_IN_IMAGES = re.compile(r"-(dev|doc|dbg|source|tests?|examples)$")
_UPDATE = re.compile(r"[+~]deb\d+u(\d+)")


def index(cache: Path, suite: str) -> str:
    """The Packages index of a suite's main component, from the cache or the mirror."""
    path = cache / f"{suite}.xz"
    if not path.exists():
        archive = "debian-security" if suite.endswith("-security") else "debian"
        address = f"{MIRROR}/{archive}/dists/{suite}/main/binary-amd64/Packages.xz"
        answer = httpx.get(address, timeout=60, follow_redirects=True)
        answer.raise_for_status()
        cache.mkdir(parents=True, exist_ok=True)
        path.write_bytes(answer.content)
    return lzma.decompress(path.read_bytes()).decode("utf-8", "replace")


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """The packages of an index."""
    for stanza in text.split("\n\n"):
        fields = deb.fields(stanza)
        if "Package" in fields:
            yield fields


def versions(text: str) -> dict[str, str]:
    """The version of each source package of an index; the one with the highest counter, if there are several."""
    found: dict[str, str] = {}
    for fields in stanzas(text):
        source, _, version = fields.get("Source", fields["Package"]).partition(" ")
        version = version.strip("()") or fields["Version"]
        if source not in found or updates_in(version) > updates_in(found[source]):
            found[source] = version
    return found


def updates_in(version: str) -> int:
    """How many updates a version tells of."""
    match = _UPDATE.search(version)
    return int(match[1]) if match else 0


def updates(main: str, security: str) -> Counter[str]:
    """How often each source package of a release was updated, from the two indexes of the release."""
    ours, theirs = versions(main), versions(security)
    found: Counter[str] = Counter()
    for source in ours.keys() | theirs.keys():
        here, there = ours.get(source, ""), theirs.get(source, "")
        counts = updates_in(here), updates_in(there)
        same = _UPDATE.sub("", here) == _UPDATE.sub("", there)
        found[source] = max(counts) if same else sum(counts)
    return +found


def ahead(main: str, security: str) -> frozenset[str]:
    """The sources of which the security suite has another, later update than the main suite."""
    ours, theirs = versions(main), versions(security)
    return frozenset(
        source
        for source, version in theirs.items()
        if source in ours and debian_support.version_compare(version, ours[source]) > 0
    )


def release(cache: Path, name: str) -> tuple[str, str]:
    """The indexes of a release: main and security suite."""
    return index(cache, name), index(cache, f"{name}-security")


def history(cache: Path) -> dict[str, Counter[str]]:
    """The updates of each release."""
    return {name: updates(*release(cache, name)) for name in RELEASES}


def sizes(texts: Iterable[str]) -> dict[str, int]:
    """Bytes of each source's binary packages, but for those that images do not have; the largest of all indexes."""
    found: dict[str, int] = {}
    for text in texts:
        here: Counter[str] = Counter()
        for name, fields in {fields["Package"]: fields for fields in stanzas(text)}.items():
            if not _NOT_IN_IMAGES.search(name):
                here[fields.get("Source", name).partition(" ")[0]] += int(fields["Size"])
        for source, size in here.items():
            found[source] = max(size, found.get(source, 0))
    return found


def write(path: Path, counts: Counter[str], *indexes: str) -> None:
    """Write a table of the sources that were updated often."""
    size = sizes(indexes)
    listed = [source for source, count in counts.items() if count >= AT_LEAST]
    listed.sort(key=lambda source: (-counts[source] / max(size.get(source, 0), SMALL), source))
    lines = [
        "# Source packages that are patched often, with their updates in Debian 12 and 13; by updates per byte, the top of",
        "# an image first. Made by `python -m bench.learn_sources`; changing it changes layers, so it belongs to the rules.",
        "sources:",
        *(f"  {source}: {counts[source]}" for source in listed),
    ]
    path.write_text("\n".join(lines) + "\n")


def main(cache: Path) -> None:
    """Read the indexes and write the table that ships."""
    write(TARGET, sum(history(cache).values(), Counter()), *(index(cache, name) for name in RELEASES))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m bench.learn_sources CACHE_FOLDER")
    main(Path(sys.argv[1]))
