"""Files that only some people can read: encrypted by gpg or by age, as their endings say. Nothing of them is written in clear."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from builder.errors import UsageError
from builder.tools import process

IDENTITY = "IMGBUILD_AGE_IDENTITY"
"""The variable that names the file with one's own key of age."""
_PACKAGES = {"gpg": "gnupg", "age": "age"}
_FINGERPRINT = re.compile("[0-9A-F]{40}")


def program(path: Path) -> str:
    """What a file is encrypted by: ``gpg`` or ``age``; empty if it is not."""
    name = path.suffix.removeprefix(".")
    return name if name in _PACKAGES else ""


def opened(path: Path) -> bytes:
    """What an encrypted file holds.

    Raises:
        UsageError: it cannot be decrypted here.
        OSError: it cannot be read.
    """
    if program(path) == "gpg":
        words = ["gpg", "--batch", "--quiet", "--decrypt"]
        hint = "it wants the secret key of somebody whom it is encrypted to: `gpg --list-secret-keys`"
    else:
        identity = os.environ.get(IDENTITY, "")
        words = ["age", "--decrypt", *(("--identity", identity) if identity else ())]
        hint = f"the file that {IDENTITY} names has to have the key of somebody whom it is encrypted to"
    found = _run(words, path.read_bytes())
    if found.code:
        raise UsageError(f"{path} cannot be decrypted: {found.reason}", hint)
    return found.stdout


def closed(path: Path, data: bytes, recipients: Iterable[str]) -> bytes:
    """Data as an encrypted file of that name would hold it.

    Args:
        recipients: who can read it: fingerprints of keys of OpenPGP for gpg, age's own recipients for age.

    Raises:
        UsageError: there are no recipients, or it cannot be encrypted to them here.
    """
    name = program(path)
    mine = [one for one in recipients if bool(_FINGERPRINT.fullmatch(one)) == (name == "gpg")]
    if not mine:
        wanted = "fingerprint of OpenPGP" if name == "gpg" else "recipient of age"
        raise UsageError(
            f"{path} cannot be encrypted: the site names no {wanted}", "say `recipients: […]` in the site's file"
        )
    # A fingerprint in the site's file says enough of whose key it is.
    words = ["gpg", "--batch", "--trust-model=always"] if name == "gpg" else ["age"]
    found = _run([*words, "--encrypt", *(f"--recipient={one}" for one in mine)], data)
    if found.code or not found.stdout:
        hint = "gpg must have their public keys: `gpg --import`" if name == "gpg" else ""
        raise UsageError(f"{path} cannot be encrypted to {', '.join(mine)}: {found.reason}", hint)
    return found.stdout


def _run(words: list[str], data: bytes) -> process.Result:
    own = {name: os.environ[name] for name in ("HOME", "GNUPGHOME", "GPG_TTY") if name in os.environ}
    try:
        return process.run(words, env=own, stdin=data, check=False)
    except FileNotFoundError:
        raise UsageError(f"{words[0]} is not there", f"apt-get install {_PACKAGES[words[0]]}") from None
