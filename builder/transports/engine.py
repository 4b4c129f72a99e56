"""docker and podman, spoken to through their Python packages over their API."""

from __future__ import annotations

import tempfile
from typing import Any

from builder.errors import EngineError
from builder.model.image import Image
from builder.transports import archive


def load_docker(image: Image, reference: str) -> None:
    """Load an image into docker.

    Raises:
        EngineError: docker is not there or refuses.
    """
    import docker

    try:
        client: Any = docker.from_env(timeout=600)
        client.ping()
    except docker.errors.DockerException as error:
        raise EngineError(
            f"docker does not answer: {error}", "start it, set DOCKER_HOST, or build --to oci:out"
        ) from None
    _load(client, image, reference, "docker", docker.errors.DockerException)


def load_podman(image: Image, reference: str) -> None:
    """Load an image into podman.

    Raises:
        EngineError: podman is not there or refuses.
    """
    import podman
    from podman.errors import APIError, PodmanError

    try:
        client: Any = podman.PodmanClient.from_env()
        client.version()
    except (APIError, PodmanError, OSError, ValueError, RuntimeError) as error:
        hint = "start `podman system service`, set CONTAINER_HOST, or build --to oci:out"
        raise EngineError(f"podman does not answer: {error}", hint) from None
    _load(client, image, reference, "podman", (APIError, PodmanError))


def _load(client: Any, image: Image, reference: str, name: str, errors: Any) -> None:
    with tempfile.TemporaryFile() as file:
        archive.stream(image, file, reference)
        file.seek(0)
        try:
            list(client.images.load(file.read() if name == "podman" else file))
        except errors as error:
            raise EngineError(f"{name} refuses {reference}: {error}") from None
