"""Secrets: made once, kept for their owner alone, left out where there is no file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from builder.errors import UsageError
from builder.pipeline.vault import MASK, Vault
from dsl.errors import DefinitionError, ImgbuildError


def test_what_is_not_there_is_made_once(tmp_path: Path) -> None:
    file = tmp_path / "secrets.yaml"
    file.write_text("a: given\n")
    vault = Vault(file)
    made = vault.secret("b")
    assert (vault.secret("a"), vault.secret("b"), vault.made, len(made)) == ("given", made, ["b"], 48)
    assert (vault.asked_since(0), vault.asked_since(2)) == (("a", "b"), ("b",))
    vault.keep()
    assert yaml.safe_load(file.read_text()) == {"a": "given", "b": made}
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.yaml"]
    again = Vault(file)
    assert (again.secret("b"), again.made, again.left_out) == (made, [], ())


def test_two_at_once_make_one_secret(tmp_path: Path) -> None:
    file = tmp_path / "secrets.yaml"
    first = Vault(file)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(lambda: Vault(file).secret("a"))
        found = first.secret("a")
        first.keep()
        assert second.result(timeout=30) == found


def test_without_a_file_they_are_left_out() -> None:
    vault = Vault(None)
    assert vault.secret("a") == Vault(None).secret("a") != vault.secret("b")
    assert vault.left_out == ("a", "b")
    with pytest.raises(UsageError, match="wants secrets: a, b"):
        vault.require()
    vault.keep()
    assert Vault(None, masked=True).secret("a") == MASK


@pytest.mark.parametrize("text", ["a: 7\n", "- a\n", "a: [\n"])
def test_a_file_of_something_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "secrets.yaml").write_text(text)
    with pytest.raises(DefinitionError):
        Vault(tmp_path / "secrets.yaml")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "nowhere/secrets.yaml")
    vault.secret("a")
    with pytest.raises(ImgbuildError, match="the secrets cannot be kept"):
        vault.keep()
