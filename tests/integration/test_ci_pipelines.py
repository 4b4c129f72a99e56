"""The pipelines of examples/ci, run: a change builds what it touches, and what is merged is published, signed."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from junitparser import JUnitXml

from tests.kit import keys, repositories
from tests.kit.distribution import SECOND, Site
from tests.kit.project import IMGBUILD, ROOT, environment
from tests.kit.registry import Registry
from tests.kit.repositories import Repository
from tests.test_ci_examples import ZuulLoader

pytestmark = [pytest.mark.integration, pytest.mark.sampled(4)]
EXAMPLES = ROOT / "examples/ci"
Scripts = tuple[str, str]
"""What runs for a change, and for what is merged."""


def github() -> Scripts:
    steps = yaml.safe_load((EXAMPLES / "github/images.yml").read_text())["jobs"]["images"]["steps"]

    def of(event: str) -> str:
        chosen = [one for one in steps if "run" in one and one.get("if", event).endswith((event, f"'{event}'"))]
        return "\n".join(one["run"] for one in chosen)

    return of("pull_request"), of("push")


def gitlab() -> Scripts:
    jobs = yaml.safe_load((EXAMPLES / "gitlab/images.gitlab-ci.yml").read_text())
    first, second = (
        "\n".join([*jobs[".imgbuild"]["before_script"], *jobs[name]["script"]]) for name in ("images", "publish")
    )
    return first, second


def jenkins() -> Scripts:
    text = (EXAMPLES / "jenkins/Jenkinsfile").read_text()
    check, change, publish = (
        "\n".join(one or two for one, two in re.findall(r"sh '''(.*?)'''|sh '([^'\n]+)'", stage, re.DOTALL))
        for stage in text.split("stage(")[1:]
    )
    return f"{check}\n{change}", f"{check}\n{publish}"


def zuul() -> Scripts:
    def of(name: str) -> str:
        (play,) = yaml.safe_load((EXAMPLES / f"zuul/{name}.yaml").read_text())
        told = []
        for task in play["tasks"]:
            module: Any = task.get("ansible.builtin.shell") or task.get("ansible.builtin.command")
            told += [module["cmd"]] if module else []
        return "\n".join(told).replace("{{ zuul.branch }}", "main")

    return of("images"), of("publish")


def test_the_job_of_zuul_runs_what_is_there() -> None:
    found = yaml.load((EXAMPLES / "zuul/.zuul.yaml").read_text(), ZuulLoader)
    jobs = {one["job"]["name"]: one["job"] for one in found if "job" in one}
    for job in jobs.values():
        assert (EXAMPLES / job["run"]).exists()
    (project,) = (one["project"] for one in found if "project" in one)
    assert {name for pipeline in project.values() for name in pipeline["jobs"]} == set(jobs)
    secret = {name for name, job in jobs.items() if "secrets" in job}
    assert secret == {"imgbuild-publish", "imgbuild-security-updates"}
    assert all(jobs[name]["post-review"] for name in secret), "a secret is not for what nobody has looked at"


@pytest.fixture
def upstream(site: Site, there: Registry, tmp_path: Path) -> Repository:
    """What the pipelines run on: two components, locked, with a branch that changes one of them."""
    site.write({"repos/second/component.yaml": SECOND, ".gitignore": "out\n"})
    site.edit("imgbuild.yaml", "workspace: site", f"workspace: site\nregistry: {there.host}/{tmp_path.name}")
    site.works("lock", "--all")
    made = repositories.made(site.folder)
    made.git("checkout", "--quiet", "-b", "change")
    site.edit("repos/second/component.yaml", "user: app}", "user: app, env: {A: b}}")
    site.works("lock", "second")
    made.commit("a change")
    return made


@pytest.mark.parametrize("pipeline", [github, gitlab, jenkins, zuul])
def test_a_pipeline(
    pipeline: Callable[[], Scripts], site: Site, upstream: Repository, there: Registry, tmp_path: Path
) -> None:
    for_change, for_main = pipeline()
    key = keys.pair(tmp_path)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "imgbuild").write_text(f'#!/bin/sh\nexec {shlex.join(IMGBUILD)} "$@"\n')
    (programs / "imgbuild").chmod(0o755)

    def run(script: str, branch: str, **more: str) -> subprocess.CompletedProcess[str]:
        runner = repositories.cloned(upstream, tmp_path / branch)
        runner.git("checkout", "--quiet", branch)
        env = environment(site.empty_cache(), site.env) | {
            "PATH": f"{programs}:{os.environ['PATH']}", "RUNNER_TEMP": str(tmp_path), "AUTH": "{}",
            "SIGNING_KEY": key.text, "COSIGN_PASSWORD": "", **more,
        }  # fmt: skip
        return subprocess.run(
            ["sh", "-ec", script], cwd=runner.folder, env=env, capture_output=True, text=True, check=False
        )

    base = upstream.branches()["main"]
    done = run(for_change, "change", BASE=base, CI_MERGE_REQUEST_DIFF_BASE_SHA=base, CHANGE_TARGET="main")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "second:1.2.3-r" in done.stdout
    assert "app:1-r1" not in done.stdout, "the change does not touch it"
    assert there.tags(f"{tmp_path.name}/second") == {}
    done = run(for_main, "main")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"1-r1", "1"} <= there.tags(f"{tmp_path.name}/app").keys()
    assert key.secrets[0] not in done.stdout + done.stderr
    # What it keeps for people to see is there: GitHub's at lines, of the others what was looked at.
    if pipeline is github:
        assert json.loads((tmp_path / "main/check.sarif").read_text())["runs"][0]["results"] == []
    elif pipeline is not zuul:
        for name, cases in {"check": 3, "locks": 3, "validate": 2}.items():
            (suite,) = JUnitXml.fromfile(str(tmp_path / f"main/{name}.xml"))
            assert (len(list(suite)), suite.failures) == (cases, 0), name


@pytest.mark.parametrize("pipeline", [github, gitlab, jenkins, zuul])
def test_a_base_that_git_does_not_know_ends_it(
    pipeline: Callable[[], Scripts], site: Site, upstream: Repository, tmp_path: Path
) -> None:
    script = "\n".join(line for line in pipeline()[0].splitlines() if "check" not in line)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "imgbuild").write_text(f'#!/bin/sh\nexec {shlex.join(IMGBUILD)} "$@"\n')
    (programs / "imgbuild").chmod(0o755)
    env = environment(site.cache, site.env) | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "BASE": "0" * 40, "CI_MERGE_REQUEST_DIFF_BASE_SHA": "0" * 40, "CHANGE_TARGET": "gone",
    }  # fmt: skip
    script = script.replace("origin/main", "origin/gone")
    done = subprocess.run(["sh", "-ec", script], cwd=site.folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "git knows no commit" in done.stderr
