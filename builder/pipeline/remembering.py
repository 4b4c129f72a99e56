"""What is left of a build beside its images: a log of each, and in the locks what layers turned out to be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from builder.formats import lockfile
from builder.make import assemble
from builder.model.digest import CacheKey
from builder.model.lock import BuiltLayer, LockFile
from builder.model.plan import ImagePlan, StateLayerPlan
from builder.pipeline import locking
from builder.pipeline.locking import Locks
from builder.pipeline.making import Made
from builder.tools.store import Store
from dsl.catalog import Definition


def log(plan: ImagePlan, made: Made, store: Store, status: str, said: str) -> Path:
    """Write the file that tells more of an image: of its layers, and what the scripts of their packages said.

    Args:
        said: its digest, or why there is none.
    """
    path = _log(plan, store)
    if status == "reused" and path.exists():
        return path
    parts = [f"{plan.image}:{plan.tag} {status} {said}\n\n".encode()]
    for layer in plan.layers:
        done = made.layers.get(layer.cache_key)
        word = "reused" if layer.cache_key in made.reused else "made" if done else "missing"
        size = f" {done.layer.size} bytes {done.layer.digest}" if done else ""
        parts.append(f"{word} {assemble.sentence(layer)}{size}\n".encode())
        told = store.log(layer.cache_key)
        if isinstance(layer, StateLayerPlan) and word != "reused" and told.exists():
            parts.append(b"".join(b"  | " + line for line in told.read_bytes().splitlines(keepends=True)))
    store.write_file(path, b"".join(parts))
    return path


def logged(plan: ImagePlan, store: Store) -> bool:
    """Whether an image was made here before."""
    return _log(plan, store).exists()


def _log(plan: ImagePlan, store: Store) -> Path:
    return store.log(f"{plan.image}-{plan.tag}")


def layers(built: Iterable[tuple[Definition, ImagePlan, Locks]], made: Made) -> None:
    """Write into locks what their layers turned out to be; those from elsewhere are left alone.

    Args:
        built: images, and the locks that hold for them.
    """
    images = tuple(built)
    rows: dict[str, dict[CacheKey, BuiltLayer]] = {}
    for image, plan, _ in images:
        for part in image.chain():
            if part.foreign:
                continue
            for plan_layer in plan.layers:
                done = made.layers.get(plan_layer.cache_key)
                if done and plan_layer.definition == part.name:
                    layer = done.layer
                    row = BuiltLayer(done.cache_key, layer.digest, layer.diff_id, layer.size, done.newest)
                    rows.setdefault(part.key, {})[done.cache_key] = row
    files: dict[Path, LockFile] = {}
    for image, _, locks in images:
        for part in image.chain():
            file = files.get(part.lock_path) or lockfile.read(part.lock_path)
            lock = file.get(part.name, locks[part.key].architecture)
            if lock and part.key in rows:
                changed = lock.with_built(tuple(rows.pop(part.key).values()))
                file = replace(file, locks=tuple(changed if one is lock else one for one in file.locks))
            files[part.lock_path] = file
    for path, file in files.items():
        if file.locks:
            locking.write_file(path, file)
