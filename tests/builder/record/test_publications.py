"""Publications in the record, on SQLite and PostgreSQL: where releases lie, and which of them is the newest that is out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builder.model.release import Held, Publication, Release
from builder.record import database as database_
from builder.record import publications, releases
from builder.record.database import Record
from builder.record.publications import Newest

HERE, THERE = "registry.example:5000/team/web", "other.example/web"


def release(revision: int, **more: object) -> Release:
    part = (Held("base", "g", "a", str(revision), "src-a", str(revision), "asked for"),)
    made = Release("web", "web", "1.0", revision, f"{revision:064x}", f"sha256:{revision:064x}", held=(part,))
    return replace(made, time=revision, **more)  # type: ignore[arg-type]


def out(revision: int, *floating: str, repository: str = HERE, time: int = 0, digest: int = 0) -> Publication:
    return Publication(
        "web", "web", "1.0", revision, repository, f"sha256:{digest or revision:064x}", floating, time
    )  # fmt: skip


@pytest.fixture
def record(database: str) -> Record:
    made = database_.opened(database)
    with made.writing() as connection:
        releases.add(connection, "site", [release(n) for n in (1, 2, 3)])
    return made


def add(record: Record, *found: Publication, workspace: str = "site") -> None:
    with record.writing() as connection:
        publications.add(connection, workspace, found)


def known(record: Record, number: int = 0) -> dict[int, tuple[Publication, ...]]:
    with record.reading() as connection:
        (image,) = releases.images(connection, "site")
        return publications.since(connection, image.number, number)


def test_what_was_published_is_there_again(record: Record) -> None:
    add(record, out(1, time=50), out(3, "1.0", "1", repository=THERE, time=70))
    assert known(record) == {
        0: (out(1, time=50),),
        2: (out(3, "1", "1.0", repository=THERE, time=70),),
    }
    assert known(record, 1).keys() == {2}
    with record.reading() as connection:
        assert releases.summary(connection, "site").published == 2
        assert releases.summary(connection, "other").published == 0


def test_a_tag_that_moves_names_one_release_of_a_repository(record: Record) -> None:
    add(record, out(1, "1.0", "1", "latest"), out(1, "1.0", repository=THERE))
    add(record, out(2, "1.0", "1"))
    assert known(record) == {
        0: (out(1, "1.0", repository=THERE), out(1, "latest")),
        1: (out(2, "1", "1.0"),),
    }
    # A withdrawn one gives its tags back.
    add(record, out(1, "1"))
    assert [one.floating for rows in known(record).values() for one in rows] == [("1.0",), ("1", "latest"), ("1.0",)]


def test_the_time_that_is_known_first_stays(record: Record) -> None:
    add(record, out(1))
    add(record, out(1, time=50))
    add(record, out(1, "1", time=90), out(1))
    assert known(record) == {0: (out(1, "1", time=50),)}
    # Somebody has taken it away there and published something else by its name.
    add(record, out(1, time=95, digest=9))
    assert known(record) == {0: (out(1, time=95, digest=9),)}


def newest(record: Record, workspace: str = "site") -> dict[tuple[str, str], Newest]:
    with record.reading() as connection:
        return publications.newest(connection, workspace)


def test_the_newest_that_is_out(record: Record) -> None:
    assert newest(record) == {}
    add(record, out(1, time=90))
    add(record, out(2, repository=THERE, time=10))
    (image,) = newest(record).values()
    # By the order of releases, whenever they were sent.
    assert newest(record) == {("web", "web"): Newest(image.image, 1, "1.0", 2, f"{2:064x}")}
    # One of which nobody knows what it holds does not count.
    add(record, out(9), replace(out(1), image="bare"))
    assert newest(record).keys() == {("web", "web")}
    assert newest(record)["web", "web"].revision == 2
    assert newest(record, "other") == {}


def test_it_follows_a_release_that_changes_its_place(record: Record) -> None:
    add(record, out(1))
    with record.writing() as connection:
        releases.add(connection, "site", [release(7, version="0.9", content_key="ff" * 32)])
        releases.add(connection, "site", [replace(release(8, content_key="ee" * 32), time=0)])
    assert [one.revision for one in newest(record).values()] == [1]
    (found,) = known(record).values()
    assert found == (out(1),)


def test_they_are_forgotten_with_their_workspace(record: Record) -> None:
    add(record, out(1))
    add(record, out(1), workspace="other")
    with record.writing() as connection:
        releases.forget(connection, "site")
        assert releases.summary(connection, "site") == releases.Summary(0, 0, 0, 0, 0)
        assert releases.summary(connection, "other").published == 1
