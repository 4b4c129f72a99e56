"""Secrets: made once, kept for their owner alone, left out where there is no file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from builder.errors import UsageError
from builder.pipeline import existing, sites
from builder.pipeline.vault import MASK, Vault
from dsl import model
from dsl.errors import DefinitionError, ImgbuildError
from tests.kit.memory_cluster import MemoryCluster


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


KEPT = {"a": model.KeptSecret(secret="app", key="password")}


def test_what_a_cluster_has_is_read_there_and_never_made(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(name: str) -> str:
        asked.append(name)
        return f"the cluster's {name}"

    file = tmp_path / "secrets.yaml"
    file.write_text("a: of the file\n")
    vault = Vault(file, kept=KEPT, ask=ask)
    assert [vault.secret("a"), vault.secret("a")] == ["the cluster's a"] * 2
    assert (asked, vault.made, vault.left_out) == (["a"], [], ())
    vault.require()
    # A site that has all of them there needs no file.
    alone = Vault(None, kept=KEPT, ask=ask)
    alone.secret("a")
    alone.require()
    assert alone.secret("b") == Vault(None).secret("b")
    assert alone.left_out == ("b",)


def test_where_no_cluster_is_asked_what_it_has_is_not_known(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "secrets.yaml", kept=KEPT)
    assert (vault.secret("a"), len(vault.secret("b"))) == ("secret-a", 48)
    assert (vault.left_out, vault.made) == (("a",), ["b"])
    with pytest.raises(UsageError, match="only a cluster has these secrets, and none is asked: a"):
        vault.require()


SITE = """\
dsl: 1
site: shop
components: [app]
secrets:
  a: {secret: app, key: password}
"""


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"app": {"password": "czNjcmV0"}}, "s3cret"),
        ({"other": {}}, "site.yaml:5:15: there is no Secret 'app' in the namespace 'shop'"),
        ({"app": {"pasword": "czNjcmV0"}}, "site.yaml:5:25: the Secret 'app' has no key 'password'"),
        ({"app": {"password": "/w=="}}, "site.yaml:5:25: what the Secret 'app' has as 'password' is no text"),
    ],
)
def test_a_secret_of_the_cluster(data: dict[str, dict[str, str]], expected: str, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SITE)
    api = MemoryCluster()
    for name, one in data.items():
        api.put("Secret", name, "shop", {}, data=one)
    ask = existing.reader(api, sites.read(tmp_path))
    if ":" not in expected:
        assert ask("a") == expected
        return
    with pytest.raises(DefinitionError) as failed:
        ask("a")
    assert expected in str(failed.value)


@pytest.mark.parametrize("text", ["a: 7\n", "- a\n", "a: [\n"])
def test_a_file_of_something_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "secrets.yaml").write_text(text)
    with pytest.raises(DefinitionError) as failed:
        Vault(tmp_path / "secrets.yaml")
    # Its lines are nobody's to see.
    assert {one.source_line for one in failed.value.problems} == {""}


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "nowhere/secrets.yaml")
    vault.secret("a")
    with pytest.raises(ImgbuildError, match="the secrets cannot be kept"):
        vault.keep()
