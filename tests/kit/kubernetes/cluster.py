"""A cluster for a test: its binaries, its start and end, and what a test asks of it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

_HERE = Path(__file__).parent
_KEPT = "IMGBUILD_TEST_KUBERNETES"
"""The variable that says where binaries are kept from run to run."""
RELEASE = "1.20"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that runs.

    Attributes:
        folder: its state; ``log/`` says what its parts say.
        binaries: kubectl and the others.
    """

    folder: Path
    binaries: Path

    @property
    def environment(self) -> dict[str, str]:
        """By which clients find it."""
        return {"KUBECONFIG": str(self.folder / "kubeconfig")}

    def kubectl(self, *words: str, told: str | bytes | None = None) -> str:
        """What kubectl says; it must end well.

        Args:
            told: its standard input.
        """
        result = subprocess.run(
            [str(self.binaries / "kubectl"), *words], env={**os.environ, **self.environment},
            input=told.encode() if isinstance(told, str) else told, capture_output=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, f"{' '.join(words)}: {(result.stderr + result.stdout).decode()}"
        return result.stdout.decode()

    def get(self, *words: str) -> Any:
        """An object, or a list of them."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def load(self, layout: Path, images: Sequence[str], prefix: str) -> None:
        """Give its node some images of a layout, called as a registry would call them, by tag and by digest.

        Args:
            prefix: what their names begin with; with a dot in it, no registry is put before it.
        """
        archive = self.folder / "images.tar"
        _pack(layout, images, prefix, archive)
        socket_ = self.folder / "run/containerd/containerd.sock"
        subprocess.run(
            ["ctr", "--address", str(socket_), "--namespace", "k8s.io", "images", "import", str(archive)],
            check=True, capture_output=True,
        )  # fmt: skip
        archive.unlink()

    def volumes(self, count: int) -> None:
        """Make volumes that claims can have: it has none of its own accord."""
        objects = []
        for number in range(count):
            (self.folder / f"lib/volumes/{number}").mkdir(parents=True)
            node = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node"]}
            spec = {
                "capacity": {"storage": "200Gi"},
                "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
                "persistentVolumeReclaimPolicy": "Retain",
                "local": {"path": f"/var/lib/volumes/{number}"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [node]}]}},
            }
            named = {"name": f"volume-{number}"}
            objects.append({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": named, "spec": spec})
        self.kubectl("apply", "-f", "-", told=yaml.safe_dump_all(objects))

    def kill(self, program: str) -> None:
        """End a part of it at once, such as ``kubelet``; it is started again."""
        wanted = str(self.binaries / program)
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes().decode(errors="replace").split("\0")
                if words[0] == wanted and any(str(self.folder) in word for word in words):
                    os.kill(int(path.parent.name), signal.SIGKILL)
                    return
        raise AssertionError(f"{program} does not run")

    def inside(self, *words: str) -> list[str]:
        """The words of a command that runs in the network of the node."""
        outer = (self.folder / "pid").read_text().strip()
        (first,) = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
        return ["nsenter", f"--net=/proc/{first}/ns/net", *words]

    @contextlib.contextmanager
    def reaching(self, port: int) -> Iterator[None]:
        """A port of this machine's loopback is one of the node's, too, as long as the block runs."""
        meeting = self.folder / f"run/{port}.sock"
        here = ["socat", f"UNIX-LISTEN:{meeting},fork", f"TCP:127.0.0.1:{port}"]
        there = self.inside("socat", f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr", f"UNIX-CONNECT:{meeting}")
        with subprocess.Popen(here) as one, subprocess.Popen(there) as other:
            try:
                yield
            finally:
                one.terminate()
                other.terminate()

    @contextlib.contextmanager
    def forwarded(self, namespace: str, service: str, port: int) -> Iterator[str]:
        """The address of a service, on this machine."""
        here = free_port()
        with subprocess.Popen(
            [str(self.binaries / "kubectl"), "-n", namespace, "port-forward", f"service/{service}", f"{here}:{port}"],
            env={**os.environ, **self.environment}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        ) as process:  # fmt: skip
            try:
                assert process.stdout
                assert "Forwarding from" in process.stdout.readline()
                yield f"http://127.0.0.1:{here}"
            finally:
                process.terminate()


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Cluster]:
    """A cluster for as long as it is used; its node is ready and has volumes. Skips where it cannot be."""
    binaries = _built()
    cluster = Cluster(folder / "cluster", binaries)
    try:
        subprocess.run(
            [str(_HERE / "up"), str(cluster.folder), str(binaries)],
            env={**os.environ, "KUBE_PORT": str(free_port())}, check=True, capture_output=True, text=True,
        )  # fmt: skip
        cluster.volumes(8)
        yield cluster
    except subprocess.CalledProcessError as error:
        raise AssertionError(f"{error.cmd}: {error.stderr}") from None
    finally:
        subprocess.run([str(_HERE / "down"), str(cluster.folder)], check=True)


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def until(what: Any, seconds: float = 60) -> Any:
    """What something says once it says anything true."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"still {found!r} after {seconds} s"
        time.sleep(0.5)
    return found


def is_built() -> bool:
    """Whether a run before has built its binaries: that takes four minutes of two processors."""
    return (_kept() / "bin/kubectl").exists()


def _kept() -> Path:
    return Path(os.environ.get(_KEPT) or Path.home() / ".cache/imgbuild-tests/kubernetes")


def _built() -> Path:
    if os.geteuid() != 0:
        pytest.skip("a cluster needs root")
    if not re.search(r"^VERSION_ID=\"12\"$", Path("/etc/os-release").read_text(), re.MULTILINE):
        pytest.skip("Debian 12 has the source of a whole Kubernetes, others have not")
    if not Path("/sys/fs/cgroup/memory").is_dir():
        pytest.skip("this kubelet wants version 1 of control groups")
    kept = _kept()
    built = subprocess.run([str(_HERE / "build"), str(kept)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return kept / "bin"


def _pack(layout: Path, images: Sequence[str], prefix: str, archive: Path) -> None:
    """An archive of some images, each named twice: what CRI looks for when a tag and a digest are given is the digest."""
    index = json.loads((layout / "index.json").read_bytes())
    entries: list[dict[str, Any]] = []
    blobs: set[str] = set()
    there: set[str] = set()
    for entry in index["manifests"]:
        name, _, tag = entry["annotations"].get("org.opencontainers.image.ref.name", "").partition(":")
        if name not in images:
            continue
        manifest = json.loads(_blob(layout, entry["digest"]).read_bytes())
        blobs |= {entry["digest"], manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
        for called in (f"{prefix}/{name}:{tag}", f"{prefix}/{name}@{entry['digest']}"):
            entries.append({**entry, "annotations": {"io.containerd.image.name": called}})
        there.add(name)
    assert there == {*images}, "the layout has them"
    with tarfile.open(archive, "w") as tar:
        for name, data in (
            ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
            ("index.json", json.dumps({"schemaVersion": 2, "manifests": entries}).encode()),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for digest in sorted(blobs):
            path = _blob(layout, digest)
            tar.add(path, arcname=str(path.relative_to(layout)))


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")
