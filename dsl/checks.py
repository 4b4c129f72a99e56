"""What a definition may say and yet should not: told by ``imgbuild check``, and before anything is built."""

from __future__ import annotations

import os.path
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dsl import base_passwd, model
from dsl.catalog import SHIPPED_LAYERS, Catalog, CatalogComponent, Definition, Located
from dsl.document import Path_
from dsl.errors import Place, Problem, nearest

SHELLS = frozenset(
    {"sh", "bash", "rbash", "dash", "ash", "zsh", "ksh", "mksh", "csh", "tcsh", "fish", "busybox", "su", "runuser"}
)
"""Programs that run a command line; `su` and `runuser` start a shell for it."""
STARTERS = frozenset(
    {
        "env", "nice", "ionice", "chrt", "taskset", "nohup", "setsid", "setpriv", "stdbuf", "timeout", "chroot",
        "unshare", "nsenter", "prlimit", "capsh", "tini", "dumb-init", "catatonit", "gosu", "su-exec", "xargs",
    }
)  # fmt: skip
"""Programs that start the one that their arguments name."""
SUDO = frozenset({"sudo", "sudo-ldap", "sudo-rs", "doas", "opendoas"})
MAX_TEMPLATE_BYTES = 1024 * 1024


def check(catalog: Catalog) -> tuple[Problem, ...]:
    """Everything that is wrong in a workspace, also what keeps files from being read."""
    definitions = tuple(catalog.definitions())
    found = {*catalog.problems, *_of(catalog.components, definitions), *_numbers(definitions)}
    return tuple(sorted(found.union(_templates(definitions))))


def of(catalog: Catalog, definitions: Iterable[Definition], *, templates: bool = False) -> tuple[Problem, ...]:
    """Everything that is wrong with some definitions and what they stand on.

    Args:
        templates: also of configuration, which no image holds, so that a build need not wait for it.
    """
    chosen = _with_chains(definitions)
    files = {file for one in chosen for file in (one.document.file, *one.document.others)}
    numbers = (one for one in _numbers(catalog.definitions()) if one.place.file in files)
    components = [one for one in catalog.components if one.name in {part.component for part in chosen}]
    return tuple(sorted({*_of(components, chosen), *numbers, *(_templates(chosen) if templates else ())}))


def _with_chains(definitions: Iterable[Definition]) -> tuple[Definition, ...]:
    return tuple({part.key: part for one in definitions for part in one.chain()}.values())


def _of(components: Iterable[CatalogComponent], definitions: Iterable[Definition]) -> Iterator[Problem]:
    for component in components:
        for name, source in component.model.sources.items():
            yield from _source(component, ("sources", name), source)
        yield from _order(component, "image", {name: image.after for name, image in component.model.images.items()})
    for definition in definitions:
        found = definition.model
        for path, file in found.files.items():
            yield from _file(definition, path, file)
        for index, wish in enumerate(found.packages.apt):
            if wish.split(" ")[0].split(":")[0] in SUDO:
                yield from _refuse(definition, ("packages", "apt", index), "sudo", wish)
        for name, source in found.sources.items():
            yield from _source(definition, ("sources", name), source)
        for name, environment in found.environments.items():
            yield from _environment(definition, ("environments", name), environment)
        yield from _owners(definition)
        yield from _one_number_one_name(definition)
        if isinstance(found, model.ImageDefinition):
            yield from _image(definition, found)


def _tell(located: Located, path: Path_, code: str, message: str, hint: str = "", *, key: bool = False) -> Problem:
    read, whole = located.document, (*located.at, *path)
    return read.problem(read.key_place(whole) if key else read.place(whole), code, message, hint)


def _refuse(definition: Definition, path: Path_, rule: str, what: str) -> Iterator[Problem]:
    if not any(rule in part.model.allow for part in definition.chain()):
        hint = f"if it must be, say why: allow: {{{rule}: the reason}}"
        yield _tell(definition, path, f"refused-{rule}", f"{what} in an image is refused", hint)


def _file(definition: Definition, at: str, file: model.File) -> Iterator[Problem]:
    path = ("files", at)
    given = [name for name in ("content", "from_", "url", "link") if getattr(file, name) is not None]
    if len(given) != 1:
        message = "exactly one of content, from, url and link is expected"
        yield _tell(definition, path, "one-of", message, key=True)
        return
    if file.url and not file.sha256:
        message = "a url wants a sha256, so that its bytes are known"
        yield _tell(definition, (*path, "url"), "missing", message)
    if file.sha256 and not file.url:
        yield _tell(definition, (*path, "sha256"), "one-of", "only a url wants a sha256")
    if at == "/etc/sudoers" or at.startswith("/etc/sudoers.d/"):
        yield from _refuse(definition, path, "sudo", "sudoers")
    start = (file.content or "").encode()[:2]
    if file.from_ is not None:
        problem = _beside(definition, (*path, "from"))
        if problem:
            yield problem
            return
        try:
            with definition.beside(*path, "from").open("rb") as stream:
                start = stream.read(2)
        except OSError as error:
            yield _tell(definition, (*path, "from"), "unreadable", f"{file.from_!r} cannot be read: {error.strerror}")
            return
    if start == b"#!" or at.endswith(".sh"):
        yield from _refuse(definition, path, "scripts", "a script of ours")
    elif file.url and int(file.mode, 8) & 0o111:
        yield from _refuse(definition, path, "scripts", "a program by url, which may be a script of ours,")


def _beside(located: Located, path: Path_, *, folder: bool = False) -> Problem | None:
    relative = str(located.document.value((*located.at, *path)))
    beside = located.place(*path).file.parent
    told = repr(relative if len(relative) <= 60 else relative[:57] + "…")
    if posixpath.isabs(relative) or ".." in relative.split("/"):
        return _tell(located, path, "outside", f"{told} leads out of the folder", "files lie beside the definition")
    kind = "folder" if folder else "file"
    try:
        target = (beside / relative).resolve(strict=True)
        if not target.is_relative_to(beside.resolve()):
            return _tell(located, path, "outside", f"{told} leads out of the folder by a link")
        if not (target.is_dir() if folder else target.is_file()):
            return _tell(located, path, f"not-a-{kind}", f"{told} is no {kind}")
    except (OSError, RuntimeError, ValueError):  # not there, a loop of links, a name that cannot be
        return _tell(located, path, "not-found", f"there is no {kind} {told} beside the definition")
    return None


def _source(located: Located, path: Path_, source: model.Source) -> Iterator[Problem]:
    given = [kind for kind in ("apt", "debs", "index", "wheels") if getattr(source, kind) is not None]
    if len(given) != 1:
        yield _tell(located, path, "one-of", "exactly one of apt, debs, index and wheels is expected", key=True)
    elif given[0] in ("debs", "wheels"):
        problem = _beside(located, (*path, given[0]), folder=True)
        if problem:
            yield problem
    elif given[0] == "apt":
        for key in ("suites", "keyring"):
            if not getattr(source, key):
                yield _tell(located, path, "missing", f"an apt source wants {key!r}", key=True)
        if source.keyring and not os.path.isfile(SHIPPED_LAYERS / "keyrings" / f"{source.keyring}.gpg"):
            problem = _beside(located, (*path, "keyring"))
            if problem:
                shipped = sorted(file.stem for file in (SHIPPED_LAYERS / "keyrings").glob("*.gpg"))
                yield replace(problem, hint=f"keyrings that ship: {', '.join(shipped)}")
        if source.valid_at:
            try:
                datetime.fromisoformat(source.valid_at)
            except ValueError:
                yield _tell(located, (*path, "valid_at"), "date", f"{source.valid_at!r} is no time")


def _environment(definition: Definition, path: Path_, environment: model.Environment) -> Iterator[Problem]:
    from dsl import requirements

    if not environment.wheels and environment.requirements is None:
        yield _tell(definition, path, "missing", "an environment wants `wheels` or `requirements`", key=True)
    for index, text in enumerate(environment.wheels):
        found = requirements.parsed(index, text)
        if isinstance(found, requirements.Wrong):
            yield _tell(definition, (*path, "wheels", index), "requirement", found.message, found.hint)
    if environment.requirements is None:
        return
    problem = _beside(definition, (*path, "requirements"))
    if problem:
        yield problem
        return
    file = definition.beside(*path, "requirements")
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError):
        yield Problem(Place(file), "unreadable", "the requirements cannot be read as UTF-8")
        return
    for one in requirements.lines(text):
        if isinstance(one, requirements.Wrong):
            said = text.splitlines()[one.line - 1]
            yield Problem(Place(file, one.line), "requirement", one.message, one.hint, said)


def _image(definition: Definition, image: model.ImageDefinition) -> Iterator[Problem]:
    run, health = image.run, image.run.health
    yield from _command(definition, ("run", "command"), run.command)
    yield from _order(definition, "step", {name: step.after for name, step in image.steps.items()})
    for name, step in image.steps.items():
        yield from _command(definition, ("steps", name, "command"), step.command)
        if step.when == "start" and not run.service:
            message = "nothing starts here: by `service: false` it is no service"
            yield _tell(definition, ("steps", name, "when"), "no-service", message, "say `before`")
    if health and health.exec:
        yield from _command(definition, ("run", "health", "exec"), health.exec)
    users: list[tuple[Path_, str]] = [(("run", "user"), run.user)]
    users += [(("steps", name, "user"), step.user) for name, step in image.steps.items() if step.user]
    for path, user in users:
        if user == "root":
            yield from _refuse(definition, path, "root", "root as user")
    if health:
        yield from _health(definition, run, health)
    seen: dict[tuple[int, str], str] = {}
    for name, port in run.ports.items():
        number = (port, "tcp") if isinstance(port, int) else (port.port, port.protocol)
        if seen.setdefault(number, name) != name:
            message = f"the port {number[0]}/{number[1]} is {seen[number]!r}, too"
            yield _tell(definition, ("run", "ports", name), "two-names", message)


def _order(located: Located, kind: str, after: Mapping[str, tuple[str, ...]]) -> Iterator[Problem]:
    """Names that are not there, and circles.

    Args:
        kind: what is in order: ``step``, ``image``.
        after: by name, which others come first.
    """
    for name, others in after.items():
        for index, other in enumerate(others):
            path = (f"{kind}s", name, "after", index)
            if other not in after:
                yield _tell(located, path, "unknown-name", f"there is no {kind} {other!r}", nearest(other, after))
            elif name in _followed(after, other):
                yield _tell(located, path, "circle", f"{other} waits for {name} itself")


def _followed(after: Mapping[str, tuple[str, ...]], name: str) -> frozenset[str]:
    found: set[str] = set()
    left = [name]
    while left:
        one = left.pop()
        if one not in found and one in after:
            found.add(one)
            left += after[one]
    return frozenset(found)


def _command(definition: Definition, path: Path_, command: tuple[str, ...]) -> Iterator[Problem]:
    links = {at: file.link for part in definition.chain() for at, file in part.model.files.items() if file.link}

    def program(word: str) -> str:
        return posixpath.basename(links.get(word) or word)

    if not command[0]:
        yield _tell(definition, (*path, 0), "value", "the name of a program is expected, found empty text")
    # What a starter starts is one of its arguments; which one, only its own options tell.
    count = len(command) if program(command[0]) in STARTERS else 1
    for index, word in enumerate(command[:count]):
        if program(word) in SHELLS:
            yield from _refuse(definition, (*path, index), "shell", f"a shell as command ({word})")
            return
        if program(word) in SUDO:
            yield from _refuse(definition, (*path, index), "sudo", f"sudo as command ({word})")
            return


def _health(definition: Definition, run: model.Run, health: model.Health) -> Iterator[Problem]:
    path = ("run", "health")
    given = [name for name in ("http", "tcp", "exec") if getattr(health, name) is not None]
    if len(given) != 1:
        yield _tell(definition, path, "one-of", "exactly one of http, tcp and exec is expected", key=True)
    for name in ("http", "tcp"):
        port = getattr(health, name)
        if port is not None and port not in run.ports:
            known = ", ".join(run.ports) or "none"
            yield _tell(definition, (*path, name), "unknown-port", f"there is no port {port!r}", f"there are: {known}")


def _owners(definition: Definition) -> Iterator[Problem]:
    """Users and groups without a number that is fixed: declared here or below, or one of Debian's own.

    One that a package's script makes gets its number when it is locked first; who owns what outlives an image, or
    what the definition itself makes, is not left to that.
    """
    parts = [part.model for part in definition.chain()]
    users = {name for part in parts for name in part.users} | base_passwd.USERS.keys()
    groups = {name for part in parts for name in part.groups} | base_passwd.GROUPS.keys()
    groups |= {name for part in parts for name, user in part.users.items() if user.group is None}
    for path, name in _named_users(definition.model):
        if name not in users:
            hint = f"say `users: {{{name}: {{uid: …}}}}` here or below: volumes and files outlive images"
            yield _tell(definition, path, "no-number", f"the user {name!r} has no fixed number", hint)
    for path, name in _named_groups(definition.model):
        if name not in groups:
            hint = f"say `groups: {{{name}: {{gid: …}}}}` here or below: volumes and files outlive images"
            yield _tell(definition, path, "no-number", f"the group {name!r} has no fixed number", hint)


def _owned(found: model.Definition) -> Iterator[tuple[Path_, model.Ownership | model.ConfigFile]]:
    for key in ("files", "folders", "statoverrides"):
        yield from (((key, path), one) for path, one in getattr(found, key).items())
    if isinstance(found, model.ImageDefinition):
        places: list[tuple[Path_, Any]] = [(("config", path), one) for path, one in found.config.items()]
        places += [(("run", "volumes", name), one) for name, one in found.run.volumes.items()]
        places += [(("run", "writable", index), one) for index, one in enumerate(found.run.writable)]
        for name, step in found.steps.items():
            places += [(("steps", name, "writable", index), one) for index, one in enumerate(step.writable)]
        yield from ((path, one) for path, one in places if not isinstance(one, str))


def _named_users(found: model.Definition) -> Iterator[tuple[Path_, str]]:
    if isinstance(found, model.ImageDefinition):
        yield ("run", "user"), found.run.user
        yield from ((("steps", name, "user"), step.user) for name, step in found.steps.items() if step.user)
    yield from (((*path, "owner"), one.owner) for path, one in _owned(found))


def _named_groups(found: model.Definition) -> Iterator[tuple[Path_, str]]:
    yield from ((("users", name, "group"), user.group) for name, user in found.users.items() if user.group)
    if isinstance(found, model.ImageDefinition):
        if found.run.group:
            yield ("run", "group"), found.run.group
        yield from ((("run", "groups", index), group) for index, group in enumerate(found.run.groups))
    yield from (((*path, "group"), one.group) for path, one in _owned(found) if one.group)


def _declared(definition: Definition) -> Iterator[tuple[str, str, int, Path_]]:
    """The numbers that a definition itself gives: user or group, name, number, where it says so."""
    for name, user in definition.model.users.items():
        yield "user", name, user.uid, ("users", name, "uid")
        if user.group is None and name not in definition.model.groups:
            said = "uid" if user.gid is None else "gid"
            yield "group", name, user.uid if user.gid is None else user.gid, ("users", name, said)
    for name, group in definition.model.groups.items():
        yield "group", name, group.gid, ("groups", name, "gid")


def _one_number_one_name(definition: Definition) -> Iterator[Problem]:
    names = {("user", number): name for name, number in base_passwd.USERS.items()}
    names |= {("group", number): name for name, number in base_passwd.GROUPS.items()}
    for part in definition.chain():
        for kind, name, number, path in _declared(part):
            first = names.setdefault((kind, number), name)
            if first != name and part is definition:
                message = f"the {kind}s {first!r} and {name!r} have the same number {number}"
                yield _tell(definition, path, "two-names", message, "give it a number of its own")


def _numbers(definitions: Iterable[Definition]) -> Iterator[Problem]:
    numbers = {("user", name): (number, "Debian") for name, number in base_passwd.USERS.items()}
    numbers |= {("group", name): (number, "Debian") for name, number in base_passwd.GROUPS.items()}
    for definition in definitions:
        for kind, name, number, path in _declared(definition):
            first, where = numbers.setdefault((kind, name), (number, definition.reference))
            if first != number:
                message = f"the {kind} {name!r} has the number {number} here and {first} in {where}"
                yield _tell(definition, path, "two-numbers", message, "volumes are shared: one name, one number")


def _templates(definitions: Iterable[Definition]) -> Iterator[Problem]:
    for definition in definitions:
        if isinstance(definition.model, model.ImageDefinition):
            for name, config in definition.model.config.items():
                path: Path_ = ("config", name) if isinstance(config, str) else ("config", name, "template")
                if isinstance(config, str) or config.template is not None:
                    problem = _beside(definition, path)
                    yield from (problem,) if problem else _template(definition.beside(*path))
            for name in definition.model.beside:
                problem = _beside(definition, ("beside", name))
                yield from (problem,) if problem else _template(definition.beside("beside", name))


def _template(file: Path) -> Iterator[Problem]:
    from jinja2 import Environment, TemplateSyntaxError

    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_TEMPLATE_BYTES + 1)
    except OSError as error:
        yield Problem(Place(file), "unreadable", f"the template cannot be read: {error.strerror}")
        return
    if len(raw) > MAX_TEMPLATE_BYTES:
        yield Problem(Place(file), "too-large", f"the template is larger than {MAX_TEMPLATE_BYTES // 1024 // 1024} MiB")
        return
    try:
        text = raw.decode()
        Environment().parse(text)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        yield Problem(Place(file, line), "not-utf-8", "the template is not UTF-8", "save the file as UTF-8")
    except TemplateSyntaxError as error:
        lines = text.splitlines()
        said = lines[error.lineno - 1] if error.lineno <= len(lines) else ""
        yield Problem(Place(file, error.lineno), "template", f"not a Jinja2 template: {error.message}", "", said)
    except (RecursionError, ValueError, OverflowError) as error:
        yield Problem(Place(file), "template", f"this template cannot be read: {error}")
