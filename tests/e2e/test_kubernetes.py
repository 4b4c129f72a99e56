"""A site on a real cluster: applied, changed, broken, mended, interrupted and taken away again."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kit.fleet import Fleet
from tests.kit.kubernetes.cluster import RELEASE, Cluster, free_port, started, until
from tests.kit.project import IMGBUILD, ROOT, Run, environment, imgbuild

pytestmark = [pytest.mark.e2e, pytest.mark.full]
NAMESPACE = "identity"
REGISTRY = "kube.local"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster for the module, with volumes for claims."""
    with started(tmp_path_factory.mktemp("kubernetes")) as found:
        found.volumes(8)
        yield found


@dataclass
class Deployed:
    """A site in its own folder, and the commands on it."""

    cluster: Cluster
    fleet: Fleet
    folder: Path
    layout: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def secrets(self) -> dict[str, str]:
        """By name."""
        found: dict[str, str] = yaml.safe_load((self.folder / "secrets.yaml").read_text())
        return found

    def say(self, **changes: Any) -> None:
        """Change the site's file."""
        path = self.folder / "site.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))

    def words(self, command: str, *more: str) -> tuple[str, ...]:
        """The words of a command."""
        files = ("--secrets", str(self.folder / "secrets.yaml"), "--layout", str(self.layout))
        return ("deploy", command, str(self.folder), *(files if command in ("apply", "diff", "render") else ()), *more)

    def run(self, command: str, *more: str, env: dict[str, str] | None = None) -> Run:
        """Run a command of `imgbuild deploy`."""
        told = {**self.cluster.environment, **(env or {})}
        return imgbuild(*self.words(command, *more), cache=self.fleet.cache, cwd=self.fleet.site, env=told)

    def works(self, command: str, *more: str) -> Run:
        """The same; it must end well."""
        found = self.run(command, *more)
        assert found.code == 0, found.errors + found.output
        return found

    def get(self, *words: str) -> Any:
        """Objects of its namespace."""
        return self.cluster.get("-n", NAMESPACE, *words)

    def names(self, kind: str) -> set[str]:
        """The names of a kind's objects."""
        return {one["metadata"]["name"] for one in self.get(kind)["items"]}


@pytest.fixture(scope="module")
def site(cluster: Cluster, fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """Keystone with what it needs; its images are on the node."""
    folder = tmp_path_factory.mktemp("site")
    layout = folder / "layout"
    names = ("mariadb", "memcached", "keystone")
    built = imgbuild("build", *names, "--to", f"oci:{layout}", "--json", cache=fleet.cache, cwd=fleet.site)
    assert built.code == 0, built.errors
    gone = [one["image"] for one in built.json["images"] if one["tag"].endswith("-dev")]
    if gone:
        pytest.skip(f"the mirror has dropped locked versions: {', '.join(gone)}")
    cluster.load(layout, names, REGISTRY)
    found = Deployed(cluster, fleet, folder, layout)
    found.folder.joinpath("site.yaml").write_text((ROOT / "examples/hosts/site.yaml").read_text())
    found.say(registry=REGISTRY)
    return found


@pytest.mark.parametrize(("example", "workspace"), [("examples/openstack", "."), (".", "examples/shop")])
def test_the_server_takes_every_object(example: str, workspace: str, cluster: Cluster, fleet: Fleet) -> None:
    words = ("deploy", "render", example, "--kubernetes", RELEASE, "--secrets", str(fleet.cache / "secrets.yaml"))
    rendered = imgbuild("-C", str(fleet.site / workspace), *words, cache=fleet.cache, cwd=fleet.site / workspace)
    assert rendered.code == 0, rendered.errors
    count = len(list(yaml.safe_load_all(rendered.output)))
    namespace = yaml.safe_load(rendered.output.split("---")[0])
    cluster.kubectl("apply", "-f", "-", told=yaml.safe_dump(namespace))
    told = cluster.kubectl("apply", "--dry-run=server", "-f", "-", told=rendered.output)
    assert told.count("(server dry run)") == count


def token(site: Deployed) -> str:
    """A token that keystone issues to its first user."""
    user = {"name": "admin", "domain": {"id": "default"}, "password": site.secrets["admin-identity"]}
    asked = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
    with site.cluster.forwarded(NAMESPACE, "keystone", 5000) as url:
        request = urllib.request.Request(
            f"{url}/v3/auth/tokens", json.dumps(asked).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(answer.headers["X-Subject-Token"])


def test_it_comes_up_by_one_command(site: Deployed) -> None:
    first = site.works("apply", "--wait")
    assert "create  StatefulSet mariadb\n" in first.output
    assert not any(secret in first.output + first.errors for secret in site.secrets.values())
    assert token(site).startswith("gAAAA")  # Fernet's mark
    told = site.works("status", "--json").json
    assert {row["name"]: row["state"] for row in told["rows"]} == {
        "mariadb": "1 of 1 ready", "memcached": "1 of 1 ready", "keystone": "1 of 1 ready",
        "keystone/db-sync": "done", "keystone/bootstrap": "done",
    }  # fmt: skip
    # The same again changes nothing.
    assert site.works("apply", "--wait").output == ""
    assert site.works("diff").output == ""


def test_pods_have_what_is_declared_and_no_more(site: Deployed) -> None:
    for pod in ("mariadb-0", "keystone-0"):
        status = site.cluster.kubectl("-n", NAMESPACE, "exec", pod, "--", "cat", "/proc/1/status")
        told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert (told["CapEff"], told["CapBnd"], told["NoNewPrivs"], told["Seccomp"]) == ("0" * 16, "0" * 16, "1", "2")
        assert told["Uid"].split()[0] != "0"
        mounts = site.cluster.kubectl("-n", NAMESPACE, "exec", pod, "--", "cat", "/proc/1/mounts")
        assert next(line for line in mounts.splitlines() if line.split()[1] == "/").split()[3].startswith("ro")
        assert "serviceaccount" not in mounts


def test_a_change_makes_what_it_must_and_removes_what_it_was(site: Deployed) -> None:
    site.cluster.kubectl("-n", NAMESPACE, "create", "configmap", "mine")
    before = site.names("jobs")
    pods = site.names("pods")
    site.say(values={"region": "RegionTwo"})
    assert site.run("diff").code == 3
    told = site.works("apply", "--wait").output
    (gone,) = before - site.names("jobs")
    assert f"remove  Job {gone}\n" in told
    assert "mine" in site.names("configmaps")
    services = {"mariadb-0", "keystone-0"}
    assert services <= pods & site.names("pods")
    assert "change  StatefulSet" not in told


def test_a_release_that_does_not_come_up_leaves_the_old_one_serving(site: Deployed) -> None:
    site.say(registry="kube.nowhere")
    found = site.run("apply", "--wait", "-c", "memcached", "--timeout", "15")
    assert found.code == 1
    assert "not there after 15 s: memcached" in found.errors
    assert "ErrImagePull" in found.errors or "ImagePullBackOff" in found.errors
    assert site.get("deployment", "memcached")["status"]["availableReplicas"] == 1
    bad = site.run("status")
    assert (bad.code, "kube.nowhere" in bad.output) == (3, True)
    site.say(registry=REGISTRY)
    site.works("apply", "--wait")
    assert site.works("status").code == 0


def test_fields_of_others_are_not_taken_by_the_way(site: Deployed) -> None:
    more = json.dumps({"spec": {"replicas": 2}})
    words = ("patch", "deployment", "memcached", "--field-manager", "somebody", "--patch", more)
    site.cluster.kubectl("-n", NAMESPACE, *words)
    found = site.run("apply", "--wait")
    assert (found.code, "conflict" in found.errors, "--force" in found.errors) == (1, True, True), found.errors
    site.works("apply", "--wait", "--force")
    assert site.get("deployment", "memcached")["spec"]["replicas"] == 1


def test_who_may_not_is_told(site: Deployed) -> None:
    config = yaml.safe_load((site.cluster.folder / "kubeconfig").read_text())
    (secret,) = (
        one for one in site.get("secrets")["items"] if one["metadata"]["name"].startswith("default-token-")
    )  # fmt: skip
    config["users"] = [{"name": "admin", "user": {"token": base64.b64decode(secret["data"]["token"]).decode()}}]
    path = site.folder / "weak"
    path.write_text(yaml.safe_dump(config))
    found = site.run("status", env={"KUBECONFIG": str(path)})
    assert (found.code, "forbidden" in found.errors) == (1, True), found.errors
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{free_port()}"
    path.write_text(yaml.safe_dump(config))
    found = site.run("status", env={"KUBECONFIG": str(path)})
    assert (found.code, "does not answer" in found.errors) == (1, True), found.errors


def test_a_step_is_run_by_hand(site: Deployed) -> None:
    files = ("--secrets", str(site.folder / "secrets.yaml"), "--layout", str(site.layout))
    words = ("deploy", "step", str(site.folder), "keystone", "bootstrap", *files)
    found = imgbuild(*words, cache=site.fleet.cache, cwd=site.fleet.site, env=site.cluster.environment)
    assert found.code == 0, found.errors
    assert "keystone.cmd.bootstrap" in found.output
    wrong = imgbuild(
        *words[:4], "bootstap", *files, cache=site.fleet.cache, cwd=site.fleet.site, env=site.cluster.environment
    )
    assert (wrong.code, "did you mean 'bootstrap'?" in wrong.errors) == (2, True), wrong.errors


def test_a_killed_apply_is_completed_by_the_next(site: Deployed) -> None:
    for seconds in (4, 7):
        site.say(values={"region": f"Region{seconds}"})
        process = subprocess.Popen(
            [*IMGBUILD, *site.words("apply", "--wait")], cwd=site.fleet.site,
            env=environment(site.fleet.cache, site.cluster.environment),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
    site.works("apply", "--wait")
    assert site.works("status").code == 0
    assert len(site.names("jobs")) == 2


def test_two_at_once_both_end_well(site: Deployed) -> None:
    site.say(values={"region": "RegionOne"})
    both = [
        subprocess.Popen(
            [*IMGBUILD, *site.words("apply", "--wait")], cwd=site.fleet.site,
            env=environment(site.fleet.cache, site.cluster.environment),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    told = [one.communicate(timeout=300)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], told
    assert site.works("status").code == 0


def test_it_is_taken_away_and_its_data_stays(site: Deployed) -> None:
    site.cluster.kubectl("-n", NAMESPACE, "create", "configmap", "yours")
    claims = site.names("persistentvolumeclaims")
    site.works("delete")
    assert claims == {"mariadb-data", "keystone-fernet-keys", "keystone-credential-keys"}
    assert site.names("persistentvolumeclaims") == claims
    assert "yours" in site.names("configmaps")
    until(lambda: not site.names("pods"))
    assert site.run("status").code == 3
    site.works("apply", "--wait")
    assert token(site).startswith("gAAAA")
    site.works("delete", "--volumes")
    assert site.names("persistentvolumeclaims") == set()
