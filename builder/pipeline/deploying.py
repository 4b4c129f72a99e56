"""A site's file × the workspace → what runs there, with its configuration; rendered for an engine's own tools."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from builder.declared import Declared
from builder.deploy import compose, quadlet, rendering, values
from builder.deploy.kubernetes import metadata, pods
from builder.deploy.rendering import Answers
from builder.deploy.workload import ConfigFile, Deployment, Step, Variable, Workload, place
from builder.errors import of_system
from builder.model.plan import ImagePlan
from builder.pipeline import building, sites
from builder.pipeline.edges import Edges
from builder.pipeline.sites import Group, SiteFile
from builder.pipeline.vault import Vault
from builder.registry import address
from builder.tools import files as files_
from dsl import model
from dsl.catalog import Catalog, Definition
from dsl.errors import DefinitionError, Problem

Format = Literal["compose", "quadlet"]
FORMATS: tuple[Format, ...] = ("compose", "quadlet")


@dataclass(slots=True)
class _Accounts:
    """The accounts that templates ask for, by function, and whether one asks for all of them."""

    names: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    listed: bool = False

    def met(self, function: str, name: str, more: tuple[str, ...]) -> None:
        self.names.setdefault(function, {}).setdefault(name, set()).update(more)

    def of(self, function: str) -> dict[str, tuple[str, ...]]:
        self.listed = True
        return {name: tuple(sorted(more)) for name, more in sorted(self.names.get(function, {}).items())}


def deployment(catalog: Catalog, file: SiteFile, vault: Vault, edges: Edges) -> Deployment:
    """What runs at a site on one host, with its configuration: its groups of hosts make no difference.

    Raises:
        DefinitionError: the site names what is not there, or a template asks for it; or for what only a pod knows.
        StaleLock: an image's lock cannot be used.
    """
    images = sites.images(catalog, file)
    plans = building.plans(catalog, images, edges)
    found = declared(catalog, file.site.registry or "", plans)
    placed = [(image, sites.ANYWHERE) for image in images]
    workloads = _workloads(catalog, file, placed, plans, found, vault)
    told = zip(images, workloads, strict=True)
    problems = tuple(problem for image, one in told for problem in _only_in_pods(catalog, file, image, one))
    if problems:
        raise DefinitionError(problems)
    return Deployment(file.site.site, workloads)


def _only_in_pods(catalog: Catalog, file: SiteFile, image: Definition, one: Workload) -> Iterator[Problem]:
    """What an image is told by a word that nothing but a pod fills in: an engine would hand on the bare word."""
    values_, home = sites.values(catalog, file, image, sites.ANYWHERE), catalog.component_of(image).document
    for word in dict.fromkeys(word for text in _told(one) for word in pods.words(text)):
        said = {name: value for name, value in values_.items() if word in pods.words(str(value.value))}
        for name, value in said.items():
            message = f"{image.reference} asks for {name!r}, and only a pod of Kubernetes knows what {word} is"
            hint = f"say it in the site's file: `values: {{{name}: …}}`"
            text = file.document if value.place.file == file.document.file else home
            yield text.problem(value.place, "only-in-pods", message, hint)
        if not said:
            message = f"{image.reference} names {word}, and only a pod of Kubernetes knows that"
            hint = "ask for a value in its place, which a site can say: {{ value('NAME') }}"
            yield home.problem(image.place(), "only-in-pods", message, hint)


def _told(one: Workload) -> Iterator[str]:
    """The arguments, variables and files of an image and its steps."""
    yield from one.declared.config.get("Cmd") or ()
    yield from (variable.text for variable in one.given)
    yield from (config.text for config in one.files)
    for name in one.declared.steps:
        step = one.declared.step(name)
        yield from (*step["command"], *step.get("env", {}).values())
    yield from (variable.text for step in one.steps for variable in step.given)


def on_cluster(
    catalog: Catalog,
    file: SiteFile,
    images: tuple[Definition, ...],
    vault: Vault,
    plans: Mapping[str, ImagePlan],
    digests: Mapping[str, str],
) -> Deployment:
    """What runs at a site on a cluster: each image in each of its groups of hosts.

    Args:
        images: of the site.
        digests: of what was released, by the keys of images; those that are not there go by their tags.

    Raises:
        DefinitionError: the site names what is not there, or a template asks for it.
    """
    registry = file.site.registry or catalog.workspace.registry or ""
    found = declared(catalog, registry, plans, digests)
    placed = [(image, group) for image in images for group in sites.groups(file, image)]
    return Deployment(
        file.site.site,
        _workloads(catalog, file, placed, plans, found, vault, metadata.short),
        file.site.namespace or "",
        file.site.pull_secrets,
    )


def declared(
    catalog: Catalog, registry: str, plans: Mapping[str, ImagePlan], digests: Mapping[str, str] | None = None
) -> dict[str, Declared]:
    """What images say of themselves, by their keys, as a registry calls them; the engine's own if that is empty."""
    home = address.home(registry, catalog.names) if registry else None
    overlays = {one.name: one.overlay or "" for one in catalog.components}
    found = {}
    for key, plan in plans.items():
        name = f"{plan.image}:{plan.tag}"
        if home:
            tag = home.names.tag(plan.tag, overlays.get(plan.component, ""))
            name = f"{home.address.host}/{home.repository(plan.component, plan.image)}:{tag}"
        digest = (digests or {}).get(key, "")
        found[key] = Declared(f"{name}@{digest}" if digest else name, json.loads(plan.config))
    return found


def _workloads(
    catalog: Catalog,
    file: SiteFile,
    placed: list[tuple[Definition, Group]],
    plans: Mapping[str, ImagePlan],
    found: Mapping[str, Declared],
    vault: Vault,
    host: Callable[[str], str] = str,
) -> tuple[Workload, ...]:
    accounts = _Accounts()
    images = tuple(dict.fromkeys(image for image, _ in placed))
    services = sites.services(catalog, file, images, found, vault.secret, accounts.met, host)

    def made(image: Definition, group: Group) -> tuple[Workload, bool]:
        accounts.listed = False
        answers = Answers(
            services, values.plain(sites.values(catalog, file, image, group)), vault.secret, accounts.of
        )  # fmt: skip
        alone = sum(other is image for other, _ in placed) == 1
        one = _workload(catalog, file, image, group, found[image.key], plans[image.key], answers, vault, alone=alone)
        return one, accounts.listed

    first = [made(image, group) for image, group in placed]
    # Who lists the accounts of what it provides comes again, once all of them are known.
    return tuple(
        made(image, group)[0] if listed else one for (one, listed), (image, group) in zip(first, placed, strict=True)
    )


def _workload(
    catalog: Catalog,
    file: SiteFile,
    image: Definition,
    group: Group,
    told: Declared,
    plan: ImagePlan,
    answers: Answers,
    vault: Vault,
    *,
    alone: bool,
) -> Workload:
    assert isinstance(image.model, model.ImageDefinition)
    placement = file.site.images.get(image.name, model.Placement())
    return Workload(
        image.name,
        told,
        tuple(_files(image, image.model, told, answers, vault)),
        sites.published(file, image.name, told),
        component=catalog.component_of(image).model.component,
        version=plan.tag,
        group="" if alone else group.name,
        nodes=group.nodes,
        tolerates=group.tolerates,
        given=_given(image, ("given",), image.model.given, answers, vault),
        steps=tuple(_step(image, name, step, answers, vault) for name, step in sorted(image.model.steps.items())),
        replicas=placement.replicas,
        storage=placement.storage,
        storage_class=placement.storage_class or "",
        needs=sites.needs(catalog, image),
        provides=tuple(sites.provisions(catalog, image)),
        after=image.model.after,
        entrance=sites.entrance(file, image.name, told),
        shared=sites.shared(image),
        back_to=catalog.component_of(image).model.back_to or "",
    )


def _step(image: Definition, name: str, step: model.Step, answers: Answers, vault: Vault) -> Step:
    given = _given(image, ("steps", name, "given"), step.given, answers, vault)
    return Step(name, step.when, step.after, step.schedule or "", given)


def _given(
    image: Definition, at: tuple[str, ...], told: Mapping[str, str], answers: Answers, vault: Vault
) -> tuple[Variable, ...]:
    found = []
    for name, text in sorted(told.items()):
        mark = len(vault.asked)
        said = rendering.words(text, image.place(*at, name), answers)
        found.append(Variable(name, said, vault.asked_since(mark)))
    return tuple(found)


def _files(
    image: Definition, told: model.ImageDefinition, found: Declared, answers: Answers, vault: Vault
) -> Iterator[ConfigFile]:
    def text(*at: str) -> tuple[str, tuple[str, ...]]:
        mark = len(vault.asked)
        return rendering.render(image.beside(*at), answers), vault.asked_since(mark)

    for path, said in told.config.items():
        if isinstance(said, str) or said.template is not None:
            owned = found.files[path]
            words = text("config", path) if isinstance(said, str) else text("config", path, "template")
            yield ConfigFile(path, owned["uid"], owned["gid"], owned["mode"], *words)
    for path in told.beside:
        yield ConfigFile(path, 0, int(found.user.partition(":")[2]), "0640", *text("beside", path))


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
