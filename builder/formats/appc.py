"""An image's manifest as the App Container specification 0.8.11 has it (spec/aci.md, spec/types.md, spec/ace.md)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from builder.declared import Declared
from builder.errors import ImageError
from dsl.quantities import octets

VERSION = "0.8.11"
IDENTIFIER = re.compile(r"[a-z0-9]+([-._~/][a-z0-9]+)*")
"""types.md#ac-identifier-type."""
ARCHITECTURES = {"amd64": "amd64", "386": "i386", "arm64": "aarch64", "ppc64le": "ppc64le", "s390x": "s390x"}
"""What the specification calls what OCI calls so."""
_DEFAULT_CAPABILITIES = (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "KILL", "MKNOD", "NET_RAW", "NET_BIND_SERVICE",
    "SETUID", "SETGID", "SETPCAP", "SETFCAP", "SYS_CHROOT",
)  # fmt: skip
"""What an executor gives if nothing is said (ace.md#oslinuxcapabilities-remove-set)."""

Named = dict[str, Any]


def manifest(declared: Declared, paths: Iterable[str], *, name: str, architecture: str, created: str) -> dict[str, Any]:
    """The image manifest.

    Args:
        declared: what the image says of how it runs.
        paths: every path of its root, without a leading ``/``: the command's is looked for in them.
        name: what it is found by: ``example.com/openstack/nova-api``.
        architecture: as OCI says it: ``arm64``.
        created: RFC 3339.

    Raises:
        ImageError: the specification has no word for what it is.
    """
    if not IDENTIFIER.fullmatch(name):
        raise ImageError(f"{name!r} is no name of an App Container image", "say one such as example.com/openstack/nova")
    if architecture not in ARCHITECTURES:
        raise ImageError(f"{declared.reference}: App Container images know no architecture {architecture!r}")
    labels = {"version": declared.reference.rpartition(":")[2], "os": "linux", "arch": ARCHITECTURES[architecture]}
    homepage = declared.labels.get("org.opencontainers.image.url", "")
    notes = {
        "created": created,
        "authors": declared.labels.get("org.opencontainers.image.authors", ""),
        "homepage": homepage if homepage.startswith(("http://", "https://")) else "",
    }
    return {
        "acKind": "ImageManifest",
        "acVersion": VERSION,
        "name": name,
        "labels": _pairs(labels),
        "app": _app(declared, paths),
        "annotations": _pairs({name: value for name, value in notes.items() if value}),
    }


def _app(declared: Declared, paths: Iterable[str]) -> dict[str, Any]:
    config = declared.config
    environment = dict(word.split("=", 1) for word in config.get("Env") or ())
    user, _, group = str(config.get("User") or "0:0").partition(":")
    return {
        "exec": _command(declared, environment.get("PATH", ""), frozenset(paths)),
        "user": user,
        "group": group or "0",
        "supplementaryGIDs": declared.run.get("groups", []),
        "workingDirectory": config.get("WorkingDir") or "/",
        "environment": _pairs(environment),
        "isolators": list(_isolators(declared)),
        "mountPoints": list(_mount_points(declared)),
        "ports": [
            {"name": _name(name), "port": port, "protocol": protocol}
            for name, (port, protocol) in declared.ports.items()
        ],
    }


def _command(declared: Declared, search: str, paths: frozenset[str]) -> list[str]:
    # "the executable must be an absolute path within the app rootfs"
    words = [*(declared.config.get("Entrypoint") or ()), *(declared.config.get("Cmd") or ())]
    if not words:
        raise ImageError(f"{declared.reference} names no command to run")
    first, *rest = words
    found = (f"{folder}/{first}" for folder in search.split(":") if f"{folder}/{first}".lstrip("/") in paths)
    if (absolute := first if first.startswith("/") else next(found, None)) is None:
        raise ImageError(f"{declared.reference}: there is no {first} in {search}")
    return [absolute, *rest]


def _isolators(declared: Declared) -> Iterator[Named]:
    platform, limits = declared.platform, declared.run.get("limits", {})
    if not platform.get("privileged"):
        if kept := platform.get("capabilities"):
            yield _isolator("os/linux/capabilities-retain-set", {"set": [f"CAP_{name}" for name in kept]})
        else:
            # No set may be empty: nothing is left when all that is given by default is taken.
            taken = [f"CAP_{name}" for name in _DEFAULT_CAPABILITIES]
            yield _isolator("os/linux/capabilities-remove-set", {"set": taken})
        if not declared.may_mount:
            yield _isolator("os/linux/no-new-privileges", True)
    if memory := limits.get("memory"):
        yield _isolator("resource/memory", {"limit": str(octets(memory))})
    if cpus := limits.get("cpus"):
        yield _isolator("resource/cpu", {"limit": cpus})


def _mount_points(declared: Declared) -> Iterator[Named]:
    """Volumes, what is written to beside them, and folders of the host: an executor gives what has no volume an empty one."""
    for name, place in declared.run.get("volumes", {}).items():
        yield {"name": _name(name), "path": place["path"], "readOnly": False}
    for place in declared.run.get("writable", ()):
        yield {"name": _name(f"writable{place['path']}"), "path": place["path"], "readOnly": False}
    for path in declared.platform.get("mounts", ()):
        yield {"name": _name(f"host{path}"), "path": path, "readOnly": False}


def _name(text: str) -> str:
    """An AC Name (types.md#ac-name-type): words of letters and digits with ``-`` between them."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _isolator(name: str, value: Any) -> Named:
    return {"name": name, "value": value}


def _pairs(values: Mapping[str, str]) -> list[Named]:
    return [{"name": name, "value": value} for name, value in values.items()]
