"""Signatures as cosign keeps them beside an image (cosign, SIGNATURE_SPEC and ATTESTATION_SPEC).

One manifest per image and kind, found by a tag that the image's digest gives: each of its "layers" is what somebody has
signed. Here such a thing is a *seal*.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from builder.formats import oci
from builder.model.digest import Digest

SIGNATURES, ATTESTATIONS = "sig", "att"
"""The kinds: of the image itself, and of what is told of it."""
PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
PREDICATE = "predicateType"
_TYPE = "cosign container image signature"


class Verifier(Protocol):
    """Whom we believe."""

    def verifies(self, data: bytes, signature: bytes) -> bool:
        """Whether a signature of some bytes is theirs."""
        ...


class Signer(Protocol):
    """Who signs."""

    @property
    def public(self) -> Verifier:
        """What others hold their signatures against."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The signature of some bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A seal as a manifest lists it.

    Attributes:
        digest, size: of its bytes.
        annotations: sorted.
    """

    digest: Digest
    size: int
    media_type: str
    annotations: tuple[tuple[str, str], ...] = ()

    def note(self, name: str) -> str:
        """An annotation; empty if there is none."""
        return dict(self.annotations).get(name, "")

    @property
    def signature(self) -> bytes:
        """The signature that an annotation has; empty if there is none."""
        return base64_bytes(self.note(SIGNATURE)) or b""


@dataclass(frozen=True, slots=True)
class Seal:
    """What somebody has signed.

    Attributes:
        data: what the signature speaks of, or holds as well.
    """

    entry: Entry
    data: bytes


def seal(data: bytes, media_type: str, annotations: Mapping[str, str]) -> Seal:
    """A seal of these bytes."""
    return Seal(Entry(Digest.of(data), len(data), media_type, tuple(sorted(annotations.items()))), data)


def tag(digest: Digest, kind: str) -> str:
    """The tag under which an image's seals are found."""
    return f"{digest.replace(':', '-')}.{kind}"


def payload(repository: str, digest: Digest) -> bytes:
    """What is signed of an image (containers-signature(5)), the very bytes that cosign would write.

    Args:
        repository: ``registry.example/openstack/nova-api``: what the image is called there, without a tag.
    """
    identity = {"docker-reference": repository}
    critical = {"identity": identity, "image": {"docker-manifest-digest": digest}, "type": _TYPE}
    return json.dumps({"critical": critical, "optional": None}, separators=(",", ":"), ensure_ascii=False).encode()


def signed(data: bytes) -> Digest | None:
    """The digest that such a payload speaks of; None if it is none."""
    try:
        critical = oci.parse(data)["critical"]
        return Digest.parse(critical["image"]["docker-manifest-digest"]) if critical["type"] == _TYPE else None
    except (ValueError, KeyError, TypeError):
        return None


def sign(signer: Signer, repository: str, digest: Digest) -> Seal:
    """Sign an image."""
    data = payload(repository, digest)
    return seal(data, PAYLOAD, {SIGNATURE: base64.b64encode(signer.sign(data)).decode()})


def manifest(entries: Iterable[Entry]) -> tuple[bytes, bytes]:
    """The manifest of seals, and the config that it names."""
    listed = tuple(entries)
    # What cosign's library writes where it knows nothing; runtimes never see it.
    nothing = "0001-01-01T00:00:00Z"
    config = oci.dump(
        {
            "architecture": "", "config": {}, "created": nothing, "history": [{"created": nothing}] * len(listed),
            "os": "", "rootfs": {"type": "layers", "diff_ids": [one.digest for one in listed]},
        }
    )  # fmt: skip
    data = oci.dump(
        {
            "schemaVersion": 2,
            "mediaType": oci.MANIFEST,
            "config": {"mediaType": oci.CONFIG, "digest": Digest.of(config), "size": len(config)},
            "layers": [
                {
                    "mediaType": one.media_type,
                    "digest": one.digest,
                    "size": one.size,
                    **({"annotations": dict(one.annotations)} if one.annotations else {}),
                }
                for one in listed
            ],
        }
    )
    return data, config


def entries(data: bytes) -> tuple[Entry, ...]:
    """What a manifest lists.

    Raises:
        ValueError: it is no manifest of seals.
    """
    try:
        return tuple(_entry(one) for one in oci.parse(data)["layers"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no manifest of signatures: {error}") from None


def _entry(said: Mapping[str, Any]) -> Entry:
    notes = {str(key): str(value) for key, value in (said.get("annotations") or {}).items()}
    return Entry(Digest.parse(said["digest"]), int(said["size"]), str(said["mediaType"]), tuple(sorted(notes.items())))


def base64_bytes(text: Any) -> bytes | None:
    """The bytes of some base64; None if it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        return None
