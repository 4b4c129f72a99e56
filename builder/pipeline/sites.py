"""A site's file × the workspace → what it names: images, groups of hosts, where functions are found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.declared import Declared
from builder.deploy.functions import Met, Secrets, Service, Services
from builder.deploy.values import Value, Values, merged
from builder.deploy.workload import Entrance
from dsl import document, model, reader
from dsl.catalog import Catalog, Definition, UnknownTarget
from dsl.document import Document, Path_
from dsl.errors import DefinitionError, Problem, nearest


@dataclass(frozen=True, slots=True)
class SiteFile:
    """A site and the text that it comes from."""

    site: model.Site
    document: Document

    def told(self, at: Path_, code: str, message: str, hint: str = "", *, key: bool = False) -> Problem:
        """What is wrong at a place of it.

        Args:
            key: at the key of the place, not at its value.
        """
        place = self.document.key_place(at) if key else self.document.place(at)
        return self.document.problem(place, code, message, hint)

    def problem(self, at: Path_, code: str, message: str, hint: str = "") -> DefinitionError:
        """The same, as the only thing that is wrong."""
        return DefinitionError((self.told(at, code, message, hint),))


@dataclass(frozen=True, slots=True)
class Group:
    """Hosts of a site.

    Attributes:
        name: empty where the site has no groups.
    """

    name: str
    nodes: Mapping[str, str]
    values: Values
    tolerates: tuple[str, ...] = ()


ANYWHERE = Group("", {}, {})
"""All hosts of a site without groups."""


def read(path: Path) -> SiteFile:
    """A site's file, or the ``site.yaml`` of a folder.

    Raises:
        DefinitionError: with all that is wrong with it.
    """
    text = document.read(path / "site.yaml" if path.is_dir() else path)
    return SiteFile(reader.validate(text, model.Site), text)


def images(catalog: Catalog, file: SiteFile) -> tuple[Definition, ...]:
    """The images that run at a site.

    Raises:
        DefinitionError: the site names what is not there, or what needs what is not there; all of that.
    """
    problems: list[Problem] = []
    found: dict[str, Definition] = {}
    brought: dict[str, int] = {}
    for index, target in enumerate(file.site.components):
        at: Path_ = ("components", index)
        try:
            named = catalog.find(target)
        except UnknownTarget as error:
            problems.append(file.told(at, "unknown-name", error.message, error.hint))
            continue
        for image in named:
            same = found.setdefault(image.name, image)
            brought.setdefault(image.name, index)
            if same.key != image.key:
                message = f"{image.reference} has the name of {same.reference}, which runs here, too"
                problems.append(file.told(at, "same-name", message, "containers are found by their names"))
    for section in ("publish", "images", "ingress"):
        for name in getattr(file.site, section):
            if name not in found:
                message = f"no image {name!r} runs at this site"
                problems.append(file.told((section, name), "unknown-name", message, nearest(name, found), key=True))
    if not problems:
        problems = [*_unmet(catalog, file, found, brought), *_volumes(file, found), *_groups(file, found)]
    if problems:
        raise DefinitionError(tuple(problems))
    return tuple(found.values())


def needs(catalog: Catalog, image: Definition) -> tuple[str, ...]:
    """The functions that must be there for an image: its component's, its own, and those of steps that run by themselves."""
    told = _image(image)
    steps = (name for step in told.steps.values() if step.when != "by-hand" for name in step.needs)
    return tuple(dict.fromkeys((*catalog.component_of(image).model.needs, *told.needs, *steps)))


def provisions(catalog: Catalog, image: Definition) -> dict[str, model.Provision]:
    """The functions that an image provides, itself or as its component says."""
    found: dict[str, model.Provision] = {}
    for said in (_image(image).provides, catalog.component_of(image).model.provides):
        told = said if isinstance(said, Mapping) else {name: model.Provision() for name in said}
        found = {**told, **found}
    return found


def groups(file: SiteFile, image: Definition) -> tuple[Group, ...]:
    """The groups of hosts that an image runs on."""
    if not file.site.topology:
        return (ANYWHERE,)
    return tuple(_group(file, name) for name, told in file.site.topology.items() if _runs(told, image))


def values(catalog: Catalog, file: SiteFile, image: Definition, group: Group) -> dict[str, Value]:
    """What the templates of an image ask for: its component's defaults < the site's values < the group's."""
    component = catalog.component_of(image)
    defaults = {name: Value(one, component.place("values", name)) for name, one in component.model.values.items()}
    own = {name: Value(one, file.document.place(("values", name))) for name, one in file.site.values.items()}
    return merged((defaults, own, group.values))


def services(
    catalog: Catalog,
    file: SiteFile,
    found: Iterable[Definition],
    declared: Mapping[str, Declared],
    secrets: Secrets,
    met: Met,
    host: Callable[[str], str] = str,
) -> Services:
    """Where each function is found: at an image of the site, or outside.

    Args:
        host: by which name an image is reached.

    Raises:
        DefinitionError: several provide one, or who is named does not; or an address is none.
    """
    known: dict[str, Service] = {}
    for function, providers in _providers(catalog, found).items():
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
            Service(function, told.scheme, host(image.name), str(port), told.path, secrets, met, told.listed)
            for image, told in providers
            if (port := _port(function, told, declared[image.key]))
        ]
        known |= {function: reached[0]} if reached else {}
    for function, address in file.site.services.items():
        if isinstance(address, str):
            try:
                known[function] = Service.outside(function, address, secrets)
            except ValueError as error:
                raise file.problem(("services", function), "value", str(error)) from None
        elif function not in known:
            message = f"{address.from_!r} does not provide {function!r}"
            raise file.problem(("services", function), "unknown-name", message, nearest(function, known))
    return known


def published(file: SiteFile, name: str, declared: Declared) -> dict[str, str]:
    """Addresses and ports of the machine by the names of an image's ports.

    Raises:
        DefinitionError: it has no such port.
    """
    found = {}
    for port, at in file.site.publish.get(name, {}).items():
        if port not in declared.ports:
            message = f"{name} declares no port {port!r}"
            raise file.problem(("publish", name, port), "unknown-name", message, nearest(port, declared.ports))
        found[port] = f"127.0.0.1:{at}" if isinstance(at, int) else at
    return found


def shared(image: Definition) -> tuple[str, ...]:
    """The volumes of an image that several containers may have at once."""
    volumes = _image(image).run.volumes
    return tuple(name for name, one in volumes.items() if isinstance(one, model.Volume) and one.shared)


def entrance(file: SiteFile, name: str, declared: Declared) -> Entrance | None:
    """How an image is reached from outside a cluster.

    Raises:
        DefinitionError: it has no such port, or several and none is named; or what only an Ingress has is said of a route.
    """
    said = file.site.ingress.get(name)
    if said is None:
        return None
    for key, value in (("class", said.class_), ("tls", said.tls)):
        if said.gateway and value:
            message = f"{key!r} is an Ingress's: a Gateway has its own"
            raise file.problem(("ingress", name, key), "one-of", message, f"leave out {key!r}, or `gateway`")
    port = said.port or (next(iter(declared.ports)) if len(declared.ports) == 1 else "")
    if port not in declared.ports:
        message = f"{name} declares no port {port!r}" if port else f"which port of {name} is meant is not said"
        at = ("ingress", name, "port") if said.port else ("ingress", name)
        raise file.problem(at, "unknown-name", message, nearest(port, declared.ports))
    return Entrance(said.host, port, said.path, said.class_ or "", said.tls or "", said.gateway or "")


def _image(image: Definition) -> model.ImageDefinition:
    assert isinstance(image.model, model.ImageDefinition)
    return image.model


def _unmet(
    catalog: Catalog, file: SiteFile, found: Mapping[str, Definition], brought: Mapping[str, int]
) -> Iterator[Problem]:
    there = {*_providers(catalog, found.values()), *file.site.services}
    told: set[tuple[str, str]] = set()
    for image in found.values():
        for function in needs(catalog, image):
            component = image.component or image.name
            if function in there or (component, function) in told:
                continue
            told.add((component, function))
            message = f"{component} needs {function!r}, and nothing at this site provides it"
            others = _providers(catalog, (one for other in catalog.components for one in other.images))
            able = sorted({one.component or one.name for one, _ in others.get(function, ())})
            address = f"its address under `services`: {{{function}: …}}"
            hint = f"add {' or '.join(able)} to `components`, or {address}" if able else nearest(function, there)
            yield file.told(("components", brought[image.name]), "unmet", message, hint or f"say {address}")


def _volumes(file: SiteFile, found: Mapping[str, Definition]) -> Iterator[Problem]:
    for name, said in file.site.images.items():
        run = _image(found[name]).run
        volumes = run.volumes
        alone = [volume for volume in volumes if volume not in shared(found[name])]
        if alone and said.replicas > 1:
            message = f"{name} keeps {', '.join(alone)}: several of it would share that"
            yield file.told(("images", name, "replicas"), "replicas", message, "one can be had here so far")
        for volume in said.storage:
            if volume not in volumes:
                at: Path_ = ("images", name, "storage", volume)
                message = f"{name} has no volume {volume!r}"
                yield file.told(at, "unknown-name", message, nearest(volume, volumes), key=True)


def _groups(file: SiteFile, found: Mapping[str, Definition]) -> Iterator[Problem]:
    known = {name for one in found.values() for name in (one.name, one.component, one.reference) if name}
    for name, group in file.site.topology.items():
        for key, targets in (("runs", group.runs), ("except", group.except_)):
            for index, target in enumerate(targets):
                if target not in known:
                    at: Path_ = ("topology", name, key, index)
                    message = f"{target!r} does not run at this site"
                    yield file.told(at, "unknown-name", message, nearest(target, known))
    homeless = [one.name for one in found.values() if not groups(file, one)]
    if homeless:
        message = f"in no group of hosts: {', '.join(homeless)}"
        yield file.told(("topology",), "unplaced", message, "name them under `runs` of a group", key=True)


def _group(file: SiteFile, name: str) -> Group:
    said = file.site.topology[name]
    nodes = dict(pair.split("=", 1) for pair in said.nodes.split(",")) if said.nodes else {}
    place = file.document.place
    own = {key: Value(one, place(("topology", name, "values", key))) for key, one in said.values.items()}
    return Group(name, nodes, own, said.tolerates)


def _runs(group: model.NodeGroup, image: Definition) -> bool:
    names = {image.name, image.component, image.reference}
    return (not group.runs or bool(names & {*group.runs})) and not names & {*group.except_}


def _providers(catalog: Catalog, found: Iterable[Definition]) -> dict[str, list[tuple[Definition, model.Provision]]]:
    known: dict[str, list[tuple[Definition, model.Provision]]] = {}
    for image in found:
        for function, provision in provisions(catalog, image).items():
            known.setdefault(function, []).append((image, provision))
    return known


def _port(function: str, told: model.Provision, declared: Declared) -> int | None:
    name = told.port or function
    if name in declared.ports:
        return declared.ports[name][0]
    only = list(declared.ports.values())
    return only[0][0] if told.port is None and len(only) == 1 else None
