"""Resolving by a private apt, against a repository made here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from builder.errors import SourceError, Unsatisfiable
from builder.resolve import locking
from builder.resolve.apt import AptRoot
from builder.resolve.facts import Facts, PackageSource
from builder.tools.store import Store
from tests.kit.apt_repo import AptRepo

pytestmark = pytest.mark.integration


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[AptRepo]:
    made = AptRepo(tmp_path / "repo")
    made.add("nova", depends="lib (>= 1)")
    made.add("lib")
    made.publish()
    yield made
    made.close()


@pytest.fixture
def source(repo: AptRepo) -> PackageSource:
    return PackageSource("test", repo.uri, repo.uri, ("stable",), ("main",), repo.keyring, "key")


@pytest.fixture
def apt(tmp_path: Path, source: PackageSource) -> AptRoot:
    return AptRoot(Store(tmp_path / "store"), (source,), "amd64", None)


def _facts(source: PackageSource, *wishes: str) -> Facts:
    return Facts(("base", "nova"), "amd64", wishes, False, False, (source,))


def test_wishes_bring_what_they_need_and_say_why(apt: AptRoot, source: PackageSource) -> None:
    apt.update()
    found = apt.solve(_facts(source, "nova"), ())
    assert [(p.name, p.version, p.why) for p in found] == [("lib", "1", "nova"), ("nova", "1", "asked for")]


def test_what_cannot_be_had_is_told_with_the_chain(apt: AptRoot, source: PackageSource) -> None:
    apt.update()
    with pytest.raises(Unsatisfiable) as caught:
        apt.solve(_facts(source, "nova (>= 9)"), ())
    assert caught.value.chain == ("base", "nova")


def test_keep_stays_and_update_moves(apt: AptRoot, source: PackageSource, repo: AptRepo) -> None:
    apt.update()
    facts = _facts(source, "nova")
    first = locking.resolve(facts, (), None, apt)
    old = locking.lock(facts, (), first, apt)
    repo.add("lib", "2")
    repo.publish()
    apt.update()
    assert locking.resolve(facts, (), old, apt) == first
    moved = locking.difference(first, locking.resolve(facts, (), old, apt, update=True)).changed
    assert [(before.version, after.version) for before, after in moved] == [("1", "2")]


@pytest.mark.parametrize("spoil", [AptRepo.unsign, AptRepo.tamper, lambda repo: repo.publish(timedelta(days=30))])
def test_what_is_not_vouched_for_is_refused(apt: AptRoot, repo: AptRepo, spoil: Callable[[AptRepo], None]) -> None:
    spoil(repo)
    with pytest.raises(SourceError, match="test"):
        apt.update()
