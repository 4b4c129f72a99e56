"""A site's file × the workspace → Kubernetes objects: images by the digests of their releases, files if they are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.deploy.kubernetes import objects, text
from builder.deploy.kubernetes.objects import Rendered
from builder.deploy.kubernetes.waves import CircleError
from builder.deploy.workload import Deployment
from builder.errors import RecordError, UsageError, of_system
from builder.model.plan import ImagePlan
from builder.pipeline import building, deploying, packages, recording, sites
from builder.pipeline.edges import Edges
from builder.pipeline.sites import SiteFile
from builder.pipeline.vault import Vault
from builder.tools import files as files_
from builder.transports import oci_layout
from dsl.catalog import Catalog
from dsl.errors import DefinitionError, nearest

_LAYOUT = Path("out")
_WAY_OUT = "build and publish them, or name the layout that has them: --layout DIR"


@dataclass(frozen=True, slots=True)
class Manifests:
    """What a site comes to on a cluster.

    Attributes:
        unreleased: the images of which no release is known, by their tags.
    """

    rendered: Rendered
    images: Mapping[str, str]
    unreleased: tuple[str, ...]


def render(
    catalog: Catalog,
    file: SiteFile,
    version: tuple[int, int],
    vault: Vault,
    layouts: tuple[Path, ...],
    edges: Edges,
) -> Manifests:
    """All objects of a site but for Secrets that are not known, and which images are not by their digests.

    Args:
        layouts: where releases lie beside those that the record knows; ``out`` if there are none.

    Raises:
        DefinitionError: the site names what is not there, or a template asks for it.
        StaleLock: an image's lock cannot be used.
        UsageError: a layout is none.
    """
    found, plans, known = _found(catalog, file, vault, layouts, edges)
    try:
        rendered = objects.render(found, version, unknown=vault.left_out)
    except CircleError as error:
        message = f"these components need each other: {error}"
        raise file.problem(("components",), "circle", message, "one of them has to do without") from None
    references = {one.name: one.declared.reference for one in found.workloads}
    unreleased = tuple(f"{plan.image}:{plan.tag}" for key, plan in plans.items() if key not in known)
    return Manifests(rendered, references, unreleased)


def step(
    catalog: Catalog,
    file: SiteFile,
    version: tuple[int, int],
    vault: Vault,
    layouts: tuple[Path, ...],
    edges: Edges,
    image: str,
    name: str,
) -> tuple[tuple[Mapping[str, Any], ...], bool]:
    """The Job of a step, at last, and what it is configured from; and whether it only runs by hand.

    Raises:
        UsageError: there is no such image or step at the site, or no release of it is known.
        DefinitionError: the site names what is not there, or a template asks for it.
    """
    found, _, _ = _found(catalog, file, vault, layouts, edges)
    meant = {one.name: one for one in found.workloads if image in (one.name, f"{one.component}/{one.name}")}
    if not meant:
        raise UsageError(f"{image!r} does not run at this site", nearest(image, {one.name for one in found.workloads}))
    one = next(iter(meant.values()))
    steps = {each.name: each for each in one.steps}
    if name not in steps:
        raise UsageError(f"{one.name} has no step {name!r}", nearest(name, steps) or "it has none")
    if "@" not in one.declared.reference:
        raise UsageError(f"no release is known of: {one.declared.reference}", _WAY_OUT)
    return objects.step(found, version, one, name), steps[name].when == "by-hand"


def _found(
    catalog: Catalog, file: SiteFile, vault: Vault, layouts: tuple[Path, ...], edges: Edges
) -> tuple[Deployment, Mapping[str, ImagePlan], Mapping[str, str]]:
    """What runs at a site; with the plans of its images, and the digests of those that were released, by their keys."""
    images = sites.images(catalog, file)
    plans = building.plans(catalog, images, edges)
    known = _digests(catalog, plans, layouts, edges)
    found = deploying.on_cluster(catalog, file, images, vault, plans, known)
    for name in file.site.secrets:
        if name not in vault.asked:
            message = f"no template of this site asks for the secret {name!r}"
            raise DefinitionError(
                (file.told(("secrets", name), "unknown-name", message, nearest(name, vault.asked), key=True),)
            )
    return found, plans, known


def write(found: Rendered, folder: Path) -> tuple[Path, ...]:
    """Write each object to a file of its own, and take away those of a time before.

    Raises:
        ImgbuildError: the folder cannot be written to.
    """
    texts = {objects.file_name(one): text.stream((one,)) for one in found.objects}
    secret = {objects.file_name(one) for one in found.objects if one["kind"] == "Secret"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.yaml"):
            if path.name not in texts and path.read_text(errors="replace").startswith(text.HEAD):
                path.unlink()
        for name, said in texts.items():
            files_.write(folder / name, said.encode(), 0o600 if name in secret else 0o644)
    except OSError as error:
        raise of_system(error, "the site cannot be rendered", str(folder)) from None
    return tuple(folder / name for name in texts)


def _digests(
    catalog: Catalog, plans: Mapping[str, ImagePlan], layouts: tuple[Path, ...], edges: Edges
) -> dict[str, str]:
    """The digests of images that were built from what their locks say now, by the keys of images."""
    there, recorded = dict(_in_layouts(layouts)), dict(_in_record(catalog, plans.values(), edges))
    # The record knows one architecture's image, and the index of all only where it is published.
    several = len(packages.architectures(catalog)) > 1
    released = {**recorded, **there} if several else {**there, **recorded}
    found = ((key, released.get(_called(plan))) for key, plan in plans.items() if plan.revision)
    return {key: digest for key, digest in found if digest}


def _called(plan: ImagePlan) -> tuple[str, str]:
    return plan.image, plan.content_key


def _in_layouts(layouts: tuple[Path, ...]) -> Iterator[tuple[tuple[str, str], str]]:
    for folder in layouts or ((_LAYOUT,) if (_LAYOUT / "index.json").exists() else ()):
        for entry in oci_layout.at(folder).entries:
            for told in (one.notes for one in entry.every):
                if told.get("org.imgbuild.revision", "0") != "0":
                    name = told.get("org.imgbuild.image", ""), told.get("org.imgbuild.content-key", "")
                    # Of several architectures every node takes its own.
                    yield name, (entry.index or entry).digest


def _in_record(
    catalog: Catalog, plans: Iterable[ImagePlan], edges: Edges
) -> Iterator[tuple[tuple[str, str], str]]:  # fmt: skip
    try:
        record = recording.existing(catalog, edges.store)
        if record is None:
            return
        # Most commands do without SQLAlchemy.
        from builder.record import publications, releases

        several = len(packages.architectures(catalog)) > 1
        wanted = {(plan.component, plan.image): plan for plan in plans}
        with record.reading() as connection:
            for image in releases.images(connection, recording.workspace(catalog)):
                plan = wanted.get((image.component, image.name))
                for number, one in releases.some(connection, image).items() if plan else ():
                    if plan and (one.version, one.revision, one.content_key) == (
                        plan.version, plan.revision, plan.content_key
                    ) and one.digest:  # fmt: skip
                        out = publications.since(connection, image.number, number).get(number, ()) if several else ()
                        # Of several architectures every node takes its own.
                        yield _called(plan), next((x.digest for x in out if x.digest != one.digest), one.digest)
    except RecordError as error:
        edges.reporter.warn(f"without the record: {error.message}")


def require_released(found: Manifests) -> None:
    """See that every image goes by its digest.

    Raises:
        UsageError: of some no release is known.
    """
    if found.unreleased:
        raise UsageError(
            f"no release is known of: {', '.join(found.unreleased)}",
            _WAY_OUT,
        )
