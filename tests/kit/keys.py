"""Keys made by others' tools, or as they would be."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path

from nacl.secret import SecretBox

PASSWORD = "Kennwort-0815"
"""Of keys that have one."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of a key."""

    private: Path
    public: Path

    @property
    def text(self) -> str:
        """The private one."""
        return self.private.read_text()

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nobody is to see of it: its lines."""
        return tuple(line for line in self.text.splitlines() if line and "-----" not in line)


def openssl(*words: str | Path, data: bytes = b"") -> bytes:
    """Run openssl."""
    return subprocess.run(["openssl", *words], input=data, check=True, capture_output=True).stdout


def pair(folder: Path, name: str = "release") -> Pair:
    """A key without a password, by openssl."""
    made = Pair(folder / f"{name}.key", folder / f"{name}.pub")
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", made.private)
    openssl("pkey", "-in", made.private, "-pubout", "-out", made.public)
    return made


def sealed(plain: Pair, name: str, password: str = PASSWORD, label: str = "SIGSTORE", n: int = 1024) -> Pair:
    """The same key as cosign keeps it, with a password.

    Args:
        n: the work of scrypt; cosign's 65536 takes a fifth of a second.
    """
    inner = openssl("pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in", plain.private)
    salt, nonce = os.urandom(32), os.urandom(24)
    key = hashlib.scrypt(password.encode(), salt=salt, n=n, r=8, p=1, maxmem=1 << 28, dklen=32)
    said = {
        "kdf": {"name": "scrypt", "params": {"N": n, "r": 8, "p": 1}, "salt": base64.b64encode(salt).decode()},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(SecretBox(key).encrypt(inner, nonce).ciphertext).decode(),
    }
    made = Pair(plain.private.with_name(f"{name}.key"), plain.public)
    made.private.write_text(pem(json.dumps(said).encode(), f"ENCRYPTED {label} PRIVATE KEY"))
    return made


def pem(data: bytes, label: str) -> str:
    """Bytes in PEM."""
    lines = "\n".join(textwrap.wrap(base64.b64encode(data).decode(), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n"


def openpgp(home: Path) -> str:
    """The fingerprint of a key that gpg makes, which encrypts without a password.

    Args:
        home: gpg's folder, which GNUPGHOME has to name.
    """
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--batch", "--homedir", str(home)]
    made = [*gpg, "--passphrase", "", "--quick-gen-key", "Acme <acme@example.com>", "default", "default"]
    subprocess.run(made, check=True, capture_output=True)
    listed = subprocess.run([*gpg, "--with-colons", "-K"], check=True, capture_output=True, text=True).stdout
    return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))


def age(identity: Path) -> str:
    """The recipient of a key that age makes.

    Args:
        identity: the file to make.
    """
    subprocess.run(["age-keygen", "--output", str(identity)], check=True, capture_output=True)
    said = subprocess.run(["age-keygen", "-y", str(identity)], check=True, capture_output=True, text=True)
    return said.stdout.strip()
