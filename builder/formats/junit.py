"""What was looked at, and what did not hold of it, in the form of JUnit's reports that continuous integration reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold (2.2)."""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that was looked at.

    Attributes:
        faults: what does not hold of it, a line or more for each; none if all does.
        seconds: how long it took.
    """

    name: str
    faults: tuple[str, ...] = ()
    seconds: float = 0


def report(suite: str, cases: Sequence[Case]) -> bytes:
    """A report with one suite.

    Args:
        suite: the command: ``imgbuild validate``.
    """
    counts = {"tests": str(len(cases)), "failures": str(sum(bool(one.faults) for one in cases)), "errors": "0"}
    seconds = f"{sum(one.seconds for one in cases):.3f}"
    top = Element("testsuites", {"name": _text(suite), **counts, "time": seconds})
    within = SubElement(top, "testsuite", {"name": _text(suite), **counts, "skipped": "0", "time": seconds})
    for one in cases:
        told = {"classname": _text(suite), "name": _text(one.name), "time": f"{one.seconds:.3f}"}
        case = SubElement(within, "testcase", told)
        if one.faults:
            first = one.faults[0].partition("\n")[0]
            message = first if len(one.faults) == 1 else f"{len(one.faults)} faults; {first}"
            failure = SubElement(case, "failure", {"message": _text(message), "type": "fault"})
            failure.text = _text("\n".join(one.faults))
    ElementTree.indent(top)
    data: bytes = ElementTree.tostring(top, encoding="utf-8", xml_declaration=True)
    return data + b"\n"


def _text(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
