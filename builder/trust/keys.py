"""Keys in the forms that cosign has: ECDSA on P-256, as PEM.

a private one    cosign's own (its password by scrypt, its bytes in NaCl's secretbox), or PKCS #8 and SEC 1 of openssl
a public one     SubjectPublicKeyInfo

What is secret is in no message, and in no ``repr``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from builder.errors import UsageError

PASSWORD = "COSIGN_PASSWORD"
"""The variable that has the password of a private key, as for cosign."""
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_SEALED = (b"ENCRYPTED SIGSTORE PRIVATE KEY", b"ENCRYPTED COSIGN PRIVATE KEY")
_PRIVATE = (b"PRIVATE KEY", b"EC PRIVATE KEY", b"ENCRYPTED PRIVATE KEY")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LARGEST = 1 << 20
_MOST = {"N": 1 << 20, "r": 64, "p": 16}
"""What scrypt may be asked to do: cosign's keys have N = 65536, r = 8, p = 1."""
_WANTED = "an ECDSA key on P-256 is wanted, as `cosign generate-key-pair` makes it"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that others' signatures are held against.

    Attributes:
        place: where it was read, for messages.
    """

    place: str
    _key: ec.EllipticCurvePublicKey = field(repr=False, compare=False)

    def verifies(self, data: bytes, signature: bytes) -> bool:
        """Whether a signature of some bytes is by this key."""
        try:
            self._key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key that signs. The same bytes always get the same signature (RFC 6979): two runs do not sign twice."""

    public: PublicKey
    _key: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)

    def sign(self, data: bytes) -> bytes:
        """The signature of some bytes, as DER."""
        try:
            return self._key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        except UnsupportedAlgorithm:
            # An OpenSSL before 3.2, which is a distribution's own.
            return self._key.sign(data, ec.ECDSA(hashes.SHA256()))


def private(said: str, environ: Mapping[str, str] | None = None) -> PrivateKey:
    """A key that signs.

    Args:
        said: a file, or ``env:NAME`` for a variable that has its text.
        environ: in place of the process's own environment.

    Raises:
        UsageError: there is none, it is no such key, or the password is wrong.
    """
    environ = os.environ if environ is None else environ
    place, text = _read(said, environ)
    kind, body = _block(place, text, (*_SEALED, *_PRIVATE))
    password = environ.get(PASSWORD)
    locked = b"ENCRYPTED" in kind + body
    try:
        if kind in _SEALED:
            key = serialization.load_der_private_key(_opened(place, body, password), None)
        else:
            word = password.encode("utf-8", "surrogateescape") if locked and password else None
            key = serialization.load_pem_private_key(_pem(kind, body), word)
    except TypeError:
        raise _no_password(place) from None
    except (ValueError, UnsupportedAlgorithm):
        raise (_wrong_password if locked and kind not in _SEALED else _damaged)(place) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError(f"{place} is a private key of another kind", _WANTED)
    return PrivateKey(PublicKey(place, key.public_key()), key)


def public(said: str, environ: Mapping[str, str] | None = None) -> PublicKey:
    """A key that signatures are held against.

    Args:
        said: a file, or ``env:NAME`` for a variable that has its text.

    Raises:
        UsageError: there is none, or it is no such key.
    """
    place, text = _read(said, os.environ if environ is None else environ)
    try:
        key = serialization.load_pem_public_key(_pem(*_block(place, text, (b"PUBLIC KEY",))))
    except (ValueError, UnsupportedAlgorithm):
        raise _damaged(place) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError(f"{place} is a public key of another kind", _WANTED)
    return PublicKey(place, key)


def _read(said: str, environ: Mapping[str, str]) -> tuple[str, bytes]:
    if "-----" in said or "\n" in said:
        # It would be in the list of processes, too.
        raise UsageError(
            "a key's text stands where its file is named", "say FILE, or env:NAME for a variable that has it"
        )
    scheme, colon, name = said.partition(":")
    if colon and scheme == "env":
        name = name.removeprefix("//")
        if not _VARIABLE.fullmatch(name):
            raise UsageError("env: is followed by no variable's name", "say env:NAME, without a dollar sign")
        if not environ.get(name):
            raise UsageError(f"env:{name}: there is no such variable, or it is empty", "it has the text of a key")
        return f"env:{name}", environ[name].encode("utf-8", "surrogateescape")
    try:
        with Path(said).open("rb") as file:
            return said, file.read(_LARGEST)
    except (OSError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) else "it is no file's name"
        raise UsageError(f"{said}: the key cannot be read: {told}", "say FILE, or env:NAME for a variable") from None


def _block(place: str, text: bytes, wanted: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    """The first part of a PEM file that is of a wanted kind; an error says which kinds are there."""
    there = [(found[1], found[2]) for found in _PEM.finditer(text)]
    for kind, body in there:
        if kind in wanted:
            return kind, body
    if not there:
        raise UsageError(f"{place} is no key in PEM", _WANTED)
    kinds = ", ".join(kind.decode().lower() for kind, _ in there[:3])
    private_ = b"PRIVATE KEY" in wanted
    hint = (
        "who signs has the private key"
        if private_
        else "`cosign public-key --key KEY` and `openssl pkey -pubout` give it"
    )
    raise UsageError(f"{place} is no {'private' if private_ else 'public'} key: it has: {kinds}", hint)


def _pem(kind: bytes, body: bytes) -> bytes:
    return b"-----BEGIN %b-----%b-----END %b-----\n" % (kind, body, kind)


def _opened(place: str, body: bytes, password: str | None) -> bytes:
    """The PKCS #8 within a key of cosign's (go-securesystemslib, encrypted)."""
    if password is None:
        raise _no_password(place)
    try:
        said: Any = json.loads(base64.b64decode(body))
        kdf, cipher = said["kdf"], said["cipher"]
        if (kdf["name"], cipher["name"]) != ("scrypt", "nacl/secretbox"):
            raise UsageError(f"{place}: it is sealed in a way that is not known here", _WANTED)
        work = {name: int(kdf["params"][name]) for name in _MOST}
        salt, nonce, sealed = (base64.b64decode(text) for text in (kdf["salt"], cipher["nonce"], said["ciphertext"]))
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError):
        raise _damaged(place) from None
    if any(not 0 < work[name] <= most for name, most in _MOST.items()):
        raise _damaged(place)
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    memory = 128 * work["r"] * (work["N"] + work["p"] + 2) + (1 << 20)
    try:
        key = hashlib.scrypt(
            password.encode("utf-8", "surrogateescape"), salt=salt, n=work["N"], r=work["r"], p=work["p"],
            maxmem=min(memory, (1 << 31) - 1), dklen=SecretBox.KEY_SIZE,
        )  # fmt: skip
        return bytes(SecretBox(key).decrypt(sealed, nonce))
    except ValueError:
        # NaCl's own kind of it is a CryptoError, too.
        raise _damaged(place) from None
    except CryptoError:
        raise _wrong_password(place) from None


def _no_password(place: str) -> UsageError:
    return UsageError(f"{place}: the key has a password", f"set {PASSWORD}, which cosign reads as well")


def _wrong_password(place: str) -> UsageError:
    return UsageError(f"{place}: {PASSWORD} is not the key's password, or the key is damaged")


def _damaged(place: str) -> UsageError:
    return UsageError(f"{place}: the key is damaged", _WANTED)
