"""Templates of configuration → their text. What is undefined is an error at its line, never an empty word."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from builder.deploy import functions
from builder.deploy.functions import Account, Entry, Secrets, Service, Services
from dsl.errors import DefinitionError, ImgbuildError, Place, Problem, nearest

_ABSENT = object()


class _Unknown(Exception):
    """A template asks for what is not there."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Answers:
    """What templates are answered.

    Attributes:
        accounts: the names of all accounts that are wanted where a function is provided, and what else each is to have.
    """

    services: Services
    values: Mapping[str, Any]
    secrets: Secrets
    accounts: Callable[[str], Mapping[str, tuple[str, ...]]] = lambda function: {}


def render(template: Path, answers: Answers) -> str:
    """The text of a template.

    It has five functions: ``service('FUNCTION')``, ``value('NAME')`` or ``value('NAME', DEFAULT)``, ``secret('NAME')``,
    and ``accounts('FUNCTION')`` and ``listed('FUNCTION')`` for who provides it.

    Raises:
        DefinitionError: it asks for what the site does not have, or is no template; with its line.
    """
    return _rendered(template.read_text(), str(template), lambda line: Place(template, line), answers)


def words(text: str, place: Place, answers: Answers) -> str:
    """A text of a definition, rendered as a template is.

    Args:
        place: where it stands.

    Raises:
        DefinitionError: as for ``render``, at its place.
    """
    return _rendered(text, f"<{place}>", lambda line: place, answers)


def _rendered(text: str, name: str, at: Callable[[int], Place], answers: Answers) -> str:
    services, values = answers.services, answers.values

    def service(function: str) -> Service:
        if function not in services:
            raise _Unknown(
                f"nothing at this site provides {function!r}",
                nearest(function, services) or "add a component that does, or its address under `services`",
            )
        return services[function]

    def accounts(function: str) -> tuple[Account, ...]:
        there = service(function)
        return tuple(there.account(name, *more) for name, more in answers.accounts(function).items())

    def listed(function: str) -> tuple[Entry, ...]:
        service(function)
        return functions.listed(services, function)

    def value(name: str, default: Any = _ABSENT) -> Any:
        found = values.get(name, default)
        if found is _ABSENT:
            raise _Unknown(f"the site has no value {name!r}", nearest(name, values) or "add it under `values`")
        return found

    def problem(line: int, message: str, hint: str = "") -> DefinitionError:
        lines = text.splitlines()
        said = lines[line - 1] if line <= len(lines) else ""
        return DefinitionError((Problem(at(line), "template", message, hint, said),))

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    try:
        code = environment.compile(text, filename=name)
        made = environment.template_class.from_code(environment, code, environment.make_globals(None))
        return made.render(service=service, value=value, secret=answers.secrets, accounts=accounts, listed=listed)
    except ImgbuildError:
        raise
    except TemplateSyntaxError as error:
        raise problem(error.lineno, error.message or "it cannot be read") from None
    except _Unknown as error:
        raise problem(_line(error, name), str(error), error.hint) from None
    except (TemplateError, SecurityError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise problem(_line(error, name), str(error)) from None


def _line(error: Exception, name: str) -> int:
    frames = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
    return (frames[-1] if frames else None) or 1
