"""The commands of examples/ci, run: each pushes the branch of the night, and the next night's."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.integration.test_security_update import day0
from tests.integration.test_watch import NAME, fix, repository, site
from tests.kit import repositories
from tests.kit.distribution import Site
from tests.kit.project import IMGBUILD, ROOT, environment
from tests.kit.repositories import Repository

pytestmark = pytest.mark.integration
__all__ = ["day0", "repository", "site"]

EXAMPLES = ROOT / "examples/ci"
OTHERS = "https://imgbuild:secret@git.acme.example/images.git"
BY_HAND = """\
#!/bin/sh
# What GitHub's own program would be asked for.
echo "$@" >> {told}
[ "$1 $2" != "pr list" ] || test ! -e {told}.open || echo 7
[ "$1 $2" != "pr create" ] || touch {told}.open
"""
Script = Callable[[Path], str]


def github(folder: Path) -> str:
    steps = yaml.safe_load((EXAMPLES / "github/security-updates.yml").read_text())["jobs"]["watch"]["steps"]
    first, second, third = (one["run"] for one in steps if "run" in one)
    update, status = (re.search(r'"\$IMAGE" (.*)', one) for one in (first, third))
    assert update
    assert status
    # In its own shell, since the pipeline's has one for each.
    return f"{update[1]} || code=$?\n({second})\n{status[1]}\ngrep -q sarif-2.1.0 flaws.sarif\nexit ${{code:-0}}"


def gitlab(folder: Path) -> str:
    found = yaml.safe_load((EXAMPLES / "gitlab/.gitlab-ci.yml").read_text())["security-updates"]
    return "\n".join(found["script"])


def systemd(folder: Path) -> str:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(EXAMPLES / "systemd/imgbuild-security.service")
    found = unit["Service"]
    words = [shlex.split(found[key]) for key in ("ExecStartPre", "ExecStart", "ExecStopPost")]
    before, start, after = (shlex.join([Path(one[0]).name, *one[1:]]) for one in words)
    return f"{before}\n{start} || code=$?\n{after}\nexit ${{code:-0}}".replace("/var/cache/imgbuild/out", "out")


def jenkins(folder: Path) -> str:
    (script,) = re.findall(
        r"sh '''(.*?)'''", (EXAMPLES / "jenkins/Jenkinsfile.security-updates").read_text(), re.DOTALL
    )
    return str(script)


def zuul(folder: Path) -> str:
    (play,) = yaml.safe_load((EXAMPLES / "zuul/security-updates.yaml").read_text())
    (script,) = (task["ansible.builtin.shell"]["cmd"] for task in play["tasks"] if "ansible.builtin.shell" in task)
    return str(script)


def kubernetes(folder: Path) -> str:
    found = yaml.safe_load((EXAMPLES / "kubernetes/cronjob.yaml").read_text())
    return str(found["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"][2])


@pytest.mark.parametrize("script", [github, gitlab, jenkins, zuul, systemd, kubernetes])
def test_the_branch_is_pushed(script: Script, site: Site, repository: Repository, tmp_path: Path) -> None:
    bare = Repository(tmp_path / "images.git")
    repository.git("clone", "--quiet", "--bare", ".", str(bare.folder))
    bare.git("config", "receive.advertisePushOptions", "true")
    hook = bare.folder / "hooks/pre-receive"
    hook.write_text(f"#!/bin/sh\nenv | grep GIT_PUSH_OPTION_ >> {tmp_path}/options || true\n")
    hook.chmod(0o755)
    programs = tmp_path / "programs"
    programs.mkdir()
    words = shlex.join([*IMGBUILD])
    for name, text in {
        "imgbuild": f'#!/bin/sh\nexec {words} "$@"\n',
        "gh": BY_HAND.format(told=tmp_path / "asked"),
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    settings = tmp_path / "gitconfig"
    settings.write_text(f'[url "{bare.folder}"]\n\tinsteadOf = {OTHERS}\n[user]\n\tname = T\n\temail = t@localhost\n')
    env = environment(site.cache, {**site.env, "GIT_CONFIG_GLOBAL": str(settings)}) | {
        "PATH": f"{programs}:{os.environ['PATH']}", "BRANCH": NAME, "AUTHOR": "Images <images@acme.example>",
        "REPOSITORY": str(bare.folder), "HOME": str(tmp_path), "GITHUB_REF_NAME": "main", "CI_DEFAULT_BRANCH": "main",
        "PUSH_TOKEN": "secret", "CI_SERVER_HOST": "git.acme.example", "CI_PROJECT_PATH": "images",
    }  # fmt: skip

    def night(number: int) -> str:
        # Each of them on a runner that has nothing but a store; the feed is what it is that night.
        folder = tmp_path / f"runner-{number}"
        if script is kubernetes:
            folder.mkdir()
        else:
            repositories.cloned(bare, folder)
        text = re.sub("imgbuild security (watch|status)", rf"\g<0> --feed {site.folder}/tracker.json", script(folder))
        done = subprocess.run(["sh", "-ec", text], cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return bare.branches().get(NAME, "")

    first = night(1)
    assert "lib 1.1" in lock(bare)
    assert bare.git("log", "-1", "--format=%P", NAME) == bare.branches()["main"]
    assert night(2) == first
    fix(site, "lib", "1.2", ("lib", "CVE-2026-3", "1.2"))
    assert night(3) != first
    assert "lib 1.2" in lock(bare)
    if script is gitlab:
        assert "merge_request.title=Security update: lib" in (tmp_path / "options").read_text()
    if script is github:
        asked = [line.split()[1] for line in (tmp_path / "asked").read_text().splitlines()]
        assert asked == ["list", "create", "list", "edit", "list", "edit"]


def lock(bare: Repository) -> str:
    """What the branch has of the library."""
    text = bare.show(NAME, "layers/middle/lock.yaml")
    return " ".join(f"lib {version}" for version in ("1.1", "1.2") if f'"lib", "{version}"' in text)
