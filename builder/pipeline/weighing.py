"""Locks of what was built → how many bytes each definition brings, and what images share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from builder.model.digest import Digest
from builder.pipeline import locking, packages
from dsl.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Weights:
    """Bytes of layers as they are stored and sent, compressed.

    Attributes:
        own: of the layers that a definition itself brings, by its key; none for what was not built yet.
        images: of all layers of an image, by its key.
        together: of all images, each counted alone.
        once: of all images, each layer once.
    """

    own: Mapping[str, int]
    images: Mapping[str, int]
    together: int
    once: int


def weigh(catalog: Catalog) -> Weights:
    """What every definition of a workspace weighs; needs neither store nor network."""
    definitions = tuple(catalog.definitions())
    locks = locking.read(definitions, packages.architecture(catalog))
    layers: dict[str, dict[Digest, int]] = {
        key: {row.digest: row.size for row in lock.built} for key, lock in locks.items() if lock.built
    }
    own = {key: sum(found.values()) for key, found in layers.items()}
    images = {
        image.key: sum(own[part.key] for part in image.chain())
        for component in catalog.components
        for image in component.images
        if all(part.key in own for part in image.chain())
    }
    counted = {
        part.key
        for component in catalog.components
        for one in component.images
        if one.key in images
        for part in one.chain()
    }
    every = {digest: size for key in counted for digest, size in layers[key].items()}
    return Weights(own, images, sum(images.values()), sum(every.values()))
