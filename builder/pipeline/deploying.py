"""A site's file × the workspace → what runs there, with its configuration; rendered for an engine's own tools."""

from __future__ import annotations

import json
import os
import secrets as random
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from builder.declared import Declared
from builder.deploy import compose, quadlet, rendering
from builder.deploy.functions import Service, Services
from builder.deploy.workload import ConfigFile, Deployment, Workload, place
from builder.errors import UsageError, of_system
from builder.pipeline import building
from builder.pipeline.edges import Edges
from builder.registry import address
from builder.tools import files as files_
from dsl import document, model, reader
from dsl.catalog import Catalog, Definition, UnknownTarget
from dsl.document import Document, Path_
from dsl.errors import DefinitionError, Problem, nearest

Format = Literal["compose", "quadlet"]
FORMATS: tuple[Format, ...] = ("compose", "quadlet")


@dataclass(frozen=True, slots=True)
class SiteFile:
    """A site and the text that it comes from."""

    site: model.Site
    document: Document

    def problem(self, at: Path_, code: str, message: str, hint: str = "") -> DefinitionError:
        """What is wrong at a place of it."""
        return DefinitionError((self.document.problem(self.document.place(at), code, message, hint),))


class Vault:
    """A site's secrets, in a file that only its owner reads. What is asked for and not there is made once.

    Attributes:
        made: the names of those that were made in this run.
        missing: the names of those that could not be, as there is no file to keep them.
    """

    def __init__(self, file: Path | None) -> None:
        self.made: list[str] = []
        self.missing: list[str] = []
        self._file = file
        self._known = _read_secrets(file) if file else {}

    def secret(self, name: str) -> str:
        """A secret by its name."""
        if name not in self._known:
            (self.made if self._file else self.missing).append(name)
            # Nothing that an address or a file of settings would take for its own mark.
            self._known[name] = random.token_hex(24)
        return self._known[name]

    def keep(self) -> None:
        """Write those that were made beside those that were there.

        Raises:
            ImgbuildError: the file cannot be written.
        """
        if not self.made or self._file is None:
            return
        try:
            files_.write(self._file, yaml.safe_dump(self._known).encode())
            self._file.chmod(0o600)
        except OSError as error:
            raise of_system(error, "the secrets cannot be kept", str(self._file)) from None


def read(path: Path) -> SiteFile:
    """A site's file, or the ``site.yaml`` of a folder.

    Raises:
        DefinitionError: with all that is wrong with it.
    """
    text = document.read(path / "site.yaml" if path.is_dir() else path)
    return SiteFile(reader.validate(text, model.Site), text)


def deployment(catalog: Catalog, file: SiteFile, vault: Vault, edges: Edges) -> Deployment:
    """What runs at a site, with its configuration.

    Raises:
        DefinitionError: the site names what is not there, or a template asks for it.
        StaleLock: an image's lock cannot be used.
    """
    images = _images(catalog, file)
    declared = _declared(catalog, images, file.site.registry, edges)
    services = _services(catalog, file, images, declared, vault)
    return Deployment(
        file.site.site,
        tuple(
            Workload(
                image.name,
                declared[image.key],
                tuple(_files(image, declared[image.key], services, file.site.values, vault)),
                _published(file, image.name, declared[image.key]),
            )
            for image in images
        ),
    )


def write(found: Deployment, form: Format, folder: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Write what an engine's tools read, and the files of configuration beside it.

    Returns:
        the files, and what their owner has still to do by hand: files that are not whose they must be.

    Raises:
        ImgbuildError: the folder cannot be written to.
    """
    folder = folder.absolute()
    texts = {"compose.yaml": compose.text(found)} if form == "compose" else quadlet.units(found, str(folder))
    undone: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # What was rendered before and is no more must not be mounted by mistake; secrets may stand in it.
        shutil.rmtree(folder / "config", ignore_errors=True)
        for name, text in texts.items():
            files_.write(folder / name, text.encode())
        for one in found.workloads:
            for file in one.files:
                undone += _write_config(folder, one, file)
    except OSError as error:
        raise of_system(error, "the site cannot be rendered", str(folder)) from None
    written = [*texts, *(place(one, file) for one in found.workloads for file in one.files)]
    return tuple(folder / name for name in written), tuple(undone)


def _write_config(folder: Path, one: Workload, file: ConfigFile) -> Iterator[str]:
    path = folder / place(one, file)
    path.parent.mkdir(parents=True, exist_ok=True)
    (folder / "config").chmod(0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as stream:
        stream.write(file.text)
    try:
        os.chown(path, file.uid, file.gid)
    except PermissionError:
        yield f"chown {file.uid}:{file.gid} {path}"
    path.chmod(int(file.mode, 8))


def _images(catalog: Catalog, file: SiteFile) -> tuple[Definition, ...]:
    found: dict[str, Definition] = {}
    for index, target in enumerate(file.site.components):
        try:
            images = catalog.find(target)
        except UnknownTarget as error:
            raise file.problem(("components", index), "unknown-name", error.message, error.hint) from None
        for image in images:
            same = found.setdefault(image.name, image)
            if same.key != image.key:
                message = f"{image.reference} has the name of {same.reference}, which runs here, too"
                raise file.problem(("components", index), "same-name", message, "containers are found by their names")
    for name in file.site.publish:
        if name not in found:
            message = f"no image {name!r} runs at this site"
            raise file.problem(("publish", name), "unknown-name", message, nearest(name, found))
    return tuple(found.values())


def _declared(
    catalog: Catalog, images: tuple[Definition, ...], registry: str | None, edges: Edges
) -> dict[str, Declared]:
    home = address.home(registry, catalog.names) if registry else None
    sites = {one.name: one.overlay or "" for one in catalog.components}
    found = {}
    for key, plan in building.plans(catalog, images, edges).items():
        name = f"{plan.image}:{plan.tag}"
        if home:
            tag = home.names.tag(plan.tag, sites.get(plan.component, ""))
            name = f"{home.address.host}/{home.repository(plan.component, plan.image)}:{tag}"
        found[key] = Declared(name, json.loads(plan.config))
    return found


def _services(
    catalog: Catalog, file: SiteFile, images: Iterable[Definition], declared: Mapping[str, Declared], vault: Vault
) -> Services:
    found: dict[str, Service] = {}
    for function, providers in _providers(catalog, images).items():
        chosen = file.site.services.get(function)
        if isinstance(chosen, str):
            continue
        at: Path_ = ("services", function) if chosen else ()
        if chosen:
            names = {name for image, _ in providers for name in (image.name, image.component, image.reference)}
            providers = [one for one in providers if chosen.from_ in (one[0].name, one[0].component, one[0].reference)]
            if not providers:
                message = f"{chosen.from_!r} does not provide {function!r}"
                raise file.problem(at, "unknown-name", message, nearest(chosen.from_, filter(None, names)))
        if len({image.component for image, _ in providers}) > 1:
            said = ", ".join(image.reference for image, _ in providers)
            hint = f"say which under `services`: {{{function}: {{from: {providers[0][0].reference}}}}}"
            raise file.problem(at, "ambiguous", f"several provide {function!r}: {said}", hint)
        reached = [
            Service(function, told.scheme, image.name, str(port), told.path, vault.secret)
            for image, told in providers
            if (port := _port(function, told, declared[image.key]))
        ]
        found |= {function: reached[0]} if reached else {}
    for function, given in file.site.services.items():
        if isinstance(given, str):
            try:
                found[function] = Service.outside(function, given, vault.secret)
            except ValueError as error:
                raise file.problem(("services", function), "value", str(error)) from None
        elif function not in found:
            message = f"{given.from_!r} does not provide {function!r}"
            raise file.problem(("services", function), "unknown-name", message, nearest(function, found))
    return found


def _providers(catalog: Catalog, images: Iterable[Definition]) -> dict[str, list[tuple[Definition, model.Provision]]]:
    found: dict[str, list[tuple[Definition, model.Provision]]] = {}
    for image in images:
        assert isinstance(image.model, model.ImageDefinition)
        for said in (image.model.provides, catalog.component_of(image).model.provides):
            told = said if isinstance(said, Mapping) else {name: model.Provision() for name in said}
            for function, provision in told.items():
                found.setdefault(function, []).append((image, provision))
    return found


def _port(function: str, told: model.Provision, declared: Declared) -> int | None:
    name = told.port or function
    if name in declared.ports:
        return declared.ports[name][0]
    only = list(declared.ports.values())
    return only[0][0] if told.port is None and len(only) == 1 else None


def _files(
    image: Definition, declared: Declared, services: Services, values: Mapping[str, Any], vault: Vault
) -> Iterator[ConfigFile]:
    assert isinstance(image.model, model.ImageDefinition)
    for path, said in image.model.config.items():
        at = ("config", path) if isinstance(said, str) else ("config", path, "template")
        if isinstance(said, str) or said.template is not None:
            told = declared.files[path]
            text = rendering.render(image.beside(*at), services, values, vault.secret)
            yield ConfigFile(path, told["uid"], told["gid"], told["mode"], text)


def _published(file: SiteFile, name: str, declared: Declared) -> dict[str, str]:
    found = {}
    for port, at in file.site.publish.get(name, {}).items():
        if port not in declared.ports:
            message = f"{name} declares no port {port!r}"
            raise file.problem(("publish", name, port), "unknown-name", message, nearest(port, declared.ports))
        found[port] = f"127.0.0.1:{at}" if isinstance(at, int) else at
    return found


def _read_secrets(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    read_ = document.read(file)
    if not isinstance(read_.data, dict) or not all(isinstance(value, str) for value in read_.data.values()):
        problem: Problem = read_.problem(read_.place(()), "type", "a mapping of names to quoted texts is expected here")
        raise DefinitionError((problem,))
    return dict(read_.data)


def require_secrets(vault: Vault) -> None:
    """See that every secret could be given.

    Raises:
        UsageError: there is no file of them.
    """
    if vault.missing:
        names = ", ".join(dict.fromkeys(vault.missing))
        raise UsageError(
            f"the configuration of this site wants secrets: {names}",
            "say --secrets FILE: those that it does not hold are made once and kept there, for its owner alone",
        )
