"""What commands find, in the files that continuous integration shows: ``--junit``, ``--sarif``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from builder.formats import sarif
from tests.integration.test_security import tracker, with_library
from tests.kit import keys, schemas
from tests.kit.distribution import Site
from tests.kit.project import own
from tests.kit.repositories import made

pytestmark = [pytest.mark.integration, pytest.mark.sampled(3)]
__all__ = ["with_library"]


def log(file: Path) -> list[dict[str, Any]]:
    """The results of a log, which is as its schema wants it."""
    told = json.loads(file.read_text())
    assert schemas.faults(told, sarif.SCHEMA) == []
    return list(told["runs"][0]["results"])


def place(result: dict[str, Any]) -> tuple[str, int]:
    where = result["locations"][0]["physicalLocation"]
    return where["artifactLocation"]["uri"], where["region"]["startLine"]


def cases(file: Path) -> dict[str, str]:
    """What is said of each case that failed; nothing of those that did not."""
    (suite,) = JUnitXml.fromfile(str(file))
    return {str(one.name): str(one.result[0].text) if one.result else "" for one in suite}


def test_what_is_wrong_with_definitions(site: Site) -> None:
    work = site.folder
    words = ("check", "--sarif", "check.sarif", "--junit", "check.xml")
    site.works(*words)
    assert log(work / "check.sarif") == []
    assert cases(work / "check.xml") == {"layers/tiny/layer.yaml": "", "repos/app/component.yaml": ""}
    site.edit("repos/app/component.yaml", "images:", "imags:")
    assert site.run(*words).code == 2
    (found,) = [one for one in log(work / "check.sarif") if one["ruleId"] == "unknown-key"]
    assert (found["level"], place(found)) == ("error", ("repos/app/component.yaml", 5))
    assert "did you mean 'images'?" in found["message"]["text"]
    assert "imags" in cases(work / "check.xml")["repos/app/component.yaml"]
    # From the top of the repository, if the workspace is a folder of one.
    made(work.parent)
    site.run(*words)
    assert place(log(work / "check.sarif")[0])[0] == "work/repos/app/component.yaml"


def test_a_workspace_that_cannot_be_read(site: Site) -> None:
    site.edit("imgbuild.yaml", "workspace:", "workspce:")
    assert site.run("check", "--sarif", "check.sarif", "--junit", "check.xml").code == 2
    assert {place(one)[0] for one in log(site.folder / "check.sarif")} == {"imgbuild.yaml"}
    assert "workspce" in "".join(cases(site.folder / "check.xml").values())


def test_locks_that_do_not_fit(site: Site) -> None:
    site.works("lock", "--all", "--check", "--junit", "locks.xml")
    assert cases(site.folder / "locks.xml") == {"app": "", "tiny": ""}
    site.edit("repos/app/component.yaml", "apt: [app]", "apt: [app, adduser]")
    assert site.run("lock", "--all", "--check", "--junit", "locks.xml").code == 3
    found = cases(site.folder / "locks.xml")
    assert (found["tiny"], bool(found["app"])) == ("", True)
    assert "--check finds" in site.run("lock", "app", "--junit", "locks.xml").errors


def test_images_that_are_damaged(site: Site, tmp_path: Path) -> None:
    key = keys.pair(tmp_path)
    site.build()
    site.works("validate", "oci:out", "--junit", "images.xml")
    assert cases(site.folder / "images.xml") == {"oci:out:app:1-r1": ""}
    layer = site.image().layers[0]
    blob = site.folder / "out/blobs/sha256" / layer.digest.removeprefix("sha256:")
    own(blob, blob.read_bytes()[:-1])
    assert site.run("validate", "oci:out", "--junit", "images.xml").code == 3
    assert layer.digest in cases(site.folder / "images.xml")["oci:out:app:1-r1"]
    assert site.run("verify", "oci:out", "--signed-by", str(key.public), "--junit", "signed.xml").code == 3
    assert cases(site.folder / "signed.xml")["oci:out:app:1-r1"]


def test_what_is_open(with_library: Site) -> None:
    site, file = with_library, with_library.folder / "flaws.sarif"
    words = ("security", "status", "--feed", "tracker.json", "--sarif", "flaws.sarif")
    assert site.run(*words).code == 3
    (found,) = log(file)
    assert (found["ruleId"], found["level"]) == ("CVE-2026-1", "error")
    name, line = place(found)
    assert name == "repos/app/lock.yaml"
    assert site.lock().splitlines()[line - 1].startswith('  - ["lib", "1"')
    rule = json.loads(file.read_text())["runs"][0]["tool"]["driver"]["rules"][0]
    assert (rule["helpUri"], rule["properties"]["security-severity"]) == (
        "https://security-tracker.debian.org/tracker/CVE-2026-1", "8.0",
    )  # fmt: skip
    # Somebody has decided that it does not matter: it is told, and closed.
    site.edit("imgbuild.yaml", "workspace: site\n", "workspace: site\nfeeds: [tracker.json]\n")
    site.works("security", "ignore", "CVE-2026-1", "--because", "nobody calls it", "--justification",
               "vulnerable_code_not_in_execute_path", "--until", "2099-01-01")  # fmt: skip
    site.run(*words)
    (found,) = log(file)
    assert "nobody calls it" in found["suppressions"][0]["justification"]
    (site.folder / "tracker.json").write_text(tracker("1"))
    site.works(*words)
    assert log(file) == []


def test_a_file_that_cannot_be(site: Site) -> None:
    result = site.run("validate", "oci:out", "--junit", "nowhere/x.xml")
    assert result.code == 2
    assert "there is no folder 'nowhere'" in result.errors
