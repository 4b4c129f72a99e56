"""Targets of the command line → the definitions that they mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dsl.catalog import Catalog, Definition


@dataclass(frozen=True, slots=True)
class Selection:
    """What is to be locked.

    Attributes:
        asked: the keys of the definitions that were asked for: a component's own, or a layer definition.
        definitions: these, what they stand on and what stands on them; those below before those above.
        images: the images among them.
    """

    asked: frozenset[str]
    definitions: tuple[Definition, ...]
    images: tuple[Definition, ...]


def images(catalog: Catalog, targets: Iterable[str]) -> tuple[Definition, ...]:
    """The image definitions that some targets mean; all of them if there is no target.

    Raises:
        DefinitionError: one of them is broken.
        UnknownTarget: there is no such thing.
    """
    names = tuple(targets) or tuple(component.name for component in catalog.components)
    return tuple({definition.key: definition for name in names for definition in catalog.find(name)}.values())


def definitions(images: Iterable[Definition]) -> tuple[Definition, ...]:
    """Every definition of some images' chains once, those below before those above."""
    found = {definition.key: definition for image in images for definition in image.chain()}
    return tuple(sorted(found.values(), key=lambda definition: len(definition.chain())))


def select(catalog: Catalog, targets: Iterable[str]) -> Selection:
    """What some targets of locking mean: components, images, layer definitions; everything if there is no target.

    Raises:
        DefinitionError: one of them is broken.
        UnknownTarget: there is no such thing.
    """
    every = [image for component in catalog.components for image in component.images]
    asked: dict[str, Definition] = {}
    names = tuple(targets)
    for name in names:
        for definition in _own(catalog, name):
            asked[definition.key] = definition
    if not names:
        # Of the layer definitions that ship, those that images stand on.
        own = (layer for layer in catalog.layers if layer.upstream_lock_path is None or layer.site)
        asked = {one.key: one for one in (*own, *definitions(every)) if not one.foreign}
    # A shared definition that moves takes along all that stands on it.
    standing = [image for image in every if any(part.key in asked for part in image.chain())]
    found = definitions((*asked.values(), *standing))
    return Selection(frozenset(asked), found, tuple(one for one in found if one.kind == "image"))


def standing_on(images: Iterable[Definition]) -> Selection:
    """Some images and what they stand on, of which nothing was asked to move."""
    wanted = tuple(images)
    return Selection(frozenset(), definitions(wanted), wanted)


def _own(catalog: Catalog, name: str) -> tuple[Definition, ...]:
    layers = tuple(layer for layer in catalog.layers if name in (layer.name, layer.versioned_name))
    if layers and not any(component.name == name for component in catalog.components):
        return layers
    found = catalog.find(name)
    return tuple(part for image in found for part in image.chain() if part.component == image.component)
