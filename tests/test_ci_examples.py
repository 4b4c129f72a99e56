"""The files of examples/ci are what GitHub, GitLab, Zuul, Ansible, systemd and Kubernetes take, by what is published of their forms."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.kit import schemas
from tests.kit.project import ROOT

EXAMPLES = ROOT / "examples/ci"
FORMS = {
    "github/security-updates.yml": "vendor.github-workflows",
    "github/images.yml": "vendor.github-workflows",
    "gitlab/.gitlab-ci.yml": "vendor.gitlab-ci",
    "gitlab/images.gitlab-ci.yml": "vendor.gitlab-ci",
}


def faults(file: Path, form: str) -> str:
    """What check-jsonschema says of a file; it brings the forms."""
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", form, "--regex-variant", "python"]
    more = ["--data-transform", "gitlab-ci"] if "gitlab" in form else []
    done = subprocess.run([*words, *more, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout if done.returncode else ""


@pytest.mark.parametrize(("file", "form"), FORMS.items())
def test_a_pipeline(file: str, form: str, tmp_path: Path) -> None:
    assert faults(EXAMPLES / file, form) == ""
    broken = tmp_path / "broken.yml"
    broken.write_text(re.sub(r"(runs-on|script):", "x-\\1:", (EXAMPLES / file).read_text()))
    assert faults(broken, form) != "", "the form is not looked at"


class ZuulLoader(yaml.SafeLoader):
    """Zuul's secrets are of a kind of their own."""


ZuulLoader.add_constructor("!encrypted/pkcs1-oaep", lambda loader, node: str(node.tag))


def test_jobs_of_zuul() -> None:
    schema = copy.deepcopy(schemas.of("https://json.schemastore.org/zuul.json"))
    parts = schema["definitions"]
    # What the published form does not know of (zuul-ci.org/docs: job.post-review, any pipeline's name).
    parts["JobModel"]["properties"]["post-review"] = {"type": "boolean"}
    parts["ProjectModel"]["properties"]["periodic"] = parts["ProjectModel"]["properties"]["post"]
    found = yaml.load((EXAMPLES / "zuul/.zuul.yaml").read_text(), ZuulLoader)
    assert schemas.broken(found, schema) == []
    job = next(one["job"] for one in found if "job" in one)
    job["runs"] = job.pop("run")
    assert schemas.broken(found, schema) != []


@pytest.mark.parametrize("name", ["images", "publish", "security-updates"])
def test_a_playbook(name: str) -> None:
    address = (
        "https://raw.githubusercontent.com/ansible-community/schemas/main/f/ansible.json#%2Fdefinitions%2Fplaybook"
    )
    bundle: dict[str, Any] = schemas.of(address)
    schema = {"definitions": bundle["definitions"], "$ref": "#/definitions/playbook"}
    found = yaml.safe_load((EXAMPLES / f"zuul/{name}.yaml").read_text())
    assert schemas.broken(found, schema) == []
    found[0]["tasks"][0]["no_logs"] = found[0].pop("hosts")
    assert schemas.broken(found, schema) != []


def test_a_cron_job() -> None:
    found = yaml.safe_load((EXAMPLES / "kubernetes/cronjob.yaml").read_text())
    kubernetes_validate.validate(found, "1.34", strict=True)
    found["spec"]["jobTemplate"]["spec"]["template"]["spec"]["restartPolice"] = "Never"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(found, "1.34", strict=True)


def verified(folder: Path) -> subprocess.CompletedProcess[str]:
    units = sorted(map(str, folder.iterdir()))
    return subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )


def test_units(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "systemd", tmp_path / "units")
    service = tmp_path / "units/imgbuild-security.service"
    # It looks whether the program is there.
    text = service.read_text().replace("/usr/local/bin/imgbuild", sys.executable)
    service.write_text(text)
    done = verified(tmp_path / "units")
    assert (done.returncode, done.stderr) == (0, "")
    service.write_text(text.replace("TimeoutStartSec=3h", "TimeoutStartSec=soon\nNoSuchThing=1"))
    assert "NoSuchThing" in verified(tmp_path / "units").stderr
