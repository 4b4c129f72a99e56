"""A site on a real cluster: applied, changed, broken, mended, interrupted and taken away again."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from builder.deploy.kubernetes import metadata
from tests.kit import documents
from tests.kit.apt_repo import AptRepo
from tests.kit.fleet import Fleet
from tests.kit.http_server import HttpServer
from tests.kit.kubernetes.cluster import RELEASE, Cluster, free_port, started, until
from tests.kit.kubernetes.deployed import REGISTRY, Deployed, identity
from tests.kit.project import IMGBUILD, ROOT, Run, environment, imgbuild, project
from tests.kit.registry import Registry, registry

pytestmark = [pytest.mark.e2e, pytest.mark.full]
NAMESPACE = "identity"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster for the module."""
    with started(tmp_path_factory.mktemp("kubernetes")) as found:
        yield found


@pytest.fixture(scope="module")
def site(cluster: Cluster, fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """Keystone with what it needs; its images are on the node."""
    return identity(cluster, fleet, tmp_path_factory.mktemp("site"))


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


def test_it_comes_up_by_one_command(site: Deployed) -> None:
    first = site.works("apply", "--wait")
    assert "create  StatefulSet mariadb\n" in first.output
    assert not any(secret in first.output + first.errors for secret in site.secrets.values())
    assert site.token().startswith("gAAAA")  # Fernet's mark
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
    found = site.works("step", "keystone", "bootstrap")
    assert "keystone.cmd.bootstrap" in found.output
    wrong = site.run("step", "keystone", "bootstap")
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


@pytest.mark.parametrize("program", ["kube-apiserver", "kubelet"])
def test_a_part_of_the_cluster_that_is_killed_is_waited_for(program: str, site: Deployed) -> None:
    site.say(values={"region": f"Without-{program}"})
    with site.running("apply", "--wait") as process:
        assert process.stdout
        first = process.stdout.readline()  # the plan; now it applies
        site.cluster.kill(program)
        told = first + process.communicate(timeout=300)[0]
    assert process.returncode == 0, told
    assert "create  Job keystone-bootstrap-" in told
    until(lambda: site.run("status").code == 0)
    assert site.token().startswith("gAAAA")


WORKER = """\
dsl: 1
component: worker
summary: what has a step
version: "1"
images:
  worker:
    summary: it does nothing
    extends: debian-13 ^1.0
    users: {worker: {uid: 8000}}
    allow: {shell: a step that fails is written in a line of it}
    run: {command: [sleep, infinity], user: worker, writable: [/tmp]}
    steps:
      move: {command: [sh, -c, "STEP"], when: before}
"""
ONCE = "test -e /tmp/seen || { touch /tmp/seen; echo not yet; exit 1; }"


def test_a_step_that_fails_once_and_one_that_always_does(
    cluster: Cluster, fleet: Fleet, tmp_path: Path
) -> None:  # fmt: skip
    workspace = tmp_path / "workspace"
    shutil.copytree(ROOT / "layers", workspace / "layers")
    (tmp_path / "site.yaml").write_text(f"{{dsl: 1, site: steps, registry: {REGISTRY}, components: [worker]}}")
    project(workspace, {"imgbuild.yaml": "dsl: 1\nworkspace: steps\n"})
    site = Deployed(cluster, fleet, tmp_path, tmp_path / "layout", workspace, "steps")

    def release(step: str) -> str:
        """A new one, on the node: its reference's digest."""
        project(workspace, {"repos/worker/component.yaml": WORKER.replace("STEP", step)})
        for words in (("lock", "worker"), ("build", "worker", "--to", f"oci:{site.layout}", "--json")):
            found = imgbuild(*words, cache=fleet.cache, cwd=workspace)
            assert found.code == 0, found.errors
        cluster.load(site.layout, ["worker"], REGISTRY)
        return str(found.json["images"][0]["digest"])

    def runs() -> str:
        (pod,) = (one for one in site.get("pods", "--selector", "app.kubernetes.io/name=worker")["items"]
                  if "deletionTimestamp" not in one["metadata"])  # fmt: skip
        assert pod["status"]["phase"] == "Running"
        return str(pod["spec"]["containers"][0]["image"].rpartition("@")[2])

    first = release(ONCE)
    site.works("apply", "--wait")
    assert runs() == first
    second = release("echo never; exit 1")
    failed = site.run("update", "--timeout", "40")
    assert (failed.code, "not there after 40 s: worker/move: " in failed.errors) == (1, True), failed.errors
    assert "| never\n" in failed.errors
    assert "run `imgbuild deploy update` again, or take it back" in failed.errors
    assert runs() == first != second
    # The cause is mended: the same again goes on.
    third = release("true")
    told = site.works("update", "--json").json
    assert [one["workload"] for one in told["moves"]] == ["worker"]
    until(lambda: runs() == third)
    until(lambda: len(site.names("jobs")) == 1)
    site.works("rollback")
    until(lambda: runs() == first)
    site.works("delete")


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
    assert site.token().startswith("gAAAA")
    site.works("delete", "--volumes")
    assert site.names("persistentvolumeclaims") == set()


# A fix on its way to what runs.

ASKS = """
import json, sys, time, urllib.request
url, password = sys.argv[1:]
user = {"name": "admin", "domain": {"id": "default"}, "password": password}
body = json.dumps({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}).encode()
while True:
    begin = time.monotonic()
    try:
        request = urllib.request.Request(f"{url}/v3/auth/tokens", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            said = "token" if answer.headers["X-Subject-Token"] else "none"
    except Exception as error:
        said = repr(error)
    print(f"{time.monotonic() - begin:.3f} {said}", flush=True)
    time.sleep(0.05)
"""
"""A client that asks for tokens all the time, each by a connection of its own."""
LIBRARY = "cyrus-sasl2"
"""A library that memcached and keystone have, each in a definition of its own, and the database has not."""
FIXES = {"apt": "http://deb.debian.org/fixes", "suites": ["trixie-security"], "keyring": "key.gpg"}


@dataclass
class Rolling:
    """A site that is built from Debian and a repository of our own, published to a registry, and runs."""

    cluster: Cluster
    folder: Path
    cache: Path
    registry: Registry
    repo: AptRepo
    env: dict[str, str]
    took: dict[str, float] = field(default_factory=dict)

    def works(self, *words: str) -> Run:
        """Run imgbuild; it must end well. How long each command took is kept."""
        begin = time.monotonic()
        found = imgbuild(*words, cache=self.cache, cwd=self.folder, env={**self.env, **self.cluster.environment})
        assert found.code == 0, found.errors + found.output
        self.took[" ".join(words[:2] if words[0] in ("security", "deploy") else words[:1])] = time.monotonic() - begin
        return found

    def deploy(self, command: str, *more: str) -> Run:
        """A command of `imgbuild deploy`."""
        secrets = () if command in ("rollback", "status", "delete") else ("--secrets", "secrets.yaml")
        return self.works("deploy", command, "site.yaml", *secrets, *more)

    def pods(self) -> dict[str, set[str]]:
        """The pods that run, by the name of their image."""
        found: dict[str, set[str]] = {}
        for one in self.cluster.get("-n", "rolling", "pods", "--field-selector=status.phase=Running")["items"]:
            if "deletionTimestamp" not in one["metadata"]:
                found.setdefault(one["metadata"]["labels"]["app.kubernetes.io/name"], set()).add(one["metadata"]["uid"])
        return found

    def follow(self, script: str) -> str:
        """Run commands as a document has them: what they print."""
        return documents.run(script, self.folder, self.cache, {**self.env, **self.cluster.environment})

    def fixed(self, cve: str) -> None:
        """A fix of the library appears, and the feed tells of it."""
        rows = yaml.safe_load((self.folder / "repos/memcached/lock.yaml").read_text())["definitions"][0]["packages"]
        there = {row[0]: row for row in rows if row[3] == LIBRARY}
        assert there
        version = ""
        for name, row in there.items():
            version = f"{row[4]}+fix1"
            tree = self.folder.parent / f"{name}-{cve}"
            digest = row[9]
            (blob,) = (self.cache / "imgbuild/blobs").rglob(digest)
            subprocess.run(["dpkg-deb", "-R", blob, tree], check=True)
            control = tree / "DEBIAN/control"
            control.write_text(control.read_text().replace(f"Version: {row[1]}\n", f"Version: {row[1]}+fix1\n"))
            made = self.repo.folder / f"pool/trixie-security/{name}_{row[1]}+fix1_{row[2]}.deb"
            subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, made], check=True, capture_output=True)
        self.repo.publish()
        told = {"status": "resolved", "repositories": {}, "fixed_version": version, "urgency": "high"}
        feed = {LIBRARY: {cve: {"description": "a flaw", "releases": {"trixie": told}}}}
        (self.folder / "tracker.json").write_text(json.dumps(feed))


@pytest.fixture(scope="module")
def rolling(cluster: Cluster, fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rolling]:
    """Keystone, several of it, with its database and its cache, in their first release."""
    tmp_path = tmp_path_factory.mktemp("rolling")
    folder = tmp_path / "work"
    names = ("mariadb", "memcached", "keystone")
    for name in ("layers", *(f"repos/{one}" for one in names)):
        shutil.copytree(ROOT / name, folder / name)
    with HttpServer(tmp_path / "served") as server, registry(tmp_path / "registry") as kept:
        server.otherwise = "http://deb.debian.org"
        repo = AptRepo(tmp_path / "served/fixes", ("trixie-security",))
        repo.publish()
        layer = folder / "layers/debian-13/layer.yaml"
        said = yaml.safe_load(layer.read_text())
        layer.write_text(yaml.safe_dump({**said, "sources": {**said["sources"], "fixes": FIXES}}))
        shutil.copy(repo.keyring, layer.with_name("key.gpg"))
        at = f"{kept.host}/openstack"
        site = {
            "dsl": 1,
            "site": "rolling",
            "registry": at,
            "components": [*names],
            "images": {"keystone": {"replicas": 2}},
        }
        workspace = {"dsl": 1, "workspace": "rolling", "registry": at, "feeds": ["tracker.json"]}
        project(folder, {"site.yaml": json.dumps(site), "imgbuild.yaml": json.dumps(workspace), "tracker.json": "{}"})
        found = Rolling(cluster, folder, fleet.cache, kept, repo, {"IMGBUILD_MIRROR": server.uri})
        found.works("lock", "--all")
        found.works("build", "--all")
        found.works("publish")
        with cluster.reaching(kept.port):
            found.deploy("apply", "--wait")
            try:
                yield found
            finally:
                found.deploy("delete", "--volumes")
        repo.close()


@contextlib.contextmanager
def asking(rolling: Rolling) -> Iterator[list[str]]:
    """What a client is told, one line each time, as long as the block runs; complete when it has ended."""
    address = rolling.cluster.get("-n", "rolling", "service", "keystone")["spec"]["clusterIP"]
    password = yaml.safe_load((rolling.folder / "secrets.yaml").read_text())["admin-identity"]
    words = rolling.cluster.inside(sys.executable, "-c", ASKS, f"http://{address}:5000", password)
    lines: list[str] = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield lines
        finally:
            time.sleep(2)
            process.terminate()
            assert process.stdout
            lines += process.stdout.read().splitlines()


def revision(tag: str) -> int:
    """The 3 of ``27.0.0-r3``."""
    return int(tag.rpartition("-r")[2])


def test_a_fix_reaches_what_runs_and_nobody_notices(rolling: Rolling, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole way of a fix of a library, and back, while a client asks for tokens all the time."""
    before = rolling.pods()
    assert {name: len(uids) for name, uids in before.items()} == {"mariadb": 1, "memcached": 1, "keystone": 2}
    rolling.fixed("CVE-2026-1")
    with asking(rolling) as lines:
        update = rolling.works("security", "update", "--only", LIBRARY, "--json").json
        assert {one["package"] for one in update["moved"]} == {"libsasl2-2", "libsasl2-modules-db"}
        rolling.works("publish")
        told = rolling.deploy("update", "--json").json
    moved = {one["workload"]: one["before"] for one in told["moves"]}
    raised = {one["workload"]: revision(one["after"]) - revision(one["before"]) for one in told["moves"]}
    assert raised == {"memcached": 1, "keystone": 1}
    assert told["order"] == [["memcached"], ["keystone/db-sync"], ["keystone/bootstrap"], ["keystone"]]
    assert {(one["advisory"], image) for one in told["closes"] for image in one["images"]} == {
        ("CVE-2026-1", "memcached"), ("CVE-2026-1", "keystone"),
    }  # fmt: skip
    after = rolling.pods()
    assert after["mariadb"] == before["mariadb"]
    assert not after["memcached"] & before["memcached"]
    assert not after["keystone"] & before["keystone"]
    assert len(after["keystone"]) == 2
    wrong = [line for line in lines if not line.endswith(" token")]
    assert (wrong, len(lines) > 100) == ([], True), (wrong, len(lines))
    slowest = max(float(line.split()[0]) for line in lines)
    with capsys.disabled():
        legs = ", ".join(
            f"{name} {rolling.took[name]:.1f} s" for name in ("security update", "publish", "deploy update")
        )
        print(f"\n{legs}; {len(lines)} tokens meanwhile, the slowest after {slowest:.2f} s")
    with asking(rolling) as lines:
        back = rolling.deploy("rollback", "--json").json
    assert {one["workload"]: one["after"] for one in back["moves"]} == moved
    assert {one["advisory"] for one in back["opens"]} == {"CVE-2026-1"}
    assert [line for line in lines if not line.endswith(" token")] == []
    assert rolling.deploy("status").code == 0
    # What the locks name is an update again.
    assert len(rolling.deploy("update", "--dry-run", "server", "--json").json["moves"]) == 2


def test_the_guide_is_followed(rolling: Rolling) -> None:
    """docs/deploy.md: what is done on a cluster, from the site as it is to its end, with a fix between; then by kustomize."""
    _, there, releases, taken = documents.BLOCK.findall((ROOT / "docs/deploy.md").read_text())
    before, delete, after = there.partition("imgbuild deploy delete")
    assert "keystone.cmd.bootstrap" in rolling.follow(before)
    rolling.fixed("CVE-2026-2")
    told = rolling.follow(releases)
    assert "closes  CVE-2026-2 (high): cyrus-sasl2 in memcached" in told
    assert "opens again CVE-2026-2" in told
    rolling.follow(delete + after)
    until(lambda: not rolling.pods())
    shown = f"PATH={rolling.cluster.binaries}:$PATH\n" + taken.replace("render", f"render --kubernetes {RELEASE}")
    told = rolling.follow(f"{shown}kubectl kustomize ours > all.yaml\n")
    objects = list(yaml.safe_load_all((rolling.folder / "all.yaml").read_text()))
    assert told.count("(server dry run)") == len(objects) == len([*(rolling.folder / "ours").glob("[0-9]*.yaml")])
    assert {one["metadata"]["annotations"]["example.org/owner"] for one in objects} == {"cloud"}
    assert {one["metadata"]["annotations"][metadata.WAVE] for one in objects} > {"0"}
