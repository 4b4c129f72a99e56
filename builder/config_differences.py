"""What two images have as configuration → how it differs: conffiles and other files of /etc, settings by name, how they run.

That is what an operator must look at who goes from one upstream series to another: an option that is new, another
default, a file that is gone. A default is what packages write as a comment: ``#workers = 1``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from builder.formats import deb, entries
from builder.formats.layer_reader import STATUS
from builder.formats.notes import PREFIX
from builder.formats.tar import Entry
from builder.model.image import Image

_LARGEST = 1 << 20
_NO_CONFIGURATION = re.compile(
    r"etc/(passwd|group|shadow|gshadow|subuid|subgid)-?|etc/(ld\.so\.cache|\.pwd\.lock|machine-id|mtab)|etc/ssl/certs/.*"
    r"|etc/alternatives/.*|etc/dpkg/dpkg\.cfg\.d/imgbuild|etc/rc.\.d/.*|etc/systemd/system/.*\.wants/.*"
)
_SECTION = re.compile(r"\s*\[\s*([^]]+?)\s*\]\s*")
_SETTING = re.compile(r"\s*([A-Za-z_][\w.-]*)\s*=\s*(.*?)\s*")
_DEFAULT = re.compile(r"\s*[#;]\s?([A-Za-z_][\w.-]*)\s*=(?!\s*=)\s*(.*?)\s*")
_LABELS = ("org.imgbuild.run", "org.imgbuild.config", "org.imgbuild.step.")


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that is not the same.

    Attributes:
        name: with its section: ``DEFAULT/debug``; of a line that sets nothing by a name, the line.
        old, new: None where it is not there.
        default: whether it is what a comment tells as the default.
    """

    name: str
    old: str | None
    new: str | None
    default: bool = False


@dataclass(frozen=True, slots=True)
class ConfigDifference:
    """A file of /etc that is not the same.

    Attributes:
        package: whose conffile it is; empty if dpkg does not know it as one.
        there: ``both``, ``old`` or ``new``.
        settings: what differs of it, if it is in both; empty if only comments do.
    """

    path: str
    package: str
    there: str
    settings: tuple[Setting, ...] = ()


@dataclass(slots=True)
class _Etc:
    files: dict[str, bytes] = field(default_factory=dict)
    conffiles: dict[str, str] = field(default_factory=dict)


def files(old: Image, new: Image) -> tuple[ConfigDifference, ...]:
    """The files of /etc that differ, sorted by path.

    Raises:
        ImageError: a layer is missing or damaged.
    """
    before, after = _etc(old, new), _etc(new, old)
    found = []
    for path in sorted(before.files.keys() | after.files.keys()):
        was, now = before.files.get(path), after.files.get(path)
        if was == now:
            continue
        package = after.conffiles.get(path) or before.conffiles.get(path) or ""
        if was is None or now is None:
            found.append(ConfigDifference(path, package, "new" if was is None else "old"))
        else:
            found.append(ConfigDifference(path, package, "both", settings(was, now)))
    return tuple(found)


def _etc(image: Image, other: Image) -> _Etc:
    """What an image has in /etc, but for what lies in package layers that the other has, too: that is the same."""
    known = {layer.diff_id for layer in other.layers}
    found = _Etc()
    for layer in image.layers:
        if layer.diff_id in known and dict(layer.annotations).get(f"{PREFIX}kind") in ("package", "wheel"):
            continue
        for entry, data in entries.of(image.blobs, layer):
            folder, _, name = entry.path.rpartition("/")
            if name.startswith(".wh."):
                gone = f"{folder}/{name.removeprefix('.wh.')}"
                found.files = {p: d for p, d in found.files.items() if p != gone and not p.startswith(f"{gone}/")}
            elif entry.path == STATUS and data is not None:
                found.conffiles = _conffiles(data.read().decode("utf-8", "replace"))
            elif data is not None and _is_configuration(entry):
                found.files[entry.path] = data.read()
    return found


def _is_configuration(entry: Entry) -> bool:
    there = entry.type == "file" and entry.path.startswith("etc/") and entry.size <= _LARGEST
    return there and not _NO_CONFIGURATION.fullmatch(entry.path)


def _conffiles(status: str) -> dict[str, str]:
    found = {}
    for stanza in map(deb.fields, status.split("\n\n")):
        for line in stanza.get("Conffiles", "").splitlines():
            words = line.split()
            if words:
                found[words[0].lstrip("/")] = stanza.get("Package", "")
    return found


def settings(old: bytes, new: bytes) -> tuple[Setting, ...]:
    """What two texts set otherwise: by name where they set by name, else line by line."""
    was, now = dict(_said(old)), dict(_said(new))
    found = []
    for key in dict.fromkeys((*was, *now)):
        name, default = key
        if was.get(key) != now.get(key):
            found.append(Setting(name, was.get(key), now.get(key), default))
    return tuple(found)


def _said(text: bytes) -> Iterator[tuple[tuple[str, bool], str]]:
    section = ""
    for line in text.decode("utf-8", "replace").splitlines():
        if match := _SECTION.fullmatch(line):
            section = f"{match[1]}/"
        elif match := _SETTING.fullmatch(line):
            yield (f"{section}{match[1]}", False), match[2]
        elif match := _DEFAULT.fullmatch(line):
            yield (f"{section}{match[1]}", True), match[2]
        elif line.strip() and line.strip()[0] not in "#;":
            yield (f"{section}{line.strip()}", False), ""


def run(old: Image, new: Image) -> tuple[Setting, ...]:
    """How images run otherwise: command, user, environment, ports, volumes, steps."""
    was, now = _runs(old), _runs(new)
    return tuple(
        Setting(name, was.get(name), now.get(name))
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    )


def _runs(image: Image) -> dict[str, str]:
    config: Mapping[str, Any] = image.configuration.get("config") or {}
    found = {name: _words(value) for name, value in config.items() if name not in ("Labels", "Env") and value}
    for variable in config.get("Env") or ():
        name, _, value = str(variable).partition("=")
        found[f"Env {name}"] = value
    labels: Mapping[str, str] = config.get("Labels") or {}
    found |= {name.removeprefix("org.imgbuild."): text for name, text in labels.items() if name.startswith(_LABELS)}
    return found


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(sorted(map(str, value)))
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
