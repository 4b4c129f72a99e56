"""Valid images made from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

from builder.formats import oci
from builder.formats.tar import Entry, layer_writer
from builder.model.image import Image, Layer
from builder.tools.store import Store


def random_image(store: Store, *, layers: int, seed: int, compression: str = "") -> Image:
    """An image of small random layers; one of more layers begins with those of one of fewer.

    Args:
        compression: of all its layers; by chance if not given.
    """
    chance = random.Random(seed)
    made = []
    for number in range(layers):
        used = chance.choice(["gzip", "zstd"])
        files = {f"dir/file-{number}-{n}": chance.randbytes(chance.randrange(1, 5000)) for n in range(3)}
        entries: list[tuple[Entry, bytes | None]] = [(Entry("dir", "folder", 0o755), None)]
        if number:
            entries += [(Entry(f"dir/.wh.file-{number - 1}-0", "file", 0o644), b"")]
        entries += [(Entry(path, "file", 0o644, size=len(data)), data) for path, data in files.items()]
        entries += [(Entry(f"dir/link-{number}", "link", 0o777, target="anywhere" * 20), None)]
        entries += [(Entry(f"dir/second-{number}", "hardlink", 0o644, target=f"dir/file-{number}-1"), None)]
        layer = make_layer(store, sorted(entries, key=lambda pair: pair[0].path), compression or used)
        made.append(replace(layer, annotations=(("org.imgbuild.packages", f"p{number}=1"),)))
    return make_image(store, made)


def make_layer(store: Store, entries: Iterable[tuple[Entry, bytes | None]], compression: str = "gzip") -> Layer:
    """A layer of these entries."""
    with layer_writer(store, compression) as writer:
        for entry, data in entries:
            writer.add(entry, data)
    assert writer.layer
    return writer.layer


def make_image(store: Store, layers: list[Layer]) -> Image:
    """An image of these layers."""
    history = [f"layer {number}" for number in range(len(layers))]
    config = oci.config("amd64", "2025-01-01T00:00:00Z", {"Cmd": ["x"]}, layers, history)
    store.add(config)
    return Image(oci.manifest(config, layers), config, tuple(layers), store)
