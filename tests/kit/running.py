"""Images run by what they declare themselves: their config and their labels, and nothing beside it.

The root is read-only, no capability is left but those declared, only the declared folders can be written, the user
and the command are the image's. What a test adds is what a site adds: configuration, addresses, secrets.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.declared import Declared
from builder.deploy import engine_words
from builder.transports.engine import Kind
from tests.kit.engines import Engine, Podman

CAPABILITIES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
    MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
""".split()  # noqa: SIM905
"""By number (linux/capability.h); docker 20.10 knows no newer ones."""


@dataclass(slots=True)
class Site:
    """A place where images run together: an engine, a network where they find each other by name, their volumes.

    Attributes:
        name: of the network; volumes begin with it.
        folder: for rendered configuration.
    """

    engine: Engine
    name: str
    folder: Path
    _volumes: set[str] = field(default_factory=set)
    _containers: list[str] = field(default_factory=list)
    _shared: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.engine("network", "create", self.name)

    def declared(self, reference: str) -> Declared:
        """What an image says of itself."""
        return Declared(reference, json.loads(self.engine("image", "inspect", reference))[0]["Config"])

    def start(
        self,
        reference: str,
        name: str,
        *,
        hostname: str | None = None,
        env: Mapping[str, str] | None = None,
        config: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        host: Running | None = None,
    ) -> Running:
        """Start an image as the service that it is.

        Args:
            name: how others of the site find it.
            hostname: what it is called itself, if not so.
            env: what the site sets beside the image's own environment.
            config: the text of each file of configuration, by its path.
            options: further ones of the engine.
            host: whose network and processes stand for the host's, where the image asks for those.
        """
        declared = self.declared(reference)
        words = self._words(declared, name, env, config)
        shared = "--network=host" in words
        if host:
            stands = {f"--{space}=host": f"--{space}=container:{host.container}" for space in ("network", "pid")}
            words = [stands.get(word, word) for word in words]
        words += ["--hostname", hostname or name] if not shared else []
        for port, protocol in declared.ports.values() if not shared else ():
            words += ["--publish", f"127.0.0.1::{port}/{protocol}"]
        if declared.config.get("Healthcheck") and not isinstance(self.engine, Podman):
            words += ["--health-interval=1s"]  # the image's own check, asked more often
        container = self.engine("run", "--detach", *words, *options, reference).strip().splitlines()[-1]
        self._containers.append(container)
        return Running(self, declared, name, container, host if shared else None)

    def host(self, reference: str) -> Running:
        """Something that does nothing, whose network and processes stand for a host's."""
        words = ("--network", self.name, "--network-alias", "host", "--hostname", "host", "--entrypoint", "sleep")
        container = self.engine("run", "--detach", "--init", *words, reference, "infinity").strip()
        self._containers.append(container)
        return Running(self, self.declared(reference), "host", container)

    def step(
        self,
        reference: str,
        step: str,
        *,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        config: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> str:
        """Run a step of an image to its end, on the volumes of the service ``name``, and give its output."""
        declared = self.declared(reference)
        assert step in declared.steps, f"{reference} has no step {step}, only {declared.steps}"
        words = self._words(
            declared, name or declared.config["Labels"]["org.opencontainers.image.title"], env, config, step
        )
        return self.engine("run", "--rm", *words, *options, reference, *declared.step(step)["command"])

    def run(
        self,
        reference: str,
        *command: str,
        env: Mapping[str, str] | None = None,
        config: Mapping[str, str] | None = None,
    ) -> str:
        """Run another command of an image to its end, under the same restrictions, and give its output."""
        words = self._words(self.declared(reference), "other", env, config)
        return self.engine("run", "--rm", *words, reference, *command)

    def stop(self, *running: Running) -> dict[str, int]:
        """Stop services at once, each by its own signal within its own grace, and give their exit codes by name."""
        self.engine("stop", *(one.container for one in running))
        return {one.name: int(one.state()["ExitCode"]) for one in running}

    def close(self) -> None:
        """Remove all that was started and kept."""
        if self._containers:
            self.engine("rm", "--force", "--volumes", *self._containers, check=False)
        for volume in sorted(self._volumes):
            self.engine("volume", "rm", "--force", volume, check=False)
        self.engine("network", "rm", self.name, check=False)
        for folder in self._shared:
            subprocess.run(["umount", "--recursive", folder], check=False)

    def _words(
        self,
        declared: Declared,
        name: str,
        env: Mapping[str, str] | None,
        config: Mapping[str, str] | None,
        step: str | None = None,
    ) -> list[str]:
        volumes = f"{self.name}-{name}"
        self._volumes |= {f"{volumes}-{volume}" for volume in declared.run.get("volumes", {})}
        kind: Kind = "podman" if isinstance(self.engine, Podman) else "docker"
        told = declared.step(step) if step else {}
        words = []
        for word in engine_words.confined(declared, kind, volumes, told):
            words += _privileged() if word == "--privileged" else [self._there(word)]
        if "--network=host" not in words:
            words += ["--network", self.name, "--network-alias", name]
        for variable, value in (env or {}).items():
            words += ["--env", f"{variable}={value}"]
        for path, text in (config or {}).items():
            words += ["--volume", f"{self._rendered(declared, name, path, text)}:{path}:ro"]
        return words

    def _there(self, word: str) -> str:
        """A folder of the host is one of the site's, where this machine has none or runs itself by it."""
        source, colon, path = word.partition(":")
        own = Path("/run") in (Path(source), *Path(source).parents)
        if not colon or not path.startswith(source) or (Path(source).exists() and not own):
            return word
        made = self.folder / "host" / source.lstrip("/")
        made.mkdir(parents=True, exist_ok=True)
        if path.endswith(":rshared"):
            self._share(made)
        return f"{made}:{path}"

    def _share(self, folder: Path) -> None:
        """Make a folder a place of its own for mounts, whose mounts others see: most hosts are so as a whole."""
        if folder not in self._shared:
            for words in (["--bind", str(folder), str(folder)], ["--make-shared", str(folder)]):
                subprocess.run(["mount", *words], check=True)
            self._shared.append(folder)

    def _rendered(self, declared: Declared, name: str, path: str, text: str) -> Path:
        told = declared.files[path]
        target = self.folder / name / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        os.chown(target, told["uid"], told["gid"])
        target.chmod(int(told["mode"], 8))
        return target


@dataclass(frozen=True, slots=True)
class Running:
    """A service that was started.

    Attributes:
        host: whose network it shares.
    """

    site: Site
    declared: Declared
    name: str
    container: str
    host: Running | None = None

    def exec(self, *words: str, check: bool = True, user: str | None = None) -> str:
        """Run a command in it and give its output."""
        return self.site.engine("exec", *(("--user", user) if user else ()), self.container, *words, check=check)

    def exec_code(self, *words: str) -> int:
        """Run a command in it and give its exit code."""
        return int(self.site.engine("exec", self.container, *words, code=True))

    def logs(self) -> str:
        """What it said, on stdout and stderr."""
        return self.site.engine.says("logs", self.container)

    def state(self) -> dict[str, Any]:
        """Its state, as the engine tells it."""
        found: dict[str, Any] = json.loads(self.site.engine("inspect", self.container))[0]["State"]
        return found

    @property
    def ip(self) -> str:
        """Its address in the site's network."""
        networks = json.loads(self.site.engine("inspect", self.container))[0]["NetworkSettings"]["Networks"]
        return str(networks[self.site.name]["IPAddress"])

    def address(self, port: str) -> tuple[str, int]:
        """Where a port of it is reached from here."""
        number, protocol = self.declared.ports[port]
        if self.host:
            return self.host.ip, number
        told = self.site.engine("port", self.container, f"{number}/{protocol}").splitlines()[0]
        host, _, published = told.strip().rpartition(":")
        return host, int(published)

    def url(self, port: str, path: str = "/") -> str:
        """The address of a port, for HTTP."""
        host, number = self.address(port)
        return f"http://{host}:{number}{path}"

    def get(self, port: str, path: str = "/") -> tuple[int, str]:
        """Status and text of an answer over HTTP; status 0 if there is none."""
        try:
            with urllib.request.urlopen(self.url(port, path), timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (OSError, ValueError):
            return 0, ""

    def until(self, what: str, seen: Any, limit: float = 60) -> Any:
        """Wait until ``seen()`` gives something true, and give that; fails with the log when the service ends."""
        deadline = time.monotonic() + limit
        while True:
            found = seen()
            if found:
                return found
            state = self.state()
            if not state["Running"] or time.monotonic() > deadline:
                how = "late" if state["Running"] else f"ended with {state['ExitCode']}"
                raise AssertionError(f"{self.name}: {what}: {how}\n{self.logs()[-6000:]}")
            time.sleep(0.3)

    def says(self, pattern: str, limit: float = 60) -> str:
        """Wait until its log has a pattern, and give what matched."""
        found: re.Match[str] = self.until(f"says {pattern!r}", lambda: re.search(pattern, self.logs()), limit)
        return found[0]

    def healthy(self, limit: float = 90) -> None:
        """Wait until it is healthy by its own probe: the engine's for ``exec``, ours over the network for others."""
        health = self.declared.run["health"]
        if "exec" in health and isinstance(self.site.engine, Podman):
            # podman leaves the probe to systemd's timers, and to us where there is no systemd.
            self.until("healthy", lambda: self.exec_code(*health["exec"]) == 0, limit)
        elif "exec" in health:
            self.until("healthy", lambda: self.state()["Health"]["Status"] == "healthy", limit)
        elif "http" in health:
            # As platforms do: what is neither an error of the server nor of the client is well.
            self.until("answers", lambda: 200 <= self.get(health["http"], health.get("path", "/"))[0] < 400, limit)
        else:
            self.until("listens", lambda: self._accepts(health["tcp"]), limit)

    def stop(self) -> int:
        """Stop it by its own signal within its own grace, and give its exit code."""
        return self.site.stop(self)[self.name]

    def _accepts(self, port: str) -> bool:
        try:
            with socket.create_connection(self.address(port), 5) as connection:
                connection.settimeout(0.5)
                # The engine's proxy accepts before the service does, and then hangs up.
                return connection.recv(1) != b""
        except TimeoutError:
            return True
        except OSError:
            return False


def _privileged() -> list[str]:
    # A virtual machine or container may lack capabilities itself, and then engines cannot give all of them.
    told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own, last = int(told["CapBnd"], 16), int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    if own == 2 ** (last + 1) - 1:
        return ["--privileged"]
    words = [f"--security-opt={name}=unconfined" for name in ("seccomp", "apparmor", "systempaths")]
    return [*words, "--cap-drop=ALL", *(f"--cap-add={name}" for at, name in enumerate(CAPABILITIES) if own >> at & 1)]
