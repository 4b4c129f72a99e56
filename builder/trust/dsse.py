"""Attestations: in-toto statements of an image in signed envelopes (DSSE v1; in-toto, attestation framework).

A statement has the document that it vouches for letter by letter, so that whoever has both sees any byte that differs.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from builder.formats import oci
from builder.model.digest import Digest
from builder.trust import cosign
from builder.trust.cosign import Seal, Signer, Verifier

ENVELOPE = "application/vnd.dsse.envelope.v1+json"
PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"


def statement(name: str, digest: Digest, predicate_type: str, document: bytes) -> bytes:
    """The statement that an image has some document.

    Args:
        name: of the image.
        document: JSON, which the statement takes over as it is; of another form, its text. A statement of that type is
            taken for itself.
    """
    try:
        known: Any = oci.parse(document)
    except ValueError:
        document = json.dumps(document.decode("utf-8", "replace"), ensure_ascii=False).encode()
        known = None
    if isinstance(known, dict) and known.get("_type") == _STATEMENT and known.get("predicateType") == predicate_type:
        return document
    head = {
        "_type": _STATEMENT, "subject": [{"name": name, "digest": {"sha256": digest.hex}}], "predicateType": predicate_type,
    }  # fmt: skip
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False)
    return text[:-1].encode() + b',"predicate":' + document + b"}"


def sealed(signer: Signer, payload: bytes, predicate_type: str) -> Seal:
    """A statement in an envelope that somebody has signed."""
    signature = {"keyid": "", "sig": base64.b64encode(signer.sign(_authentic(payload))).decode()}
    envelope = {"payloadType": PAYLOAD, "payload": base64.b64encode(payload).decode(), "signatures": [signature]}
    data = json.dumps(envelope, separators=(",", ":")).encode()
    # cosign wants the annotation, though the signature is within.
    return cosign.seal(data, ENVELOPE, {cosign.SIGNATURE: "", cosign.PREDICATE: predicate_type})


def opened(data: bytes, verifier: Verifier) -> bytes | None:
    """The statement in an envelope; None if it is none, or not signed by whom we believe."""
    try:
        envelope = oci.parse(data)
        payload = cosign.base64_bytes(envelope["payload"])
        signatures = [cosign.base64_bytes(one["sig"]) for one in envelope["signatures"]]
        if envelope["payloadType"] != PAYLOAD or payload is None:
            return None
    except (ValueError, KeyError, TypeError):
        return None
    text = _authentic(payload)
    return payload if any(one is not None and verifier.verifies(text, one) for one in signatures) else None


def subject(payload: bytes, digest: Digest) -> tuple[str, str] | None:
    """What a statement calls an image, and of which type it is; None if it speaks of another one."""
    try:
        said = oci.parse(payload)
        for one in said["subject"]:
            if one["digest"].get("sha256") == digest.hex:
                return str(one.get("name", "")), str(said["predicateType"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return None


def _authentic(payload: bytes) -> bytes:
    """What is signed: "pre-authentication encoding"."""
    kind = PAYLOAD.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
