"""Encrypted files: by gpg or age, to those who are named and nobody else."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from builder.errors import UsageError
from builder.pipeline.vault import Vault
from builder.tools import sealed
from tests.kit import keys

pytestmark = pytest.mark.integration


@pytest.fixture(params=["gpg", "age"])
def recipient(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Somebody whose own key is here; the first program that is not there skips."""
    if shutil.which(request.param) is None:
        pytest.skip(f"needs {request.param}")
    if request.param == "gpg":
        monkeypatch.setenv("GNUPGHOME", str(tmp_path / "gnupg"))
        yield keys.openpgp(tmp_path / "gnupg")
        subprocess.run(["gpgconf", "--kill", "all"], check=False)
    else:
        monkeypatch.setenv(sealed.IDENTITY, str(tmp_path / "identity"))
        yield keys.age(tmp_path / "identity")


@pytest.fixture
def file(recipient: str, tmp_path: Path) -> Path:
    """Where secrets are kept by the recipient's program."""
    return tmp_path / f"secrets.yaml.{'age' if recipient.startswith('age1') else 'gpg'}"


def test_secrets_are_kept_encrypted_and_read_again(file: Path, recipient: str) -> None:
    vault = Vault(file, recipients=(recipient,))
    made = vault.secret("a")
    vault.keep()
    assert made.encode() not in file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600
    again = Vault(file, recipients=(recipient,))
    assert (again.secret("a"), again.made) == (made, [])
    # What is added is encrypted with what was there.
    again.secret("b")
    again.keep()
    assert {*yaml.safe_load(sealed.opened(file))} == {"a", "b"}
    assert [path.name for path in file.parent.iterdir() if path.name.startswith(("secrets", ".secrets"))] == [file.name]


def test_nobody_else_reads_them(file: Path, recipient: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(sealed.closed(file, b"a: very secret", (recipient,)))
    for name in ("GNUPGHOME", sealed.IDENTITY):
        if name in os.environ:
            other = file.parent / "other"
            monkeypatch.setenv(name, str(other))
            _ = keys.openpgp(other) if name == "GNUPGHOME" else keys.age(other)
    with pytest.raises(UsageError, match="cannot be decrypted") as failed:
        Vault(file)
    assert "very secret" not in str(failed.value)


def test_without_a_recipient_nothing_is_written(file: Path, recipient: str) -> None:
    other = "A" * 40 if recipient.startswith("age1") else "age1other"
    for recipients in ((), (other,)):
        vault = Vault(file, recipients=recipients)
        vault.secret("a")
        with pytest.raises(UsageError, match="the site names no") as failed:
            vault.keep()
        assert "recipients: […]" in failed.value.hint
    assert not file.exists()


def test_a_recipient_that_is_not_known_is_told(file: Path, recipient: str) -> None:
    stranger = "age1stranger" if recipient.startswith("age1") else "B" * 40
    with pytest.raises(UsageError, match=f"cannot be encrypted to {stranger}"):
        sealed.closed(file, b"a: b", (stranger,))


def test_what_is_wrong_within_is_told_without_its_text(file: Path, recipient: str) -> None:
    file.write_bytes(sealed.closed(file, b"very: [secret]\n", (recipient,)))
    with pytest.raises(Exception, match="a mapping of names to quoted texts") as failed:
        Vault(file)
    assert "[secret]" not in str(failed.value)
