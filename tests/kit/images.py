"""Valid images made from a seed."""

from __future__ import annotations

import random
from dataclasses import replace

from builder.formats import oci
from builder.formats.tar import Entry, layer_writer
from builder.model.image import Image
from builder.tools.store import Store


def random_image(store: Store, *, layers: int, seed: int) -> Image:
    """An image whose layers are small random files; one of more layers begins with those of one of fewer."""
    chance = random.Random(seed)
    made = []
    for number in range(layers):
        data = chance.randbytes(chance.randrange(1, 5000))
        with layer_writer(store, chance.choice(["gzip", "zstd"])) as writer:
            writer.add(Entry(f"file-{number}", "file", 0o644, size=len(data)), data)
        assert writer.layer
        made.append(replace(writer.layer, annotations=(("org.imgbuild.packages", f"p{number}=1"),)))
    config = oci.config("amd64", "2025-01-01T00:00:00Z", {"Cmd": ["x"]}, made, [f"layer {n}" for n in range(layers)])
    store.add(config)
    return Image(oci.manifest(config, made), config, tuple(made), store)
