"""What an image says of its layers, and how two images differ.

A manifest of ours says which packages lie in which layer; of an image without one (an engine keeps none) it is read
from the layers: each package layer carries dpkg's status of its own packages.
"""

from __future__ import annotations

from dataclasses import dataclass

from builder.errors import ImageError
from builder.formats import layer_reader, notes, untar
from builder.model.digest import Digest
from builder.model.image import Image, Layer


@dataclass(frozen=True, slots=True)
class LayerContents:
    """One layer.

    Attributes:
        kind: ``package``, ``wheel``, ``files``, ``state``, ``records``; empty for an image that is not ours.
        packages: (name, version), sorted.
    """

    digest: Digest
    diff_id: Digest
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
        layers_gone, layers_new: of the old and the new image alone, by what they hold, however compressed.
        bytes_new: what must be sent to who has the old image.
    """

    added: tuple[tuple[str, str], ...]
    removed: tuple[tuple[str, str], ...]
    changed: tuple[tuple[str, str, str], ...]
    layers_gone: tuple[LayerContents, ...]
    layers_new: tuple[LayerContents, ...]
    bytes_new: int


def layers(image: Image) -> tuple[LayerContents, ...]:
    """The layers of an image, bottom first.

    Raises:
        ImageError: they must be read and are damaged.
    """
    history = [entry for entry in image.configuration.get("history") or () if not entry.get("empty_layer")]
    comments = [str(entry.get("comment") or entry.get("created_by") or "") for entry in history]
    ours = any(layer.annotations for layer in image.layers)
    known: set[tuple[str, str]] = set()
    found = []
    for number, layer in enumerate(image.layers):
        said = dict(layer.annotations)
        if ours:
            packages = notes.packages(said)
        else:
            packages = set(_recorded(image, layer)) - known
            known |= packages
        comment = comments[number] if number < len(comments) else ""
        kind, definition = said.get(f"{notes.PREFIX}kind", ""), said.get(f"{notes.PREFIX}definition", "")
        found.append(
            LayerContents(layer.digest, layer.diff_id, layer.size, kind, definition, comment, tuple(sorted(packages)))
        )
    return tuple(found)


def difference(old: Image, new: Image) -> Difference:
    """How two images differ."""
    before, after = layers(old), layers(new)
    had = {name: version for layer in before for name, version in layer.packages}
    has = {name: version for layer in after for name, version in layer.packages}
    known, wanted = {layer.diff_id for layer in before}, {layer.diff_id for layer in after}
    fresh = tuple(layer for layer in after if layer.diff_id not in known)
    return Difference(
        tuple((name, has[name]) for name in sorted(has.keys() - had.keys())),
        tuple((name, had[name]) for name in sorted(had.keys() - has.keys())),
        tuple((n, had[n], has[n]) for n in sorted(had.keys() & has.keys()) if had[n] != has[n]),
        tuple(layer for layer in before if layer.diff_id not in wanted),
        fresh,
        sum(layer.size for layer in fresh),
    )


def _recorded(image: Image, layer: Layer) -> tuple[tuple[str, str], ...]:
    try:
        with image.blobs.open(layer.digest) as file:
            for info, data in untar.entries(untar.opened(file, layer.media_type)):
                if layer_reader.clean(info.name) == layer_reader.STATUS and data is not None:
                    return notes.recorded(data.read())
    except KeyError:
        raise ImageError(f"the layer {layer.digest} is missing") from None
    except untar.ERRORS as error:
        raise ImageError(f"the layer {layer.digest} is damaged: {error}") from None
    return ()
