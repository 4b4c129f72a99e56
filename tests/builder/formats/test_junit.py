"""JUnit's reports, read by a library that reads those of all tools."""

from __future__ import annotations

import pytest
from junitparser import Failure, JUnitXml, TestSuite

from builder.formats import junit
from builder.formats.junit import Case


def suite(*cases: Case) -> TestSuite:
    told = JUnitXml.fromstring(junit.report("imgbuild validate", cases))
    (found,) = told
    counted = (found.tests, found.failures, found.errors, found.time)
    told.update_statistics()  # type: ignore[no-untyped-call]
    assert (told.tests, told.failures, told.errors, pytest.approx(told.time)) == counted
    return found


def test_cases() -> None:
    found = suite(
        Case("oci:out:app:1-r1", seconds=1.25),
        Case("oci:out:web:1-r1", ("config: it is missing", "sha256:1: its size\nis another"), 0.5),
        Case("oci:out:db:1-r1", ('manifest: <it> & "that" is damaged',)),
    )
    good, two, one = found
    assert (good.name, good.classname, good.time, good.is_passed) == (
        "oci:out:app:1-r1", "imgbuild validate", 1.25, True,
    )  # fmt: skip
    assert [(type(x), x.message, x.text) for x in two.result] == [
        (Failure, "2 faults; config: it is missing", "config: it is missing\nsha256:1: its size\nis another")
    ]
    assert one.result[0].message == one.result[0].text == 'manifest: <it> & "that" is damaged'
    assert (found.tests, found.failures) == (3, 2)


def test_nothing_was_looked_at() -> None:
    assert list(suite()) == []


def test_what_xml_cannot_hold_is_left_out() -> None:
    (case,) = suite(Case("a\x00b\udc80", ("\x1b[31m\uffff ü 𝄞",)))
    assert case.name == "a\ufffdb\ufffd"
    assert case.result[0].text == "\ufffd[31m\ufffd ü 𝄞"
