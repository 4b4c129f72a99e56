"""``python -m tests.kit.one_layer STORE PACKAGE…``: the digests of a layer of some .deb files, and of byte code."""

from __future__ import annotations

import json
import marshal
import sys
from pathlib import Path

from builder.errors import MakeError
from builder.formats import deb
from builder.make import package_layer
from builder.model.digest import CacheKey, Digest
from builder.model.lock import LockedPackage
from builder.model.plan import LeaveOutRules, PackageLayerPlan
from builder.tools.store import Store


def main(folder: str, files: list[str]) -> None:
    """Print what comes out, or why nothing does, by compression."""
    store = Store(Path(folder))
    packages = []
    for name in files:
        data = Path(name).read_bytes()
        digest = store.add(data)
        with store.open(digest) as file:
            fields = deb.control(file, name).fields
        packages.append(
            LockedPackage(
                fields["Package"], fields["Version"], fields["Architecture"], fields["Package"], fields["Version"],
                "test", "", name, len(data), digest.hex, "asked for",
            )
        )  # fmt: skip
    found: dict[str, list[str]] = {}
    for compression in ("gzip", "zstd"):
        key = CacheKey.of("test", [compression, files])
        plan = PackageLayerPlan(
            key, "test", "bin-00", False, tuple(packages), LeaveOutRules(("docs",)), (), compression
        )
        try:
            layer = package_layer.make(plan, store, trees=True).layer
            found[compression] = [layer.digest, layer.diff_id]
        except MakeError as error:
            found[compression] = [error.message]
    source = Path(json.__file__).with_name("decoder.py").read_text()
    found["byte code"] = [
        Digest.of(marshal.dumps(compile(source, "/usr/lib/python3/decoder.py", "exec", dont_inherit=True)))
    ]
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
