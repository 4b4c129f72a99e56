"""A site × the workspace → what each image is configured from: values with their origins, addresses, names of secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.deploy.kubernetes import metadata
from builder.deploy.values import Values
from builder.deploy.workload import ConfigFile, Variable, Workload
from builder.errors import UsageError
from builder.pipeline import building, deploying, sites
from builder.pipeline.edges import Edges
from builder.pipeline.sites import SiteFile
from builder.pipeline.vault import MASK, Vault
from dsl.catalog import Catalog
from dsl.errors import Place, nearest

_CONFIDENTIAL = re.compile(r"passw|secret|token|credential|private", re.IGNORECASE)
"""Names of values that are not shown: a secret should be one, but who knows."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What an image is configured from, in one group of hosts.

    Attributes:
        reference: of the image: ``nova/nova-api``.
        functions: what it needs, and where it is found.
        root: what places are told from.
    """

    reference: str
    group: str
    values: Values
    functions: dict[str, str]
    secrets: tuple[str, ...]
    variables: tuple[Variable, ...]
    files: tuple[ConfigFile, ...]
    root: Path

    def data(self, *, texts: bool) -> dict[str, Any]:
        """For machines.

        Args:
            texts: with those of the files.
        """
        return {
            "image": self.reference,
            "group": self.group,
            "values": {
                name: {
                    "value": _shown(name, one.value),
                    "place": self._place(one.place),
                    "over": [self._place(place) for place in one.over],
                }
                for name, one in self.values.items()
            },
            "services": self.functions,
            "secrets": list(self.secrets),
            "environment": {one.name: one.text for one in self.variables},
            "files": {one.path: one.text for one in self.files} if texts else [one.path for one in self.files],
        }

    def text(self, *, texts: bool) -> str:
        """For people: YAML whose comments say where values come from."""
        return "".join(f"{line}\n" for line in self._lines(texts=texts))

    def _lines(self, *, texts: bool) -> Iterator[str]:
        yield f"# {self.reference}" + (f" on {self.group}" if self.group else "")
        if self.values:
            yield "values:"
        for name, one in self.values.items():
            over = ", in place of " + ", ".join(map(self._place, one.over)) if one.over else ""
            value = json.dumps(_shown(name, one.value), ensure_ascii=False, default=str)
            yield f"  {json.dumps(name, ensure_ascii=False)}: {value}  # {self._place(one.place)}{over}"
        if self.functions:
            yield "services:"
        yield from (f"  {name}: {json.dumps(address)}" for name, address in self.functions.items())
        if self.variables:
            yield "environment:"
        yield from (f"  {one.name}: {json.dumps(one.text, ensure_ascii=False)}" for one in self.variables)
        if self.secrets:
            yield f"secrets: [{', '.join(self.secrets)}]"
        if self.files:
            yield "files:"
        for file in self.files:
            yield f"  {file.path}:" + (" |" if texts else "")
            yield from (f"    {line}".rstrip() for line in file.text.splitlines() if texts)

    def _place(self, place: Place) -> str:
        file = place.file.resolve()
        near = file.relative_to(self.root) if file.is_relative_to(self.root) else file
        return f"{near}:{place.line}"


def of(catalog: Catalog, file: SiteFile, names: tuple[str, ...], edges: Edges) -> tuple[Configuration, ...]:
    """What some images of a site are configured from; all if none is named.

    Raises:
        DefinitionError: the site names what is not there, or a template asks for it.
        UsageError: a name is none of the site's.
    """
    images = sites.images(catalog, file)
    known = {name for one in images for name in (one.name, one.component or "", one.reference)}
    for name in names:
        if name not in known:
            raise UsageError(f"{name!r} does not run at this site", nearest(name, filter(None, known)))
    plans = building.plans(catalog, images, edges)
    told = deploying.declared(catalog, "", plans)
    functions = sites.services(catalog, file, images, told, str, lambda function, name, more: None, metadata.short)
    run = {
        (one.name, one.group): one
        for one in deploying.on_cluster(catalog, file, images, Vault(None, masked=True), plans, {}).workloads
    }
    found = []
    for image in images:
        if names and not {image.name, image.component, image.reference} & {*names}:
            continue
        for group in sites.groups(file, image):
            one = run.get((image.name, group.name)) or run[image.name, ""]
            found.append(
                Configuration(
                    image.reference,
                    group.name,
                    sites.values(catalog, file, image, group),
                    {name: functions[name].url for name in one.needs if name in functions},
                    _secrets(one),
                    one.given,
                    one.files,
                    catalog.root.resolve(),
                )
            )
    return tuple(found)


def _secrets(one: Workload) -> tuple[str, ...]:
    parts = [file.secrets for file in one.files] + [each.secrets for each in one.given]
    parts += [each.secrets for step in one.steps for each in step.given]
    return tuple(sorted({name for names in parts for name in names}))


def _shown(name: str, value: Any) -> Any:
    return MASK if _CONFIDENTIAL.search(name) else value
