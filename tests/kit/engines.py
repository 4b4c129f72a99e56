"""Real engines, started for the tests and stopped by process id."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Docker:
    """A docker of our own."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._started: list[str] = []

    def __call__(self, *words: str, check: bool = True, code: bool = False) -> str:
        """Run a docker command.

        Args:
            code: give the exit code instead of the output.
        """
        result = subprocess.run(["docker", "--host", self.host, *words], capture_output=True, text=True, check=False)
        if code:
            return str(result.returncode)
        if check and result.returncode != 0:
            raise AssertionError(f"docker {' '.join(words)}: {result.stderr}")
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


@contextmanager
def docker_daemon(folder: Path) -> Iterator[Docker]:
    """A docker daemon with its own data and socket."""
    socket = f"unix://{folder / 'docker.sock'}"
    program = shutil.which("dockerd")
    assert program, "dockerd is not installed: ./run-tests installs it"
    with (folder / "dockerd.log").open("wb") as log:
        daemon = subprocess.Popen(
            [program, "--data-root", folder / "data", "--exec-root", folder / "exec", "--host", socket,
             "--pidfile", folder / "pid"],
            stdout=log, stderr=log,
        )  # fmt: skip
        docker = Docker(socket)
        try:
            deadline = time.monotonic() + 60
            while docker("info", check=False, code=True) != "0":
                if daemon.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError((folder / "dockerd.log").read_text()[-3000:])
                time.sleep(0.3)
            yield docker
        finally:
            docker.remove_all()
            daemon.terminate()
            daemon.wait(60)
