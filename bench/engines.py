"""Engines of the benchmark's own: a docker that builds, and what images are loaded into."""

from __future__ import annotations

import json
import os
import posixpath
import shutil
import subprocess
import tarfile
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.watch import Failed
from builder.model.image import Image
from builder.transports import archive

DOCKERFILES = Path(__file__).parent / "dockerfiles"
_LEVEL = 6
"""What docker compresses layers with when it pushes (Go's ``gzip.DefaultCompression``)."""


@dataclass(frozen=True, slots=True)
class Docker:
    """A running daemon."""

    host: str

    def __call__(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        """Run a command of docker.

        Raises:
            Failed: it ended with another code than 0.
        """
        found = subprocess.run(self.argv(*words), env={**os.environ, **(env or {})}, capture_output=True, text=True)
        if found.returncode:
            raise Failed(f"docker {' '.join(words)}: {found.stdout[-2000:]}{found.stderr[-2000:]}")
        return found.stdout

    def argv(self, *words: str) -> list[str]:
        """The words of a command."""
        return ["docker", "--host", self.host, *words]

    def build(
        self, name: str, proxy: str, arguments: Mapping[str, str] | None = None, folder: Path = DOCKERFILES
    ) -> None:
        """Build ``bench/NAME`` from the folder NAME of some Dockerfiles, or from ours of the name ``alone``."""
        given = {"http_proxy": proxy, **(arguments or {})}
        words = [word for key, value in given.items() for word in ("--build-arg", f"{key}={value}")]
        path = folder / name if (folder / name).is_dir() else DOCKERFILES / "alone"
        # The builder that every docker has: buildx is a package of its own.
        self("build", "--network", "host", "--tag", f"bench/{name}", *words, str(path), env={"DOCKER_BUILDKIT": "0"})

    def forget(self, keep: Iterable[str] = ()) -> None:
        """Remove all images and what builds have cached, but for some."""
        names = self("images", "--format", "{{.Repository}}:{{.Tag}}").split()
        wanted = [name for name in names if name.removesuffix(":latest") not in keep and "<none>" not in name]
        if wanted:
            self("rmi", "--force", *wanted)
        self("image", "prune", "--force")

    def layers(self, names: Iterable[str]) -> dict[str, tuple[int, int]]:
        """The layers of some images: bytes as they are, and compressed as for a push, by the digest of their tar."""
        with subprocess.Popen(self.argv("save", *names), stdout=subprocess.PIPE) as child:
            sizes: dict[str, tuple[int, int]] = {}
            same: dict[str, str] = {}
            documents: dict[str, Any] = {}
            with tarfile.open(fileobj=child.stdout, mode="r|") as archive:
                for info in archive:
                    if info.issym():
                        # What two images have by other ways lies there once.
                        same[info.name] = posixpath.normpath(
                            posixpath.join(posixpath.dirname(info.name), info.linkname)
                        )
                        continue
                    file = archive.extractfile(info)
                    if file is None:
                        continue
                    if info.name.endswith(".json"):
                        documents[info.name] = json.load(file)
                        continue
                    squeezed, size = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31), 0
                    while piece := file.read(1 << 20):
                        size += len(squeezed.compress(piece))
                    sizes[info.name] = info.size, size + len(squeezed.flush())
        return {
            digest: sizes[same.get(layer, layer)]
            for image in documents["manifest.json"]
            for layer, digest in zip(image["Layers"], documents[image["Config"]]["rootfs"]["diff_ids"], strict=True)
        }


@contextmanager
def docker(folder: Path) -> Iterator[Docker]:
    """A docker with its own data, which stays, and its own socket, while the block runs.

    Raises:
        Failed: it does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not shutil.which("dockerd"):
        raise Failed("dockerd is not installed: the Debian package docker.io has it")
    found = Docker(f"unix://{folder / 'docker.sock'}")
    words = ["dockerd", "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"), "--host", found.host,
             "--pidfile", str(folder / "pid"), "--iptables=false", "--bridge=none"]  # fmt: skip
    with _running(words, folder, found.argv("info")):
        yield found


@contextmanager
def _docker_host(_folder: Path, docker: Docker) -> Iterator[Mapping[str, str] | None]:
    yield {"DOCKER_HOST": docker.host}


@contextmanager
def _podman_host(folder: Path, _docker: Docker) -> Iterator[Mapping[str, str] | None]:
    """A podman with its own storage that only takes images: it runs nothing."""
    if not shutil.which("podman"):
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    host = f"unix://{folder / 'podman.sock'}"
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder / "graph"}"\nrunroot = "{folder / "run"}"\n'
    )
    # Locks in shared memory would be one for all podmans.
    (folder / "containers.conf").write_text(
        f'[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nlock_type = "file"\ntmp_dir = "{folder / "tmp"}"\n'
    )
    env = {
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
    }
    service = ["podman", "system", "service", "--time=0", host]
    with _running(service, folder, ["podman", "--remote", "--url", host, "version"], env):
        yield {**env, "CONTAINER_HOST": host}


@dataclass(frozen=True, slots=True)
class Containerd:
    """A running daemon, spoken to by its own ``ctr``."""

    address: str

    def __call__(self, *words: str) -> str:
        """Run a command of ctr.

        Raises:
            Failed: it ended with another code than 0.
        """
        found = subprocess.run(self.argv(*words), capture_output=True, text=True)
        if found.returncode:
            raise Failed(f"ctr {' '.join(words)}: {found.stdout[-2000:]}{found.stderr[-2000:]}")
        return found.stdout

    def argv(self, *words: str) -> list[str]:
        """The words of a command."""
        return ["ctr", "--address", self.address, *words]

    def load(self, image: Image, reference: str) -> int:
        """Import an archive without the layers that it has, and give the bytes of those that were sent."""
        has = set(self("content", "list", "--quiet").split())
        sent = {layer.digest: layer.size for layer in image.layers if layer.digest not in has}
        known = {layer.digest for layer in image.layers} - sent.keys()
        with subprocess.Popen(
            self.argv("image", "import", "-"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        ) as child:
            assert child.stdin is not None
            for piece in archive.pieces(image, reference, known):
                child.stdin.write(piece)
            child.stdin.close()
        if child.returncode:
            raise Failed(f"ctr does not import {reference}")
        return sum(sent.values())

    def forget(self) -> None:
        """Remove all images, and what they alone hold."""
        if names := self("image", "list", "--quiet").split():
            self("image", "remove", "--sync", *names)


@contextmanager
def containerd(folder: Path) -> Iterator[Containerd | None]:
    """A containerd with its own data, while the block runs; none where it is not installed.

    Raises:
        Failed: it does not start.
    """
    if not (shutil.which("containerd") and shutil.which("ctr")):
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    found = Containerd(str(folder / "containerd.sock"))
    # Its part for Kubernetes would ask for network plugins.
    (folder / "config.toml").write_text(
        f'version = 2\nroot = "{folder / "data"}"\nstate = "{folder / "state"}"\n'
        f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{found.address}"\n'
    )
    with _running(["containerd", "--config", str(folder / "config.toml")], folder, found.argv("version")):
        yield found


ENGINES = {"docker": _docker_host, "podman": _podman_host}
"""How each engine is had: what imgbuild and its command find in the environment, or None if it is not installed."""


def drop(folder: Path) -> None:
    """Remove what an engine that runs no more has kept in its folder."""
    # podman leaves its storage mounted on itself.
    subprocess.run(
        ["umount", "--quiet", "--lazy", str(folder / "graph/overlay")], check=False, stderr=subprocess.DEVNULL
    )
    shutil.rmtree(folder, ignore_errors=True)


def remove(name: str, env: Mapping[str, str], image: str) -> None:
    """Remove all tags of an image from an engine."""
    settings = {**os.environ, **env}
    words = [name, *(("--remote",) if name == "podman" else ())]
    listed = subprocess.run(
        [*words, "images", "--quiet", image], env=settings, capture_output=True, text=True, check=True
    )
    subprocess.run(
        [*words, "rmi", "--force", *dict.fromkeys(listed.stdout.split())], env=settings, check=True, capture_output=True
    )


@contextmanager
def _running(words: list[str], folder: Path, ready: list[str], env: Mapping[str, str] | None = None) -> Iterator[None]:
    """A daemon that runs for the block, with its log in a folder.

    Raises:
        Failed: it does not start.
    """
    settings, path = {**os.environ, **(env or {})}, folder / "log"
    with path.open("wb") as log:
        child = subprocess.Popen(words, env=settings, stdout=log, stderr=log)
    try:
        for _ in range(300):
            if child.poll() is not None or subprocess.run(ready, env=settings, capture_output=True).returncode == 0:
                break
            time.sleep(0.2)
        if child.poll() is not None:
            raise Failed(f"{words[0]} does not run:\n{path.read_text()[-2000:]}")
        yield
    finally:
        child.terminate()
        child.wait(60)
        _unmount(folder)


def _unmount(folder: Path) -> None:
    mounted = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    for place in reversed([place for place in mounted if place.startswith(f"{folder}/")]):
        subprocess.run(["umount", place], capture_output=True, check=False)
