"""What a definition may say and yet should not: told by ``imgbuild check``, and before anything is built."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from pathlib import Path

from dsl import model
from dsl.catalog import Catalog, Definition
from dsl.document import Document, Path_
from dsl.errors import Place, Problem

SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash", "busybox"})
MAX_TEMPLATE_BYTES = 1024 * 1024


def check(catalog: Catalog) -> tuple[Problem, ...]:
    """Everything that is wrong in a workspace, beside what kept a file from being read."""
    problems = list(catalog.problems)
    for component in catalog.components:
        read = catalog.documents[component.name]
        for definition in component.shared:
            problems += _definition(definition, read, ("layers", definition.name))
        for definition in component.images:
            problems += _definition(definition, read, ("images", definition.name))
            problems += _image(definition, read, ("images", definition.name))
    for layer in catalog.layers:
        if layer.name in catalog.documents:
            problems += _definition(layer, catalog.documents[layer.name], ())
    problems += _numbers(catalog)
    return tuple(sorted(set(problems)))


def of(catalog: Catalog, definitions: Iterable[Definition]) -> tuple[Problem, ...]:
    """What is wrong in the files of some definitions."""
    folders = {definition.folder for definition in definitions}
    return tuple(p for p in check(catalog) if any(p.place.file.is_relative_to(folder) for folder in folders))


def _allowed(definition: Definition, what: str) -> bool:
    return any(what in part.model.allow for part in definition.chain())


def _definition(definition: Definition, read: Document, at: Path_) -> Iterator[Problem]:
    found = definition.model
    for path, file in found.files.items():
        yield from _file(definition, read, (*at, "files", path), file)
        if path.startswith("/etc/sudoers") and not _allowed(definition, "sudo"):
            yield _refused(read, (*at, "files", path), "sudo", "sudoers")
    for index, wish in enumerate(found.packages.apt):
        if wish.split(" ")[0].split(":")[0] in ("sudo", "sudo-ldap") and not _allowed(definition, "sudo"):
            yield _refused(read, (*at, "packages", "apt", index), "sudo", "sudo")
    for name, source in found.sources.items():
        yield from _source(read, (*at, "sources", name), source, definition.folder)


def _refused(read: Document, path: Path_, rule: str, what: str) -> Problem:
    hint = f"if it must be, say why: allow: {{{rule}: the reason}}"
    return read.problem(read.place(path), f"refused-{rule}", f"{what} in an image is refused", hint)


def _file(definition: Definition, read: Document, path: Path_, file: model.File) -> Iterator[Problem]:
    given = [name for name in ("content", "from_", "url", "link") if getattr(file, name) is not None]
    if len(given) != 1:
        message = "exactly one of content, from, url and link is expected"
        yield read.problem(read.key_place(path), "one-of", message)
        return
    if file.url and not file.sha256:
        yield read.problem(read.place((*path, "url")), "missing", "a url wants a sha256, so that its bytes are known")
    start = (file.content or "").encode()[:2]
    if file.from_ is not None:
        where = (*path, "from")
        problem = _inside(read, where, definition.folder, file.from_)
        if problem:
            yield problem
            return
        with (definition.folder / file.from_).open("rb") as stream:
            start = stream.read(2)
    if start == b"#!" and not _allowed(definition, "scripts"):
        yield _refused(read, path, "scripts", "a script of ours")


def _inside(read: Document, path: Path_, folder: Path, relative: str) -> Problem | None:
    place = read.place(path)
    if posixpath.isabs(relative) or ".." in relative.split("/"):
        return read.problem(
            place, "outside", f"{relative!r} leads out of the folder", "files lie beside the definition"
        )
    target = folder / relative
    try:
        if not target.resolve(strict=True).is_relative_to(folder.resolve()):
            return read.problem(place, "outside", f"{relative!r} leads out of the folder by a link")
        if not target.is_file():
            return read.problem(place, "not-a-file", f"{relative!r} is no file")
    except (OSError, RuntimeError):
        return read.problem(place, "not-found", f"there is no file {relative!r} beside the definition")
    return None


def _source(read: Document, path: Path_, source: model.Source, folder: Path) -> Iterator[Problem]:
    if (source.apt is None) == (source.debs is None):
        yield read.problem(read.key_place(path), "one-of", "exactly one of apt and debs is expected")
    elif source.apt is not None:
        for key in ("suites", "keyring"):
            if not getattr(source, key):
                yield read.problem(read.key_place(path), "missing", f"an apt source wants {key!r}")
    elif source.debs is not None and (".." in source.debs.split("/") or not (folder / source.debs).is_dir()):
        yield read.problem(
            read.place((*path, "debs")), "not-found", f"there is no folder {source.debs!r} beside the definition"
        )


def _image(definition: Definition, read: Document, at: Path_) -> Iterator[Problem]:
    image = definition.model
    assert isinstance(image, model.ImageDefinition), "only images are given"
    commands: list[tuple[Path_, tuple[str, ...]]] = [(("run", "command"), image.run.command)]
    commands += [(("steps", name, "command"), step.command) for name, step in image.steps.items()]
    for where, command in commands:
        if posixpath.basename(command[0]) in SHELLS and not _allowed(definition, "shell"):
            yield _refused(read, (*at, *where, 0), "shell", f"a shell as command ({command[0]})")
    yield from _accounts(definition, image, read, at)
    health = image.run.health
    if health:
        given = [name for name in ("http", "tcp", "exec") if getattr(health, name) is not None]
        if len(given) != 1:
            yield read.problem(
                read.key_place((*at, "run", "health")), "one-of", "exactly one of http, tcp and exec is expected"
            )
        for name in ("http", "tcp"):
            port = getattr(health, name)
            if port is not None and port not in image.run.ports:
                known = ", ".join(image.run.ports) or "none"
                place = read.place((*at, "run", "health", name))
                yield read.problem(place, "unknown-port", f"there is no port {port!r}", f"there are: {known}")
    for path, config in image.config.items():
        template = config if isinstance(config, str) else config.template
        if template is not None:
            yield from _template(definition, read, (*at, "config", path), template)


def _accounts(definition: Definition, image: model.ImageDefinition, read: Document, at: Path_) -> Iterator[Problem]:
    known = {name for part in definition.chain() for name in part.model.users}
    run = image.run
    if run.user == "root":
        if not _allowed(definition, "root"):
            yield _refused(read, (*at, "run", "user"), "root", "root as user")
    elif run.user not in known:
        hint = f"say `users: {{{run.user}: {{uid: …}}}}` here or below"
        yield read.problem(
            read.place((*at, "run", "user")), "no-number", f"the user {run.user!r} has no fixed number", hint
        )
    places: list[tuple[Path_, model.Ownership]] = []
    places += [(("run", "volumes", name), v) for name, v in run.volumes.items() if not isinstance(v, str)]
    places += [(("run", "writable", i), w) for i, w in enumerate(run.writable) if not isinstance(w, str)]
    for path, owned in places:
        if owned.owner != "root" and owned.owner not in known:
            message = f"the owner {owned.owner!r} has no fixed number"
            yield read.problem(read.place((*at, *path, "owner")), "no-number", message, "volumes outlive images")


def _template(definition: Definition, read: Document, path: Path_, template: str) -> Iterator[Problem]:
    problem = _inside(read, path, definition.folder, template)
    if problem:
        yield problem
        return
    from jinja2 import Environment, TemplateSyntaxError

    file = definition.folder / template
    try:
        text = file.read_bytes()[:MAX_TEMPLATE_BYTES].decode()
        Environment().parse(text)
    except UnicodeDecodeError:
        yield Problem(Place(file), "not-utf-8", "the template is not UTF-8")
    except TemplateSyntaxError as error:
        line = text.splitlines()[error.lineno - 1] if error.lineno <= len(text.splitlines()) else ""
        yield Problem(Place(file, error.lineno), "template", f"not a Jinja2 template: {error.message}", "", line)


def _numbers(catalog: Catalog) -> Iterator[Problem]:
    uids: dict[str, tuple[int, str]] = {}
    for component in catalog.components:
        for definition in (*component.shared, *component.images):
            at: Path_ = ("layers" if definition.kind == "shared" else "images", definition.name)
            yield from _same_numbers(definition, catalog.documents[component.name], at, uids)
    for layer in catalog.layers:
        yield from _same_numbers(layer, catalog.documents[layer.name], (), uids)


def _same_numbers(
    definition: Definition, read: Document, at: Path_, uids: dict[str, tuple[int, str]]
) -> Iterator[Problem]:
    for name, user in definition.model.users.items():
        first, where = uids.setdefault(name, (user.uid, definition.name))
        if first != user.uid:
            place = read.place((*at, "users", name, "uid"))
            message = f"the user {name!r} has the number {user.uid} here and {first} in {where}"
            yield read.problem(place, "two-numbers", message, "volumes are shared: one name, one number")
