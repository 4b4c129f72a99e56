"""Layers, how it runs and labels → an image; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from builder.formats import oci, places
from builder.formats.notes import PREFIX
from builder.make.epoch import EPOCH
from builder.model.digest import CacheKey
from builder.model.image import Blobs, Image, Layer
from builder.model.lock import Artifact
from builder.model.plan import (
    FilesLayerPlan,
    ImagePlan,
    LayerPlan,
    MadeLayer,
    PackageLayerPlan,
    StateLayerPlan,
    WheelLayerPlan,
    kind,
)

_SHOWN = 6
_LAST = 253402300799
"""The end of the year 9999: what a time in words can hold."""


def image(plan: ImagePlan, made: Mapping[CacheKey, MadeLayer], blobs: Blobs) -> Image:
    """The image of a plan whose layers have all been made."""
    layers = tuple(_described(layer, made[layer.cache_key].layer) for layer in plan.layers)
    newest = max((made[layer.cache_key].newest for layer in plan.layers), default=0)
    created = datetime.fromtimestamp(min(newest or EPOCH, _LAST), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    history = [sentence(layer) for layer in plan.layers]
    config = oci.config(plan.architecture, created, json.loads(plan.config), layers, history)
    return Image(oci.manifest(config, layers), config, layers, blobs)


def sentence(layer: LayerPlan) -> str:
    """What a layer holds, in words."""
    match layer:
        case PackageLayerPlan():
            return f"packages of {layer.definition}: {_named(layer.packages)}"
        case WheelLayerPlan():
            return f"wheels of {layer.definition} in /opt/{layer.environment}: {_named(layer.wheels)}"
        case FilesLayerPlan():
            return f"files of {layer.definition}"
        case StateLayerPlan():
            return f"configuration of {layer.definition}"
        case _:
            return f"dpkg's status of {layer.definition} and all below"


def _named(held: Sequence[Artifact]) -> str:
    names = [f"{p.name} {p.version}" for p in held[:_SHOWN]]
    more = len(held) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _described(plan: LayerPlan, layer: Layer) -> Layer:
    annotations = {
        f"{PREFIX}kind": kind(plan),
        f"{PREFIX}definition": plan.definition,
        f"{PREFIX}cache-key": str(plan.cache_key),
    }
    if isinstance(plan, PackageLayerPlan):
        annotations[f"{PREFIX}source-packages"] = " ".join(sorted({p.source_package for p in plan.packages}))
        annotations[f"{PREFIX}packages"] = " ".join(f"{p.name}={p.version}" for p in plan.packages)
        # In the same order: so an image leads to its packages' bytes wherever it lies.
        annotations[f"{PREFIX}sha256"] = " ".join(p.sha256 for p in plan.packages)
    if isinstance(plan, WheelLayerPlan):
        annotations[f"{PREFIX}packages"] = " ".join(f"{w.title}={w.version}" for w in plan.wheels)
        annotations[f"{PREFIX}sha256"] = " ".join(w.sha256 for w in plan.wheels)
    if isinstance(plan, StateLayerPlan) and plan.early_files:
        # Among what scripts made nobody could tell them.
        annotations[f"{PREFIX}files"] = json.dumps(sorted(places.placed(file.path) for file in plan.early_files))
    return replace(layer, annotations=tuple(sorted(annotations.items())))
