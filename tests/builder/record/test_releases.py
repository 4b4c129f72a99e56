"""Releases in the record, on SQLite and PostgreSQL: added in any order, asked for by what they hold."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from builder.model.release import Held, Release, ReleasedLayer
from builder.record import database as database_
from builder.record import releases, schema
from builder.record.database import Record


def held(name: str, version: str, definition: str = "base") -> Held:
    return Held(definition, f"group-{name}", name, version, f"src-{name}", version, "asked for")


def release(revision: int, packages: dict[str, str], **more: object) -> Release:
    part = tuple(held(name, version) for name, version in packages.items())
    made = Release("web", "web", "1.0", revision, f"{revision:064x}", f"sha256:{revision:064x}", held=(part,))
    return replace(made, **more)  # type: ignore[arg-type]


def built(one: Release) -> Release:
    layers = tuple(ReleasedLayer(x.definition, x.layer, "ab" * 32, f"sha256:{'cd' * 32}", 7) for x in one.held[0])
    return replace(one, digest=f"sha256:{one.revision + 100:064x}", config=f"sha256:{'ef' * 32}", layers=layers)


@pytest.fixture
def record(database: str) -> Record:
    return database_.opened(database)


def add(record: Record, *found: Release, workspace: str = "site") -> int:
    with record.writing() as connection:
        return releases.add(connection, workspace, found)


def known(record: Record) -> list[Release]:
    with record.reading() as connection:
        (image,) = releases.images(connection, "site")
        return list(releases.some(connection, image).values())


def laid(record: Record) -> dict[tuple[str, str], list[tuple[int, int, str]]]:
    with record.reading() as connection:
        (image,) = releases.images(connection, "site")
        return releases.layers(connection, image)


def holding(record: Record, name: str, workspace: str = "site") -> list[tuple[str, int, int]]:
    with record.reading() as connection:
        found = releases.holding(connection, workspace, [name])
    return sorted((span.held.version, span.first, span.last) for span in found)


def contents(record: Record) -> list[tuple[str, set[tuple[str, str]]]]:
    """Every release with its packages, in order."""
    with record.reading() as connection:
        spans = releases.holding(connection, "site", ["src-a", "src-b", "src-c"])
    return [
        (one.reference, {(s.held.name, s.held.version) for s in spans if s.first <= number <= s.last})
        for number, one in enumerate(known(record))
    ]


def test_what_stays_the_same_is_one_span(record: Record) -> None:
    nights = [release(n, {"a": "1", "b": str(n // 4)}, time=n * 86400) for n in range(1, 11)]
    assert add(record, *nights) == 10
    assert holding(record, "a") == [("1", 0, schema.OPEN)]
    assert holding(record, "src-b") == [("0", 0, 2), ("1", 3, 6), ("2", 7, schema.OPEN)]
    assert [one.reference for one in known(record)] == [f"web:1.0-r{n}" for n in range(1, 11)]
    with record.reading() as connection:
        assert connection.execute(select(func.count()).select_from(schema.held)).scalar() == 4
        assert releases.summary(connection, "site") == releases.Summary(1, 10, 0, 86400)
    assert add(record, *nights) == 0, "what is known already is no new release"


SOME = [
    release(1, {"a": "1", "b": "1"}, time=100),
    release(2, {"a": "2", "b": "1"}, time=200),
    release(3, {"a": "1", "b": "1", "c": "1"}, time=300),
    release(4, {"b": "2"}, time=400),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_order_in_which_they_become_known_does_not_matter(
    order: Iterable[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    record = database_.opened(str(tmp_path_factory.mktemp("order") / "record.sqlite"))
    for at in order:
        add(record, SOME[at])
    assert contents(record) == [
        (one.reference, {(x.name, x.version) for x in one.held[0]}) for one in SOME
    ]  # fmt: skip


def test_what_moved_since_a_release_and_what_one_holds(record: Record) -> None:
    add(record, *SOME)
    with record.reading() as connection:
        (image,) = releases.images(connection, "site")
        at = [
            {one.name: one.version for one in releases.held_at(connection, image.number, n)} for n in range(len(SOME))
        ]
        moved = {
            number: {
                (one.held.name, one.held.version) for one in releases.moved_since(connection, image.number, number)
            }
            for number in (0, 2, 3)
        }
    assert at == [{one.name: one.version for one in release.held[0]} for release in SOME]
    assert moved == {
        0: {("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"), ("c", "1")},
        2: {("a", "1"), ("b", "1"), ("b", "2"), ("c", "1")},
        3: set(),
    }


def test_at_random_as_a_list_would_have_it(record: Record) -> None:
    random_ = random.Random(4)
    model: dict[int, Release] = {}
    for _ in range(12):
        batch = []
        for _ in range(random_.randrange(1, 6)):
            revision = random_.randrange(1, 20)
            packages = {name: str(random_.randrange(3)) for name in "abc" if random_.random() < 0.8}
            # Another content, at another time.
            one = release(
                revision, packages, time=random_.randrange(1, 9), content_key=f"{random_.getrandbits(60):064x}"
            )
            batch.append(one)
            model[revision] = one
        add(record, *batch)
        wanted = sorted(model.values(), key=lambda one: (one.time, one.revision))
        assert contents(record) == [(one.reference, {(x.name, x.version) for x in one.held[0]}) for one in wanted]


def test_more_that_becomes_known_of_a_release(record: Record) -> None:
    one, two = release(1, {"a": "1"}, time=50), release(2, {"a": "2"}, time=60)
    add(record, one, two)
    add(record, built(one))
    assert laid(record) == {("base", "group-a"): [(0, 0, f"sha256:{'cd' * 32}")]}
    # The commit says when it was released; a later one that has it too does not.
    add(record, replace(one, time=70, commit="aa" * 20), replace(two, time=70, commit="aa" * 20))
    add(record, replace(one, time=90, commit="bb" * 20))
    assert [(x.revision, x.time, x.commit, x.digest[-3:]) for x in known(record)] == [
        (1, 70, "aa" * 20, "065"), (2, 70, "aa" * 20, ""),
    ]  # fmt: skip
    assert laid(record) == {("base", "group-a"): [(0, 0, f"sha256:{'cd' * 32}")]}
    assert contents(record)[1] == ("web:1.0-r2", {("a", "2")})


def test_a_revision_with_another_content_is_what_it_is_now(record: Record) -> None:
    add(record, built(release(1, {"a": "1"}, time=50)))
    add(record, release(1, {"a": "3"}, time=60, content_key="ff" * 32))
    (found,) = known(record)
    assert (found.digest, found.time, found.content_key) == ("", 60, "ff" * 32)
    assert holding(record, "a") == [("3", 0, schema.OPEN)]
    assert laid(record) == {}


def test_versions_go_back_only_as_time_says(record: Record) -> None:
    add(record, release(1, {"a": "1"}, time=10, version="2.0"), release(5, {"a": "1"}, time=20, version="1.0"))
    assert [one.reference for one in known(record)] == ["web:2.0-r1", "web:1.0-r5"]
    # Whose time is not known is older than all others, and by version among its like.
    add(record, release(9, {"a": "1"}, version="10.0"), release(9, {"a": "1"}, version="9.0"))
    assert [one.reference for one in known(record)][:2] == ["web:9.0-r9", "web:10.0-r9"]


def test_wheels_are_found_by_their_project(record: Record) -> None:
    wheel = Held("web", "web/flask", "web/flask", "3.1", "", "", "asked for")
    add(record, release(1, {}, held=((wheel,),)))
    assert holding(record, "flask") == holding(record, "web/flask") == [("3.1", 0, schema.OPEN)]
    assert holding(record, "lask") == []


def test_a_workspace_is_forgotten_alone(record: Record) -> None:
    add(record, release(1, {"a": "1"}))
    add(record, release(1, {"a": "1"}), workspace="other")
    with record.writing() as connection:
        releases.keep_head(connection, "site", ".", "aa" * 20)
        releases.keep_head(connection, "site", ".", "bb" * 20)
        assert releases.heads(connection, "site") == {".": "bb" * 20}
        releases.forget(connection, "site")
    assert (holding(record, "a"), holding(record, "a", "other")) == ([], [("1", 0, schema.OPEN)])
    with record.reading() as connection:
        assert releases.heads(connection, "site") == {}
        assert releases.summary(connection, "site") == releases.Summary(0, 0, 0, 0)
