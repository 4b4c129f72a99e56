"""Learn from Debian's history which source packages are patched often: ``python -m bench.learn_sources``.

A version tells how often a stable release's package was updated (``+deb13u5``: five times); a package that the
security suite has newer than the main suite was updated since the last point release. The table that ships
(``builder/plan/hot_sources.yaml``) names those updated most often, the most often patched first.
"""

from __future__ import annotations

import lzma
import re
from collections import Counter
from pathlib import Path

import httpx

from builder.formats import deb

MIRROR = "http://deb.debian.org"
SUITES = (
    "debian/dists/bookworm/main",
    "debian/dists/trixie/main",
    "debian-security/dists/bookworm-security/main",
    "debian-security/dists/trixie-security/main",
)
TARGET = Path(__file__).parent.parent / "builder/plan/hot_sources.yaml"
AT_LEAST = 2
_UPDATE = re.compile(r"[+~]deb(\d+)u(\d+)")


def updates(text: str) -> Counter[str]:
    """How often each source package of an index was updated."""
    found: Counter[str] = Counter()
    for stanza in text.split("\n\n"):
        fields = deb.fields(stanza)
        if "Package" not in fields:
            continue
        source, _, version = fields.get("Source", fields["Package"]).partition(" ")
        match = _UPDATE.search(version.strip("()") or fields["Version"])
        if match:
            found[source] = max(found[source], int(match[2]))
    return found


def main() -> None:
    """Read the indexes and write the table."""
    total: Counter[str] = Counter()
    by_release: dict[tuple[str, str], int] = {}
    for suite in SUITES:
        answer = httpx.get(f"{MIRROR}/{suite}/binary-amd64/Packages.xz", timeout=60, follow_redirects=True)
        answer.raise_for_status()
        release = "bookworm" if "bookworm" in suite else "trixie"
        for source, count in updates(lzma.decompress(answer.content).decode("utf-8", "replace")).items():
            by_release[source, release] = max(by_release.get((source, release), 0), count)
    for (source, _), count in by_release.items():
        total[source] += count
    ranked = sorted((-count, source) for source, count in total.items() if count >= AT_LEAST)
    lines = [
        "# Source packages that are patched often, the most often patched first, with the updates counted in Debian 12",
        "# and 13. Made by `python -m bench.learn_sources`; changing it changes layers, so it belongs to the rules.",
        "sources:",
        *(f"- {source}  # {-count}" for count, source in ranked),
    ]
    TARGET.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
