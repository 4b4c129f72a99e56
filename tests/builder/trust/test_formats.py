"""Payloads, manifests, envelopes: what others' tools read."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from builder.model.digest import Digest
from builder.trust import cosign, dsse, keys
from builder.trust.cosign import Entry
from builder.trust.keys import PrivateKey
from tests.kit.keys import pair

DIGEST = Digest.from_hex("ab" * 32)
NAME = "registry.example:5000/team/web"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> PrivateKey:
    """Who signs."""
    return keys.private(str(pair(tmp_path_factory.mktemp("keys")).private), {})


def test_the_payload_is_what_cosign_writes() -> None:
    assert cosign.payload(NAME, DIGEST).decode() == (
        '{"critical":{"identity":{"docker-reference":"registry.example:5000/team/web"},'
        f'"image":{{"docker-manifest-digest":"{DIGEST}"}},"type":"cosign container image signature"}},"optional":null}}'
    )
    assert cosign.signed(cosign.payload(NAME, DIGEST)) == DIGEST
    assert cosign.tag(DIGEST, cosign.SIGNATURES) == f"sha256-{'ab' * 32}.sig"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"{}", b'{"critical":[]}', b'{"critical":{"image":{"docker-manifest-digest":"x"},"type":"x"}}',
        cosign.payload(NAME, DIGEST).replace(b"cosign container", b"atomic container"),
        cosign.payload(NAME, DIGEST).replace(b"sha256:", b"sha512:"), b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_payload(data: bytes) -> None:
    assert cosign.signed(data) is None


def test_a_manifest_of_seals(key: PrivateKey) -> None:
    seal = cosign.sign(key, NAME, DIGEST)
    assert key.public.verifies(seal.data, seal.entry.signature)
    data, config = cosign.manifest((seal.entry, seal.entry))
    said = json.loads(data)
    assert said["config"]["digest"] == Digest.of(config)
    assert said["layers"][0] == {
        "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
        "digest": Digest.of(seal.data),
        "size": len(seal.data),
        "annotations": {"dev.cosignproject.cosign/signature": base64.b64encode(seal.entry.signature).decode()},
    }
    assert json.loads(config)["rootfs"]["diff_ids"] == [Digest.of(seal.data)] * 2
    assert cosign.entries(data) == (seal.entry, seal.entry)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"layers":1}', b'{"layers":[1]}', b'{"layers":[{"digest":"x","size":1,"mediaType":""}]}'],
)
def test_what_is_no_manifest_of_seals(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        cosign.entries(data)


def test_a_signature_that_is_no_base64() -> None:
    entry = Entry(DIGEST, 1, cosign.PAYLOAD, ((cosign.SIGNATURE, "%"),))
    assert entry.signature == b""


@pytest.mark.parametrize("document", [b'{"a": 1}\n', b"[]", "version: 1 # ä\n".encode(), b'{"_type": "other"}'])
def test_a_statement_has_the_document_letter_by_letter(key: PrivateKey, document: bytes) -> None:
    made = dsse.statement(NAME, DIGEST, "https://example.org/x", document)
    said: dict[str, Any] = json.loads(made)
    assert said["subject"] == [{"name": NAME, "digest": {"sha256": DIGEST.hex}}]
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    try:
        assert said["predicate"] == json.loads(document)
        assert document in made
    except ValueError:
        assert said["predicate"] == document.decode()
    assert dsse.subject(made, DIGEST) == (NAME, "https://example.org/x")
    assert dsse.subject(made, Digest.from_hex("cd" * 32)) is None
    seal = dsse.sealed(key, made, "https://example.org/x")
    assert dsse.opened(seal.data, key.public) == made
    assert seal.entry.note("predicateType") == "https://example.org/x"


def test_a_statement_is_taken_for_itself() -> None:
    made = dsse.statement(NAME, DIGEST, "https://example.org/x", b"1")
    assert dsse.statement("other", DIGEST, "https://example.org/x", made) == made
    assert dsse.statement("other", DIGEST, "https://example.org/y", made) != made


def test_what_is_signed_is_what_dsse_says(key: PrivateKey) -> None:
    """The specification's own example, with in-toto's type (protocol.md)."""
    seal = dsse.sealed(key, b"hello world", "x")
    signature = base64.b64decode(json.loads(seal.data)["signatures"][0]["sig"])
    assert key.public.verifies(b"DSSEv1 28 application/vnd.in-toto+json 11 hello world", signature)


def test_an_envelope_with_a_changed_byte(key: PrivateKey, tmp_path: Path) -> None:
    data = dsse.sealed(key, dsse.statement(NAME, DIGEST, "x", b"{}"), "x").data
    for at in range(0, len(data), 7):
        broken = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        found = dsse.opened(broken, key.public)
        # A key id is a hint alone, and what a name is escaped to is no content.
        assert found is None or found == dsse.opened(data, key.public)
    other = keys.private(str(pair(tmp_path).private), {})
    assert dsse.opened(data, other.public) is None
    for broken in (b"", b"[]", b"{}", b'{"payload":"","payloadType":"x","signatures":[]}'):
        assert dsse.opened(broken, key.public) is None
