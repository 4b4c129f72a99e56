"""Objects → YAML that people read: texts of several lines as they are, permission bits in octal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

HEAD = "# Rendered by `imgbuild deploy render`: change the site's file, not this one.\n"


class Octal(int):
    """Permission bits, which people write in octal."""


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """YAML 1.1, which Kubernetes reads."""

    def ignore_aliases(self, data: Any) -> bool:
        """An object stands for itself alone."""
        return True


def _text(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text and not any(line != line.rstrip() for line in text.splitlines()) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Octal, lambda dumper, number: dumper.represent_scalar("tag:yaml.org,2002:int", f"0{number:o}"))


def one(found: Mapping[str, Any]) -> str:
    """An object as a document."""
    return str(yaml.dump(dict(found), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


def stream(objects: Iterable[Mapping[str, Any]]) -> str:
    """Objects as one file."""
    return HEAD + "---\n".join(one(each) for each in objects)
