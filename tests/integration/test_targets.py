"""Several targets at once: one that is broken does not end the others."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.distribution import APP, Site

pytestmark = pytest.mark.integration


def second(site: Site, name: str = "second") -> None:
    """Add a component."""
    text = APP.replace("component: app", f"component: {name}").replace("  app:\n", f"  {name}:\n", 1)
    site.write({f"repos/{name}/component.yaml": text})


def summary(output: Any) -> dict[str, str]:
    return {image["image"]: image["status"] for image in output["images"]}


def test_a_broken_definition_does_not_end_the_others(site: Site) -> None:
    second(site)
    site.write({"repos/bad/component.yaml": APP.replace("component: app", "component: bad\nsumary: x")})
    result = site.run("build", "--all", "--json")
    assert result.code == 2
    # Nothing but the name differs, so every layer of the second is there.
    assert summary(result.json) == {"app": "reused", "second": "reused", "bad": "failed"}
    result = site.run("build", "app", "bad")
    assert result.code == 2
    assert "repos/bad/component.yaml:" in result.errors
    assert "app:1-r1" in result.output


def test_a_failing_script_does_not_end_the_others(site: Site) -> None:
    second(site)
    site.repo.add("app", "2", files={"usr/bin/app": ""}, postinst="#!/bin/sh\n[ ! -e /etc/fail ] || exit 9\n")
    site.repo.publish()
    site.works("lock", "app", "second", "--update")
    files = "    files: {/etc/fail: {content: x, before: configure}}\n    users:"
    site.edit("repos/app/component.yaml", "    users:", files)
    result = site.run("build", "app", "second", "--json")
    assert result.code == 1
    (failed,) = [image for image in result.json["images"] if image["image"] == "app"]
    assert failed["status"] == "failed"
    assert "its postinst failed" in failed["because"]
    assert summary(result.json)["second"] in ("built", "reused")
    text = site.run("build", "app", "second")
    assert text.code == 1
    assert "error: app: its postinst failed" in text.errors
    assert [line.split()[1] for line in text.output.splitlines()[1:]] == ["failed", "reused"]


def test_what_stands_on_a_failed_layer_is_skipped(site: Site) -> None:
    site.repo.add("shared", postinst="#!/bin/sh\n[ ! -e /etc/fail ] || exit 9\n")
    site.repo.publish()
    shared = "layers:\n  app-base:\n    summary: shared\n    extends: tiny ^1.0\n    packages: {apt: [shared]}\n"
    fail = "    files: {/etc/fail: {content: x, before: configure}}\n"
    other = APP[APP.index("  app:") :].replace("  app:", "  other:", 1)
    both = (APP + other).replace("extends: tiny ^1.0", "extends: app-base")
    site.write({"repos/app/component.yaml": both.replace("images:", f"{shared}images:", 1)})
    site.works("lock", "app")
    second(site)
    site.works("lock", "second")
    site.edit("repos/app/component.yaml", "packages: {apt: [shared]}\n", f"packages: {{apt: [shared]}}\n{fail}")
    result = site.run("build", "app", "second", "--json")
    assert result.code == 1
    assert summary(result.json)["second"] in ("built", "reused")
    assert {summary(result.json)[name] for name in ("app", "other")} <= {"failed", "skipped"}


def test_an_unknown_target_does_not_end_the_others(site: Site) -> None:
    result = site.run("build", "app", "ap")
    assert result.code == 2
    assert "did you mean 'app'?" in result.errors
    assert [line.split()[1] for line in result.output.splitlines()[1:]] == ["reused", "failed"]
