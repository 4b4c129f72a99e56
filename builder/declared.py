"""What an image says of how it runs: its OCI config, and the labels for what that has no field for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder.errors import UsageError

_PREFIX = "org.imgbuild."
_STEP = f"{_PREFIX}step."


@dataclass(frozen=True, slots=True)
class Declared:
    """An image's own word.

    Attributes:
        reference: what an engine calls it: ``nova-api:31.0.0-r1``.
        config: the member ``config`` of its OCI config (image-spec, config.md#properties).
    """

    reference: str
    config: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The name of its definition."""
        return str(self.labels.get("org.opencontainers.image.title", "")) or self.reference.partition(":")[0]

    @property
    def summary(self) -> str:
        """What it is, in a line."""
        return str(self.labels.get("org.opencontainers.image.description", ""))

    @property
    def run(self) -> dict[str, Any]:
        """How it runs, beside what OCI has fields for."""
        return self._label("run")

    @property
    def service(self) -> bool:
        """Whether it is a service: of others only steps run."""
        return bool(self.run.get("service", True))

    @property
    def platform(self) -> dict[str, Any]:
        """What the platform must provide."""
        found: dict[str, Any] = self.run.get("platform", {})
        return found

    @property
    def may_mount(self) -> bool:
        """Whether it may mount, and what that takes: neither an engine's AppArmor profile nor that nothing gains privileges.

        Such a service starts helpers with fewer rights (oslo.privsep) that start others: without new privileges those
        would have no more. Kubernetes refuses to give one without the other.
        """
        return "SYS_ADMIN" in self.platform.get("capabilities", ())

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """Where it expects configuration: owner, mode, and whether it starts without it, by path."""
        return self._label("config")

    @property
    def user(self) -> str:
        """Numbers of the user and the group it runs as: ``42436:42436``."""
        return str(self.config["User"])

    @property
    def ports(self) -> dict[str, tuple[int, str]]:
        """Its ports: number and protocol by name."""
        told = self.run.get("ports", {})
        return {
            name: (port, "tcp") if isinstance(port, int) else (port["port"], port.get("protocol", "tcp"))
            for name, port in told.items()
        }

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of its steps."""
        return tuple(sorted(name.removeprefix(_STEP) for name in self.labels if name.startswith(_STEP)))

    def step(self, name: str) -> dict[str, Any]:
        """A step by its name.

        Raises:
            UsageError: it has none of that name.
        """
        if name not in self.steps:
            has = f"it has: {', '.join(self.steps)}" if self.steps else "it has none"
            raise UsageError(f"{self.reference} has no step {name!r}", has)
        return self._label(f"step.{name}")

    @property
    def labels(self) -> Mapping[str, str]:
        """What it is, and what OCI has no field for."""
        return self.config.get("Labels") or {}

    def _label(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.labels.get(_PREFIX + name, "{}"))
        return found
