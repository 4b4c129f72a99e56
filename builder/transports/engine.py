"""docker and podman, spoken to through their Python packages over their API."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from builder.errors import EngineError, ImageError, UsageError
from builder.formats import compress
from builder.model.digest import Digest
from builder.model.image import Image, StoredImage
from builder.report import Reporter
from builder.tools.store import Store
from builder.transports import archive

Kind = Literal["docker", "podman"]
_ANSWER_SECONDS = 3
_WORK_SECONDS = 1800
_PIECE = 1 << 20
_ZSTD_SINCE = 23
"""The first docker that unpacks zstd (moby 41759)."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container that runs.

    Attributes:
        image: what it was started from, as the engine tells it.
        labels: of its image, and its own.
    """

    id: str
    name: str
    image: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that has answered.

    Attributes:
        client: ``docker.DockerClient`` or ``podman.PodmanClient``; their images are spoken to alike.
        store: where images that it gives are kept for as long as they are used.
    """

    kind: Kind
    client: Any
    store: Store
    reads_zstd: bool = True

    def names(self) -> tuple[str, ...]:
        """The references of its images."""
        with self._errors("does not list its images"):
            if self.kind == "docker":
                # Its images.list() asks for every image's details.
                return tuple(tag for one in self.client.api.images() for tag in one.get("RepoTags") or ())
            return tuple(tag for one in self.client.images.list() for tag in one.tags)

    def read(self, name: str) -> StoredImage:
        """An image by reference or ID, copied out of the engine.

        Raises:
            UsageError: there is none.
            EngineError: the engine does not give it.
        """
        found = self._required(name)
        file: BinaryIO = tempfile.TemporaryFile(dir=self.store.folder("tmp"))  # noqa: SIM115
        try:
            self._copy(name, lambda: found.save(_PIECE), file)
        except EngineError:
            if self.kind == "docker":
                raise
            self._copy(name, lambda: self._oci_archive(found.id), file)
        file.seek(0)
        try:
            images = archive.of(file, f"{self.kind}: {name}", self.store)
            stored = images.read(images.names()[0])
        except (ImageError, IndexError) as error:
            raise EngineError(f"{self.kind} gives a damaged image: {error}") from None
        return StoredImage(name, stored.manifest, stored.config, stored.blobs, kept=False)

    def config(self, name: str) -> dict[str, Any]:
        """How an image runs: the member ``config`` of its OCI config, as the engine tells it.

        Raises:
            UsageError: there is none.
        """
        found = self._required(name)
        return dict(found.attrs.get("Config") or {})

    def container(self, name: str) -> Container | None:
        """The container of a name or ID, if it runs."""
        import docker.errors
        import podman.errors

        with self._errors(f"does not answer for the container {name}"):
            try:
                found = self.client.containers.get(name)
            except (docker.errors.NotFound, podman.errors.NotFound):
                return None
        told = found.attrs
        if not (told.get("State") or {}).get("Running"):
            return None
        config = told.get("Config") or {}
        image = config.get("Image") or told.get("ImageName") or told.get("Image") or ""
        return Container(str(found.id), str(told.get("Name", name)).lstrip("/"), image, config.get("Labels") or {})

    def load(self, image: Image, reference: str, reporter: Reporter) -> None:
        """Give it an image; layers that it has are not sent.

        Raises:
            EngineError: it refuses.
        """
        known = self._known(image)
        self._require_zstd(image, known)
        if known:
            try:
                self._send(image, reference, known, reporter)
                return
            except EngineError as error:
                reporter.note(f"{self.kind} wants all layers of {reference}: {error.message}")
        self._send(image, reference, frozenset(), reporter)

    def _send(self, image: Image, reference: str, without: frozenset[Digest], reporter: Reporter) -> None:
        total = sum({layer.digest: layer.size for layer in image.layers if layer.digest not in without}.values())

        def told() -> Iterator[bytes]:
            done = 0
            for piece in archive.pieces(image, reference, without):
                yield piece
                done += len(piece)
                reporter.progress(f"{self.kind}: {reference}", min(done, total - 1), total, "B")

        with self._errors(f"refuses {reference}"):
            for _ in self.client.images.load(told()):
                pass
        found = self._find(reference if self.kind == "docker" else f"docker.io/library/{reference}")
        if found is None or str(found.id).removeprefix("sha256:") != image.config_digest.hex:
            raise EngineError(f"{self.kind} took {reference}, but does not have it")
        reporter.progress(f"{self.kind}: {reference}", total, total, "B")

    def _copy(self, name: str, save: Callable[[], Iterable[bytes]], file: BinaryIO) -> None:
        file.seek(0)
        file.truncate()
        with self._errors(f"does not give {name}"):
            for piece in save():
                file.write(piece)

    def _oci_archive(self, name: str) -> Iterable[bytes]:
        # podman gives no zstd layers as docker's archive, which is the form that its package asks for.
        answer = self.client.api.get(f"/images/{name}/get", params={"format": "oci-archive"}, stream=True)
        answer.raise_for_status()
        pieces: Iterable[bytes] = answer.iter_content(_PIECE)
        return pieces

    def _find(self, name: str) -> Any:
        import docker.errors
        import podman.errors

        with self._errors(f"does not answer for {name}"):
            try:
                return self.client.images.get(name)
            except (docker.errors.NotFound, podman.errors.NotFound, podman.errors.ImageNotFound):
                return None

    def _required(self, name: str) -> Any:
        found = self._find(name)
        if found is None:
            raise UsageError(f"{self.kind} has no image {name!r}", f"`{self.kind} images` lists what it has")
        return found

    def _known(self, image: Image) -> frozenset[Digest]:
        """The layers of an image that the engine has.

        docker finds a layer by all those below it, so what is left out is the longest beginning that an image of its
        own has; podman finds each alone.
        """
        wanted = [layer.diff_id for layer in image.layers]
        begun, single = 0, set[str]()
        with self._errors("does not list its images"):
            for one in self.client.images.list():
                found = one if "RootFS" in one.attrs else self._find(one.id)
                has = ((found.attrs.get("RootFS") or {}).get("Layers") or []) if found else []
                single.update(has)
                pairs = zip(wanted, has, strict=False)
                begun = max(begun, sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))
        if self.kind == "docker":
            return frozenset(layer.digest for layer in image.layers[:begun])
        return frozenset(layer.digest for layer in image.layers if layer.diff_id in single)

    def _require_zstd(self, image: Image, known: frozenset[Digest]) -> None:
        if self.reads_zstd:
            return
        if any(compress.of_media_type(x.media_type) == "zstd" for x in image.layers if x.digest not in known):
            raise EngineError(
                "this docker cannot read layers that are compressed with zstd",
                f"use docker {_ZSTD_SINCE} or newer, podman, or `compression: gzip` in imgbuild.yaml",
            )

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        import docker.errors
        import podman.errors
        import requests

        try:
            yield
        except (docker.errors.DockerException, podman.errors.APIError, podman.errors.PodmanError) as error:
            raise EngineError(f"{self.kind} {what}: {_words(error)}") from None
        except (requests.RequestException, ConnectionError) as error:
            raise EngineError(f"{self.kind} {what}: the connection broke: {_words(error)}") from None


def connect(kind: Kind, store: Store) -> Engine:
    """Find an engine: where ``DOCKER_HOST`` or ``CONTAINER_HOST`` says, else at its usual sockets.

    Raises:
        EngineError: none answers.
    """
    return _docker(store) if kind == "docker" else _podman(store)


def _docker(store: Store) -> Engine:
    import docker
    import docker.errors

    # None is what docker's own command takes: DOCKER_HOST, then its context, then /var/run/docker.sock.
    rootless = [] if os.environ.get("DOCKER_HOST") else _sockets("docker.sock")
    problem = ""
    for host in (None, *rootless):
        environment = {**os.environ, "DOCKER_HOST": host} if host else dict(os.environ)
        try:
            client: Any = docker.DockerClient.from_env(timeout=_ANSWER_SECONDS, environment=environment)
            version = client.version()["Version"]
        except (docker.errors.DockerException, OSError, ValueError, KeyError) as error:
            problem = problem or _words(error)
            continue
        client.api.timeout = _WORK_SECONDS
        return Engine("docker", client, store, reads_zstd=_major(version) >= _ZSTD_SINCE)
    where = os.environ.get("DOCKER_HOST") or "its usual sockets"
    raise EngineError(
        f"docker does not answer at {where}: {problem}", "start it, set DOCKER_HOST, or build --to oci:out"
    )


def _podman(store: Store) -> Engine:
    import podman
    import podman.errors

    given = os.environ.get("CONTAINER_HOST")
    problem = "there is no socket"
    for host in [given] if given else [*_sockets("podman/podman.sock"), *_existing(Path("/run/podman/podman.sock"))]:
        try:
            client: Any = podman.PodmanClient(base_url=host, timeout=_ANSWER_SECONDS)
            # Its version takes it a second: it asks dpkg for the packages of its helpers.
            answers = client.ping()
        except (OSError, ValueError, RuntimeError, podman.errors.PodmanError, subprocess.SubprocessError) as error:
            problem = _words(error)
            continue
        if answers:
            client.api.timeout = _WORK_SECONDS
            return Engine("podman", client, store)
        problem = "what answers is no podman"
    raise EngineError(
        f"podman does not answer at {given or 'its usual sockets'}: {problem}",
        "start it with `systemctl [--user] start podman.socket`, set CONTAINER_HOST, or build --to oci:out",
    )


def _sockets(name: str) -> list[str]:
    folders = [Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")]
    return [found for folder in folders for found in _existing(folder / name)]


def _existing(socket: Path) -> list[str]:
    return [f"unix://{socket}"] if socket.is_socket() else []


def _major(version: str) -> int:
    found = re.match(r"[0-9]+", version)
    return int(found[0]) if found else 0


def _words(error: BaseException) -> str:
    """What an error says, in the words of the one that began it."""
    root = error
    while cause := root.__cause__ or root.__context__:
        root = cause
    if isinstance(root, OSError) and root.strerror:
        return root.strerror
    return str(getattr(error, "explanation", None) or error)
