"""Ways out: where an image can be written, by the prefix of a target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from builder.errors import UsageError
from builder.model.image import Image
from builder.tools.store import Store
from builder.transports import archive, engine, oci_layout


@dataclass(frozen=True, slots=True)
class Target:
    """A place to write images to: ``oci:out``, ``docker:``."""

    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class Named:
    """What an image is called where it is written.

    Attributes:
        reference: ``nova-api:31.0.0-r1``.
        annotations: of its entry in a layout's index.
        lock: the text of the locks that it was made from, bottom first; a layout keeps it beside the image.
    """

    image: str
    reference: str
    annotations: dict[str, str]
    lock: bytes = b""


def _layout(image: Image, path: str, named: Named) -> None:
    oci_layout.write(image, Path(path), named.reference, named.annotations, named.lock)


def _archive(image: Image, path: str, named: Named) -> None:
    target = Path(path)
    if "{image}" in path:
        target = Path(path.replace("{image}", named.image))
    archive.write(image, target, named.reference)


WRITERS: dict[str, Callable[[Image, str, Named], None]] = {
    "oci": _layout,
    "oci-archive": _archive,
    "docker-archive": _archive,
    "docker": lambda image, path, named: engine.load_docker(image, named.reference),
    "podman": lambda image, path, named: engine.load_podman(image, named.reference),
}


def parse_target(text: str) -> Target:
    """A target from the command line.

    Raises:
        UsageError: there is no such way out.
    """
    kind, colon, path = text.partition(":")
    if kind not in WRITERS or not colon:
        raise UsageError(f"there is no way out {text!r}", f"there are: {', '.join(f'{name}:' for name in WRITERS)}")
    if kind.startswith(("oci", "docker-")) and not path:
        raise UsageError(f"{kind}: wants a path", f"say {kind}:out")
    return Target(kind, path)


def write(image: Image, target: Target, named: Named) -> None:
    """Write an image to a target."""
    WRITERS[target.kind](image, target.path, named)


def read(text: str, store: Store) -> Image:
    """An image from where it lies: ``oci:DIR[:REFERENCE]``, an archive, or a name in ``oci:out``.

    Raises:
        ImageError: there is none.
    """
    kind, colon, rest = text.partition(":")
    if kind in ("oci-archive", "docker-archive") and colon:
        return archive.read(Path(rest), store)
    if kind in ("docker", "podman") and colon:
        raise UsageError(f"{kind}: images are not read back yet", "save one to an archive: docker-archive:FILE")
    if kind == "oci" and colon:
        folder, _, reference = rest.partition(":")
        return oci_layout.read(Path(folder), reference)
    return oci_layout.read(Path("out"), text)
