"""Real engines, started for the tests and stopped by process id."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PROBE = "localhost/probe:1"
"""An image that engines have here: ``ldconfig``, which is linked statically, and nothing else."""


class Engine:
    """An engine of our own.

    Args:
        command: the program and the options that make it ours.
        host: the address of its API.
        environment: what it needs beside ours.
    """

    def __init__(self, *command: str, host: str, environment: Mapping[str, str] | None = None) -> None:
        self.host = host
        self.environment = dict(environment or {})
        self._command = command
        self._started: list[str] = []

    def __call__(self, *words: str, check: bool = True, code: bool = False) -> str:
        """Run a command of the engine.

        Args:
            code: give the exit code instead of the output.
        """
        result = subprocess.run(
            [*self._command, *words], env=os.environ | self.environment, capture_output=True, text=True, check=False
        )
        if code:
            return str(result.returncode)
        if check and result.returncode != 0:
            raise AssertionError(f"{self._command[0]} {' '.join(words)}: {result.stderr}")
        return result.stdout

    def says(self, *words: str) -> str:
        """Run a command and give all that it says, on stdout and stderr in their order."""
        result = subprocess.run(
            [*self._command, *words], env=os.environ | self.environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
        )  # fmt: skip
        return result.stdout

    def start(self, image: str, *options: str) -> str:
        """Run an image in the background and give its container."""
        name = self("run", "--detach", *options, image).strip()
        self._started.append(name)
        return name

    def waits_for(self, name: str, what: Callable[[], bool], seconds: float = 30) -> bool:
        """Whether something becomes true in that time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if what():
                return True
            time.sleep(0.2)
        raise AssertionError(f"{name}: {self('logs', name, check=False)}")

    def remove_all(self) -> None:
        """Remove what was started."""
        if self._started:
            self("rm", "--force", *self._started, check=False)
            self._started.clear()


class Docker(Engine):
    """A docker of our own."""


class Podman(Engine):
    """A podman of our own, with storage, networks and locks apart from the machine's."""


class Containerd(Engine):
    """A containerd of our own, spoken to by ``ctr``."""


@contextmanager
def docker_daemon(folder: Path) -> Iterator[Docker]:
    """A docker daemon with its own data and socket."""
    socket = folder / "docker.sock"
    docker = Docker("docker", "--host", f"unix://{socket}", host=f"unix://{socket}")
    words = ["dockerd", "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"),
             "--host", docker.host, "--pidfile", str(folder / "pid")]  # fmt: skip
    with _running(words, folder / "dockerd.log", lambda: docker("info", code=True) == "0"):
        try:
            yield docker
        finally:
            docker.remove_all()


@contextmanager
def podman_service(folder: Path) -> Iterator[Podman]:
    """A podman with its own storage, and its API on a socket."""
    words = {name: f'"{folder / name}"' for name in ("graph", "run", "tmp", "volumes", "networks")}
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = {words["graph"]}\nrunroot = {words["run"]}\n'
    )
    environment = {
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        # Its other way, nftables, need not be installed.
        "NETAVARK_FW": "iptables",
    }
    podman = Podman("podman", host=f"unix://{folder / 'podman.sock'}", environment=environment)
    for runtime in filter(shutil.which, ("crun", "runc")):
        (folder / "containers.conf").write_text(
            # Limits above the machine's own are refused; locks in shared memory would be one for all podmans.
            '[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]\n'
            f"[network]\nnetwork_config_dir = {words['networks']}\n"
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nlock_type = "file"\n'
            f'runtime = "{runtime}"\ntmp_dir = {words["tmp"]}\nvolume_path = {words["volumes"]}\n'
        )
        if podman("images", "--quiet", PROBE) == "":
            (folder / "probe.tar").write_bytes(_probe())
            podman("import", str(folder / "probe.tar"), PROBE)
        if podman("run", "--rm", "--network=none", PROBE, "/ldconfig", "--version", code=True) == "0":
            break
    else:
        podman("run", "--rm", "--network=none", PROBE, "/ldconfig", "--version")
        raise AssertionError("neither crun nor runc is installed: ./run-tests installs one")
    service = ["podman", "system", "service", "--time=0", podman.host]
    ready = lambda: podman("--remote", "--url", podman.host, "version", code=True) == "0"  # noqa: E731
    with _running(service, folder / "podman.log", ready, environment):
        try:
            yield podman
        finally:
            podman("rm", "--all", "--force", "--time=0", check=False)


@contextmanager
def containerd_daemon(folder: Path) -> Iterator[Containerd]:
    """A containerd with its own data and socket."""
    socket = folder / "containerd.sock"
    (folder / "config.toml").write_text(
        f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
        f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{socket}"\n'
    )
    containerd = Containerd("ctr", "--address", str(socket), host=f"unix://{socket}")
    words = ["containerd", "--config", str(folder / "config.toml")]
    with _running(words, folder / "containerd.log", lambda: containerd("version", code=True) == "0"):
        yield containerd


@contextmanager
def _running(
    words: list[str], log_path: Path, ready: Callable[[], bool], environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A daemon that runs for the block."""
    assert shutil.which(words[0]), f"{words[0]} is not installed: ./run-tests installs it"
    with log_path.open("wb") as log:
        daemon = subprocess.Popen(words, env=os.environ | (environment or {}), stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while not ready():
                if daemon.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(log_path.read_text()[-3000:])
                time.sleep(0.2)
            yield
        finally:
            daemon.terminate()
            daemon.wait(60)
            _unmount(log_path.parent)


def _unmount(folder: Path) -> None:
    """Unmount what a daemon has left: namespaces, overlays."""
    mounted = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    for place in reversed([place for place in mounted if place.startswith(f"{folder}/")]):
        subprocess.run(["umount", place], capture_output=True, check=False)


def _probe() -> bytes:
    where = shutil.which("ldconfig", path="/usr/sbin:/sbin")
    assert where, "every Debian has ldconfig"
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(where, "ldconfig")
    return file.getvalue()
