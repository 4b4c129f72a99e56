"""A real registry, Debian's docker-registry, on the loopback interface: with or without TLS and a password."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

USER, PASSWORD = "me", "geheim-4711"
_FETCHED = re.compile(r'"GET /v2/\S+/blobs/\S+ HTTP/1\.1" 20\d (\d+) ')
_HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuuI9Ve74svfU50aEQdy91gepBOB8Ceywa\n"


@dataclass
class Registry:
    """A registry while the ``with`` block runs.

    Attributes:
        host: ``127.0.0.1:PORT``.
        environment: what whoever talks to it needs: its certificate, a file of logins.
    """

    folder: Path
    port: int
    secure: bool
    environment: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """Its name."""
        return f"127.0.0.1:{self.port}"

    @property
    def certificate(self) -> Path:
        """Who vouches for it: itself."""
        return self.folder / "ca.crt"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(self.folder / "config.yml")], stdout=log, stderr=log,
                env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self._process.poll() is None, (self.folder / "log").read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self, *, kill: bool = False) -> None:
        """End it, in good order or not."""
        if self._process is not None:
            self._process.kill() if kill else self._process.terminate()
            self._process.wait(30)
            self._process = None

    def tags(self, repository: str) -> dict[str, str]:
        """The digest that each tag of a repository leads to, as they lie on its disk."""
        folder = self._repository(repository) / "_manifests/tags"
        if not folder.is_dir():
            return {}
        return {
            tag.name: (tag / "current/link").read_text() for tag in folder.iterdir() if (tag / "current/link").exists()
        }

    def blob(self, digest: str) -> Path:
        """Where a blob lies."""
        digits = digest.removeprefix("sha256:")
        return self.folder / "data/docker/registry/v2/blobs/sha256" / digits[:2] / digits / "data"

    @property
    def fetched(self) -> int:
        """The bytes of all blobs that were ever fetched from it."""
        return sum(map(int, _FETCHED.findall((self.folder / "log").read_text())))

    def forget(self, repository: str, digest: str) -> None:
        """Lose a blob of a repository."""
        shutil.rmtree(self._repository(repository) / "_layers/sha256" / digest.removeprefix("sha256:"))

    def require_whole(self, repository: str) -> None:
        """See that everything which a tag leads to is there."""
        for tag, digest in self.tags(repository).items():
            self._require_whole(repository, tag, digest)

    def _require_whole(self, repository: str, tag: str, digest: str) -> None:
        manifest = json.loads(self.blob(digest).read_bytes())
        for one in manifest.get("manifests", ()):
            self._require_whole(repository, tag, one["digest"])
        for one in (manifest["config"], *manifest["layers"]) if "config" in manifest else ():
            assert self.blob(one["digest"]).stat().st_size == one["size"], (tag, one)
            link = self._repository(repository) / "_layers/sha256" / one["digest"].removeprefix("sha256:") / "link"
            assert link.exists(), (tag, one)

    def _repository(self, name: str) -> Path:
        return self.folder / "data/docker/registry/v2/repositories" / name


@contextlib.contextmanager
def registry(
    folder: Path, *, secure: bool = False, deletes: bool = True, counts: bool = False, clients: bool = False
) -> Iterator[Registry]:
    """A registry of our own.

    Args:
        secure: with TLS and a password.
        clients: a secure one wants a certificate of whoever asks, too: ``client.crt`` and ``client.key`` in the folder.
        deletes: it lets images be removed.
        counts: its log tells of each request, for `Registry.fetched`.
    """
    if not shutil.which("docker-registry"):
        pytest.fail("docker-registry is not installed: ./run-tests installs it")
    folder.mkdir(parents=True, exist_ok=True)
    made = Registry(folder, free_port(), secure)
    http = f"http:\n  addr: 127.0.0.1:{made.port}\n  secret: {'0' * 32}\n"
    auth = ""
    if secure:
        _certificate(folder / "key", made.certificate, "registry")
        (folder / "htpasswd").write_text(_HTPASSWD)
        http += f"  tls:\n    certificate: {made.certificate}\n    key: {folder / 'key'}\n"
        if clients:
            _certificate(folder / "client.key", folder / "client.crt", "client")
            http += f"    clientcas: [{folder / 'client.crt'}]\n"
        auth = f"auth:\n  htpasswd: {{realm: test, path: {folder / 'htpasswd'}}}\n"
        logins = folder / "auth.json"
        logins.write_text(json.dumps({"auths": {made.host: {"username": USER, "password": PASSWORD}}}))
        made.environment = {"SSL_CERT_FILE": str(made.certificate), "REGISTRY_AUTH_FILE": str(logins)}
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: {str(not counts).lower()}}}}}\n"
        f"storage:\n  filesystem: {{rootdirectory: {folder / 'data'}}}\n  delete: {{enabled: {str(deletes).lower()}}}\n{http}{auth}"
    )
    made.start()
    try:
        yield made
    finally:
        made.stop()


def _certificate(key: Path, certificate: Path, name: str) -> None:
    """A key, and a certificate by which it vouches for itself."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", certificate, "-days", "2", "-subj", f"/CN={name}",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
