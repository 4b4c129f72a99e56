"""An image, from wherever it lies → a container of docker or podman that has what the image declares."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder import transports
from builder.declared import Declared
from builder.deploy import engine_words
from builder.deploy.engine_words import Place
from builder.errors import EngineError, UsageError
from builder.report import Reporter
from builder.tools.store import Store
from builder.transports import Target, engine, naming
from builder.transports.engine import Kind
from dsl.naming import Names


@dataclass(frozen=True, slots=True)
class Command:
    """A command of an engine.

    Attributes:
        program: its path.
        words: all that follows it.
    """

    program: str
    words: tuple[str, ...]

    def shown(self) -> tuple[str, ...]:
        """As a person would type it."""
        return (Path(self.program).name, *self.words)


def offered(text: str, kind: Kind | None, store: Store, reporter: Reporter, names: Names) -> tuple[Kind, Declared]:
    """An image in an engine, sent there if it lies elsewhere.

    Args:
        text: as images are named; ``docker:NAME`` and ``podman:NAME`` are there already.
        names: what releases are called in registries.
        kind: the engine that is wanted; the one that answers, docker first, if None.

    Raises:
        UsageError: there is no such image.
        EngineError: no engine answers, or it refuses the image.
    """
    there, colon, name = text.partition(":")
    if colon and there in ("docker", "podman"):
        found: Kind = "docker" if there == "docker" else "podman"
        if kind and kind != found:
            raise UsageError(f"{text} is in {found}, not in {kind}")
        return found, Declared(name, engine.connect(found, store).config(name))
    stored = transports.read_stored(text, store, names)
    image = transports.parsed(stored)
    chosen = kind or answering(store)
    declared = Declared(naming.tagged(stored.name), image.configuration.get("config") or {})
    named = transports.Named(declared.title, declared.reference, {})
    transports.write(image, Target(chosen, ""), named, store, reporter)
    return chosen, declared


def command(kind: Kind, declared: Declared, place: Place, step: str, options: Iterable[str]) -> Command:
    """The command that starts it.

    Args:
        step: a step in place of the service; the service if empty.
        options: further ones of ``run``: ``--detach``.

    Raises:
        UsageError: the image declares no such step, port or file, or wants a file that is not given.
        EngineError: the engine's program is not there.
    """
    _known("port", place.publish, declared.ports, declared)
    _known("file", place.config, declared.files, declared)
    wanted = [path for path, told in declared.files.items() if not told.get("optional") and path not in place.config]
    if wanted:
        hint = f"give each: --config {wanted[0]}=FILE"
        raise UsageError(f"{declared.reference} expects {' and '.join(wanted)}", hint)
    name = () if step else ("--name", place.name)
    return run(kind, (*name, *options, *engine_words.words(declared, kind, place, step)))


def run(kind: Kind, words: Iterable[str]) -> Command:
    """An engine's command ``run``.

    Args:
        words: all that follows it.

    Raises:
        EngineError: the engine's program is not there.
    """
    program = shutil.which(kind)
    if program is None:
        raise EngineError(f"the program {kind} is not here", f"install {kind}'s command line")
    # podman's program looks at its own storage; we have spoken to the service that CONTAINER_HOST names.
    far = ("--remote",) if kind == "podman" and os.environ.get("CONTAINER_HOST") else ()
    return Command(program, (*far, "run", *words))


def answering(store: Store) -> Kind:
    """The first engine that answers.

    Raises:
        EngineError: none does.
    """
    problems = []
    kinds: tuple[Kind, ...] = ("docker", "podman")
    for kind in kinds:
        try:
            engine.connect(kind, store)
        except EngineError as error:
            problems.append(error.message)
            continue
        return kind
    raise EngineError("; ".join(problems), "start one, or name where it listens: DOCKER_HOST, CONTAINER_HOST")


def _known(what: str, given: Mapping[str, object], declared: Mapping[str, object], image: Declared) -> None:
    for name in given:
        if name not in declared:
            has = f"it declares: {', '.join(sorted(declared))}" if declared else f"it declares no {what}"
            raise UsageError(f"{image.reference} declares no {what} {name!r}", has)
