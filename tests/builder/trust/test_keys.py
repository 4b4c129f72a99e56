"""Keys of cosign's and openssl's, and what is said of those that are none."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.errors import UsageError
from builder.trust import keys
from tests.kit.keys import PASSWORD, Pair, openssl, pair, pem, sealed

WITH_PASSWORD = {keys.PASSWORD: PASSWORD}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """One without a password."""
    return pair(tmp_path_factory.mktemp("keys"))


def sec1(plain: Pair) -> Pair:
    """As `openssl ecparam -genkey` writes it: parameters first."""
    made = Pair(plain.private.with_name("sec1.key"), plain.public)
    parameters = openssl("ecparam", "-name", "prime256v1")
    made.private.write_bytes(parameters + openssl("ec", "-in", plain.private))
    assert "BEGIN EC PRIVATE KEY" in made.text
    return made


def encrypted(plain: Pair) -> Pair:
    made = Pair(plain.private.with_name("encrypted.key"), plain.public)
    words = ("pkcs8", "-topk8", "-in", plain.private, "-passout", f"pass:{PASSWORD}", "-out", made.private)
    openssl(*words)
    assert "BEGIN ENCRYPTED PRIVATE KEY" in made.text
    return made


FORMS: dict[str, Callable[[Pair], Pair]] = {
    "PKCS #8": lambda plain: plain,
    "SEC 1": sec1,
    "PKCS #8 with a password": encrypted,
    "cosign's": lambda plain: sealed(plain, "cosign"),
    "cosign's as it was called before": lambda plain: sealed(plain, "older", label="COSIGN"),
    "cosign's with its own work": lambda plain: sealed(plain, "work", n=65536),
    "cosign's with an empty password": lambda plain: sealed(plain, "empty", password=""),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_signs(plain: Pair, form: str, tmp_path: Path) -> None:
    made = FORMS[form](plain)
    environ = {keys.PASSWORD: ""} if "empty" in form else WITH_PASSWORD
    key = keys.private(str(made.private), environ)
    signature = key.sign(b"some bytes")
    for public in (key.public, keys.public(str(made.public), {})):
        assert public.verifies(b"some bytes", signature)
        assert not public.verifies(b"other bytes", signature)
        assert not public.verifies(b"some bytes", signature[:-1])
        assert not public.verifies(b"some bytes", b"")
    # openssl agrees.
    (tmp_path / "signature").write_bytes(signature)
    words = ("dgst", "-sha256", "-verify", made.public, "-signature", tmp_path / "signature")
    assert openssl(*words, data=b"some bytes") == b"Verified OK\n"


def test_the_same_bytes_are_signed_alike(plain: Pair) -> None:
    one, other = (keys.private(str(plain.private), {}) for _ in range(2))
    assert one.sign(b"x") == other.sign(b"x") != one.sign(b"y")


@pytest.mark.parametrize("form", ["env:KEY", "env://KEY"])
def test_a_variable_has_a_key(plain: Pair, form: str) -> None:
    key = keys.private(form, {"KEY": plain.text})
    assert keys.public("env:PUB", {"PUB": plain.public.read_text()}).verifies(b"x", key.sign(b"x"))


def changed(plain: Pair, change: Callable[[Any], None]) -> str:
    made = sealed(plain, "changed")
    said = json.loads(base64.b64decode("".join(made.secrets)))
    change(said)
    return pem(json.dumps(said).encode(), "ENCRYPTED SIGSTORE PRIVATE KEY")


WRONG: dict[str, tuple[Callable[[Pair], str], dict[str, str], str]] = {
    "no PEM": (lambda _: "secret", {}, "K is no key in PEM"),
    "nothing": (lambda _: "", {}, "K is no key in PEM"),
    "a public key": (lambda p: p.public.read_text(), {}, "K is no private key: it has: public key"),
    "another curve": (
        lambda _: openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384").decode(), {},
        "K is a private key of another kind",
    ),
    "another kind": (lambda _: openssl("genpkey", "-algorithm", "ED25519").decode(), {}, "K is a private key of another kind"),
    "damaged": (lambda p: p.text.replace(p.secrets[1], p.secrets[1][:-4]), {}, "K: the key is damaged"),
    "no password for cosign's": (lambda p: sealed(p, "x").text, {}, "K: the key has a password"),
    "another password for cosign's": (
        lambda p: sealed(p, "x").text, {keys.PASSWORD: "falsch"}, "K: COSIGN_PASSWORD is not the key's password",
    ),
    "no password for openssl's": (lambda p: encrypted(p).text, {}, "K: the key has a password"),
    "another password for openssl's": (
        lambda p: encrypted(p).text, {keys.PASSWORD: "falsch"}, "K: COSIGN_PASSWORD is not the key's password",
    ),
    "cosign's label alone": (
        lambda _: pem(b"secret", "ENCRYPTED SIGSTORE PRIVATE KEY"), WITH_PASSWORD, "K: the key is damaged",
    ),
    "not what is wanted within": (
        lambda _: pem(b"[[]]", "ENCRYPTED SIGSTORE PRIVATE KEY"), WITH_PASSWORD, "K: the key is damaged",
    ),
    "too much work": (
        lambda p: changed(p, lambda said: said["kdf"]["params"].update(N=1 << 40)), WITH_PASSWORD, "K: the key is damaged",
    ),
    "work that is no power of two": (
        lambda p: changed(p, lambda said: said["kdf"]["params"].update(N=1000)), WITH_PASSWORD, "K: the key is damaged",
    ),
    "a nonce that is too short": (
        lambda p: changed(p, lambda said: said["cipher"].update(nonce="YWJj")), WITH_PASSWORD, "K: the key is damaged",
    ),
    "sealed otherwise": (
        lambda p: changed(p, lambda said: said["cipher"].update(name="rot13")), WITH_PASSWORD, "sealed in a way",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_private_key(plain: Pair, case: str, tmp_path: Path) -> None:
    make, environ, said = WRONG[case]
    text = make(plain)
    file = tmp_path / "key"
    file.write_text(text)
    for place, env in ((str(file), environ), ("env:KEY", {**environ, "KEY": text or " "})):
        with pytest.raises(UsageError) as caught:
            keys.private(place, env)
        error = caught.value
        assert (place + said[1:] if said.startswith("K") else said) in error.message
        # Nothing secret is told, and no chain of errors tells it either.
        told = f"{error.message} {error.hint} {error.__cause__}"
        for secret in (
            PASSWORD,
            "falsch",
            "secret",
            *(line for line in text.splitlines() if "-----" not in line and line),
        ):
            assert secret not in told


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("nowhere.pub", "nowhere.pub: the key cannot be read: No such file"),
        ("env:NOTHING", "env:NOTHING: there is no such variable"),
        ("env:", "env: is followed by no variable's name"),
        ("env:MFkwEwYHKoZI+secret", "env: is followed by no variable's name"),
        ("-----BEGIN PRIVATE KEY-----\nsecret", "a key's text stands where its file is named"),
        ("\0", "the key cannot be read: it is no file's name"),
    ],
)
def test_where_no_key_is(said: str, message: str) -> None:
    for read in (keys.private, keys.public):
        with pytest.raises(UsageError) as caught:
            read(said, {})
        assert message in caught.value.message
        assert "secret" not in caught.value.message + caught.value.hint


def test_what_is_no_public_key(plain: Pair, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no public key: it has: private key") as caught:
        keys.public(str(plain.private), {})
    assert not any(secret in str(caught.value) for secret in plain.secrets)
    for name, text, said in (
        ("certificate", pem(b"x", "CERTIFICATE"), "it has: certificate"),
        ("damaged", pem(b"x", "PUBLIC KEY"), "the key is damaged"),
        ("rsa", openssl("pkey", "-pubout", data=openssl("genrsa", "1024")).decode(), "of another kind"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(UsageError, match=said):
            keys.public(str(tmp_path / name), {})


def test_nothing_secret_is_shown(plain: Pair) -> None:
    key = keys.private(str(sealed(plain, "shown").private), WITH_PASSWORD)
    shown = f"{key!r} {key}"
    assert shown.count("PublicKey") == 2
    assert not any(secret in shown for secret in (PASSWORD, "private_numbers", *plain.secrets))
