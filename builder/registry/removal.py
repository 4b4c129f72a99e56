"""Taking manifests out of a registry (distribution-spec, "Deleting Manifests"); blobs are for its own garbage collection."""

from __future__ import annotations

from builder.errors import RegistryError
from builder.model.digest import Digest
from builder.registry import content, tokens
from builder.registry.session import Session

_COSIGN = (".sig", ".att", ".sbom")
"""What cosign adds to a referrers tag."""


def remove(session: Session, repository: str, digest: Digest) -> None:
    """Take an image out, with all tags that lead to it and what refers to it.

    What refers to it goes first: by the image it would be found again, if this ends on its way.

    Raises:
        RegistryError: the registry does not allow it.
    """
    listed, by_registry = content.referrers(session, repository, digest)
    for one in listed:
        _remove(session, repository, one.digest)
    tag = content.referrers_tag(digest)
    for name in (*(() if by_registry else (tag,)), *(tag + ending for ending in _COSIGN)):
        if found := content.digest_of(session, repository, name):
            _remove(session, repository, found)
    _remove(session, repository, digest)


def _remove(session: Session, repository: str, digest: Digest) -> None:
    scopes = (tokens.scope(repository, "pull", "delete"),)
    answer = session.ask(
        "DELETE", f"/v2/{repository}/manifests/{digest}", repository, scopes, right=(202, 400, 404, 405)
    )
    if answer.status in (400, 405):
        raise RegistryError(
            f"{session.host} does not let images be removed", answer.url, answer.status,
            "docker's registry wants storage.delete.enabled, others a right of their own",
        )  # fmt: skip
