"""A definition's answers to debconf's questions, held against what packages ask."""

from __future__ import annotations

import re
from collections.abc import Iterable

from builder.errors import MakeError
from builder.make.dpkg_status import Stanza, Unpacked, parse
from builder.model.lock import LockedAnswer
from dsl.errors import nearest

_COMMA = re.compile(r"(?<!\\),\s*")


def selections(answers: Iterable[LockedAnswer], packages: Iterable[Unpacked]) -> str:
    """What debconf-set-selections is given; the type of an answer is that of its question.

    Raises:
        MakeError: no package asks the question, or it does not take the answer.
    """
    asked = {
        stanza.get("Template"): (package.name, stanza)
        for package in packages
        for stanza in parse(package.text("templates"))
    }
    return "".join(_line(answer, asked) for answer in answers)


def _line(answer: LockedAnswer, asked: dict[str, tuple[str, Stanza]]) -> str:
    where = f"debconf: {answer.package}: {answer.question}"
    if answer.question not in asked:
        own = [question for question, (package, _) in asked.items() if package == answer.package]
        raise MakeError(f"{where}: no package asks this", nearest(answer.question, own) if own else "")
    _, template = asked[answer.question]
    kind = template.get("Type")
    choices = _choices(template)
    values = [answer.value]
    if kind == "boolean":
        choices = ("true", "false")
    elif kind == "multiselect":
        values = [value for value in _COMMA.split(answer.value) if value]
    elif kind != "select":
        choices = ()
    wrong = [value for value in values if choices and value not in choices]
    if wrong:
        raise MakeError(f"{where}: {wrong[0]!r} is no answer", f"it is one of {', '.join(choices)}")
    return f"{answer.package} {answer.question} {kind} {answer.value}\n"


def _choices(template: Stanza) -> tuple[str, ...]:
    texts = (template.get("Choices-C") or template.get("Choices"), template.get("Choices"))
    if any("${" in text for text in texts):
        # Only the package's own script knows them.
        return ()
    return tuple(dict.fromkeys(choice.strip() for text in texts for choice in _COMMA.split(text) if choice.strip()))
