"""Files that differ between two images, as people read them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from builder import file_differences
from builder.file_differences import FileDifference, LayerDifference
from builder.model.image import Image

_SHOWN = 40
_LENGTH = 60


def show(layers: Iterable[LayerDifference], old: Image, new: Image, *, everything: bool) -> None:
    """Print which files of which layer differ, and how diffoscope would be asked for more.

    Args:
        everything: all files of a layer, however many.
    """
    commands = []
    layer = None
    for layer in layers:
        one = layer.new or layer.old
        assert one
        was = layer.old.digest[7:19] if layer.old else "none"
        now = layer.new.digest[7:19] if layer.new else "none"
        print(f"layer {was} → {now}  {one.comment}".rstrip())
        if layer.form:
            print(f"  {layer.form}")
        files = layer.files if everything else layer.files[:_SHOWN]
        for file in files:
            print(f"  {line(file)}")
        if len(files) < len(layer.files):
            print(f"  … and {len(layer.files) - len(files)} more; -v shows all")
        command = file_differences.diffoscope(old, new, layer)
        if command:
            commands.append(shlex.join(command))
    if layer is None:
        print("every layer is the same: the config or the manifest is not")
    if commands:
        print("more is shown by:")
        for text in commands:
            print(f"  {text}")


def line(file: FileDifference) -> str:
    """``+ etc/new``, ``- etc/old`` or ``etc/both: mode 0644 → 0755``."""
    if not file.old or not file.new:
        found = file.new or file.old
        more = f" → {found['target']}" if "target" in found else ""
        return f"{'+' if file.new else '-'} {file.path} ({found['type']}){more}"
    names = sorted(file.old.keys() | file.new.keys())
    return f"{file.path}: " + ", ".join(
        f"{name} {_short(file.old.get(name))} → {_short(file.new.get(name))}" for name in names
    )


def _short(value: str | None) -> str:
    if value is None:
        return "none"
    return value[:12] if len(value) == 64 else value[:_LENGTH]
