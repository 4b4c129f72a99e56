"""Files that differ between two images, as people read them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from builder import file_differences
from builder.config_differences import ConfigDifference, Setting
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


def show_config(files: Iterable[ConfigDifference], run: Iterable[Setting], everything: bool) -> None:
    """Print which files of /etc differ, what they set otherwise, and how the images run.

    Args:
        everything: all settings of a file, however many.
    """
    for file in files:
        mark = {"new": "+", "old": "-", "both": " "}[file.there]
        owner = f" (conffile of {file.package})" if file.package else ""
        rows = [setting_line(one, whole=everything) for one in file.settings]
        more = ": comments alone" if file.there == "both" and not rows else ""
        print(f"{mark} /{file.path}{owner}{more}")
        for row in rows if everything else rows[:_SHOWN]:
            print(f"    {row}")
        if not everything and len(rows) > _SHOWN:
            print(f"    … and {len(rows) - _SHOWN} more; -v shows all")
    rows = [setting_line(one, whole=everything) for one in run]
    if rows:
        print("  how it runs")
    for row in rows:
        print(f"    {row}")


def setting_line(one: Setting, *, whole: bool = False) -> str:
    """``+ DEFAULT/new = 1``, ``- a line`` or ``default of DEFAULT/workers: 1 → 2``."""
    name = f"default of {one.name}" if one.default else one.name
    if one.old is None or one.new is None:
        value = one.new if one.old is None else one.old
        return f"{'+' if one.old is None else '-'} {name}" + (f" = {_short(value, whole)}" if value else "")
    return f"{name}: {_short(one.old, whole)} → {_short(one.new, whole)}"


def line(file: FileDifference, *, whole: bool = False) -> str:
    """``+ etc/new``, ``- etc/old`` or ``etc/both: mode 0644 → 0755``.

    Args:
        whole: do not cut what is long.
    """
    if not file.old or not file.new:
        found = file.new or file.old
        more = f" → {found['target']}" if "target" in found else ""
        return f"{'+' if file.new else '-'} {file.path} ({found.get('type', 'record')}){more}"
    names = sorted(file.old.keys() | file.new.keys())
    told = []
    for name in names:
        old, new = file.old.get(name), file.new.get(name)
        if old is not None and new is not None and "\n" in old + new:
            # Of several lines those that differ.
            lines, others = old.splitlines(), new.splitlines()
            old = " ".join(x.strip() for x in lines if x not in others)
            new = " ".join(x.strip() for x in others if x not in lines)
        told.append(f"{name} {_short(old, whole)} → {_short(new, whole)}")
    return f"{file.path}: " + ", ".join(told)


def _short(value: str | None, whole: bool) -> str:
    if not value:
        return "none"
    return value[:12] if len(value) == 64 else value if whole else value[:_LENGTH]
