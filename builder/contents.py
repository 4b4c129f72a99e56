"""What an image says of its layers, and how two images differ; from manifests alone."""

from __future__ import annotations

from dataclasses import dataclass

from builder.model.digest import Digest
from builder.model.image import Image

PREFIX = "org.imgbuild."


@dataclass(frozen=True, slots=True)
class LayerContents:
    """One layer.

    Attributes:
        kind: ``package``, ``files``, ``state``, ``records``; empty for an image that is not ours.
        packages: (name, version), sorted.
    """

    digest: Digest
    size: int
    kind: str
    definition: str
    comment: str
    packages: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """What is in one image and not in the other.

    Attributes:
        changed: (package, old version, new version).
        layers_gone, layers_new: of the old and the new image alone.
        bytes_new: what must be sent to who has the old image.
    """

    added: tuple[tuple[str, str], ...]
    removed: tuple[tuple[str, str], ...]
    changed: tuple[tuple[str, str, str], ...]
    layers_gone: tuple[LayerContents, ...]
    layers_new: tuple[LayerContents, ...]
    bytes_new: int


def layers(image: Image) -> tuple[LayerContents, ...]:
    """The layers of an image, bottom first."""
    comments = [
        entry.get("comment", "") for entry in image.configuration.get("history") or () if not entry.get("empty_layer")
    ]
    found = []
    for number, layer in enumerate(image.layers):
        said = dict(layer.annotations)
        packages = tuple(sorted(_pair(word) for word in said.get(f"{PREFIX}packages", "").split()))
        comment = comments[number] if number < len(comments) else ""
        kind, definition = said.get(f"{PREFIX}kind", ""), said.get(f"{PREFIX}definition", "")
        found.append(LayerContents(layer.digest, layer.size, kind, definition, comment, packages))
    return tuple(found)


def difference(old: Image, new: Image) -> Difference:
    """How two images differ."""
    before, after = layers(old), layers(new)
    had = {name: version for layer in before for name, version in layer.packages}
    has = {name: version for layer in after for name, version in layer.packages}
    known, wanted = {layer.digest for layer in before}, {layer.digest for layer in after}
    fresh = tuple(layer for layer in after if layer.digest not in known)
    return Difference(
        tuple((name, has[name]) for name in sorted(has.keys() - had.keys())),
        tuple((name, had[name]) for name in sorted(had.keys() - has.keys())),
        tuple((n, had[n], has[n]) for n in sorted(had.keys() & has.keys()) if had[n] != has[n]),
        tuple(layer for layer in before if layer.digest not in wanted),
        fresh,
        sum(layer.size for layer in fresh),
    )


def _pair(word: str) -> tuple[str, str]:
    name, _, version = word.partition("=")
    return name, version
