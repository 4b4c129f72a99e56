"""Templates of configuration → their text. What is undefined is an error at its line, never an empty word."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from builder.deploy.functions import Secrets, Service, Services
from dsl.errors import DefinitionError, ImgbuildError, Place, Problem, nearest

_ABSENT = object()


class _Unknown(Exception):
    """A template asks for what is not there."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def render(template: Path, services: Services, values: Mapping[str, Any], secrets: Secrets) -> str:
    """The text of a template.

    It has three functions: ``service('FUNCTION')``, ``value('NAME')`` or ``value('NAME', DEFAULT)``, and
    ``secret('NAME')``.

    Raises:
        DefinitionError: it asks for what the site does not have, or is no template; with its line.
    """

    def service(function: str) -> Service:
        if function not in services:
            raise _Unknown(
                f"nothing at this site provides {function!r}",
                nearest(function, services) or "add a component that does, or its address under `services`",
            )
        return services[function]

    def value(name: str, default: Any = _ABSENT) -> Any:
        found = values.get(name, default)
        if found is _ABSENT:
            raise _Unknown(f"the site has no value {name!r}", nearest(name, values) or "add it under `values`")
        return found

    text = template.read_text()
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    try:
        code = environment.compile(text, filename=str(template))
        made = environment.template_class.from_code(environment, code, environment.make_globals(None))
        return made.render(service=service, value=value, secret=secrets)
    except ImgbuildError:
        raise
    except TemplateSyntaxError as error:
        raise _problem(template, text, error.lineno, error.message or "it cannot be read") from None
    except _Unknown as error:
        raise _problem(template, text, _line(error, template), str(error), error.hint) from None
    except (TemplateError, SecurityError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise _problem(template, text, _line(error, template), str(error)) from None


def _line(error: Exception, template: Path) -> int:
    frames = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(template)]
    return (frames[-1] if frames else None) or 1


def _problem(template: Path, text: str, line: int, message: str, hint: str = "") -> DefinitionError:
    lines = text.splitlines()
    said = lines[line - 1] if line <= len(lines) else ""
    return DefinitionError((Problem(Place(template, line), "template", message, hint, said),))
