"""What is compared of a tree."""

from __future__ import annotations

import pytest

from builder.compare import view
from builder.formats.tar import Entry
from builder.formats.tree import Item, Tree

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:42:42::/srv:/bin/false\n"
GROUP = "root:x:0:\nweb:x:42:b,a\n"


def text(path: str, data: str) -> Item:
    """A file whose bytes are kept."""
    return Item(Entry(path, "file", 0o644, size=len(data)), "sum", (0, path), data.encode())


def tree(*items: Item) -> Tree:
    """A tree with two users."""
    users = (text("etc/passwd", PASSWD), text("etc/group", GROUP))
    return {item.entry.path: item for item in (*users, *items)}


def facts(path: str, data: str, record: str) -> view.Facts:
    """What a record of a list says."""
    return view.of(tree(text(path, data)))[record]


def test_owners_go_by_name_and_numbers_are_the_users_own() -> None:
    found = view.of(tree(Item(Entry("srv", "folder", 0o2775, 42, 7))))
    assert found["srv"] == {"type": "folder", "owner": "web:#7", "mode": "2775"}
    assert found["user:web"]["number"] == "42"
    assert found["group:web"]["members"] == "a,b", "their order means nothing"
    assert "content" not in found["etc/passwd"], "it is compared by its records"


def test_all_facts_of_a_file() -> None:
    entry = Entry("a", "file", 0o4755, size=3, xattrs=(("security.capability", b"\1"),))
    found = view.of({path: Item(entry, "sum", (1, "a")) for path in ("a", "b")})
    assert found["a"] == {
        "type": "file", "owner": "#0:#0", "mode": "4755", "size": "3", "content": "sum", "names": "/a /b",
        "xattrs": "security.capability=01",
    }  # fmt: skip
    link = view.of({"l": Item(Entry("l", "link", 0o755, target="a"))})["l"]
    assert link == {"type": "link", "owner": "#0:#0", "target": "a"}, "a link has no mode"


def test_the_day_of_a_password_is_no_difference_and_its_ageing_is() -> None:
    record = facts("etc/shadow", "web:!:20089:0:99999:7:::\nghost:*:1::::::\n", "user:web")
    assert record["shadow"] == "!:day:0:99999:7:::"
    assert view.of(tree(text("etc/shadow", "ghost:*:1::::::\n")))["user:ghost"]["shadow"] == "a line without a user"


@pytest.mark.parametrize(
    ("path", "one", "other", "record"),
    [
        ("var/lib/dpkg/statoverride", "root web 640 /x\n", "#0 #42 640 /x\n", "statoverride:/x"),
        (
            "var/lib/dpkg/status",
            "Package: a\nArchitecture: all\nConffiles:\n /b 1\n /a 2\n",
            "Package: a\nArchitecture: all\nConffiles:\n /a 2\n /b 1\n",
            "package:a:all",
        ),
        (
            "var/lib/dpkg/alternatives/x",
            "auto\n/usr/bin/x\ns1\n/usr/bin/s1\ns2\n/usr/bin/s2\n\n/a\n1\n/a1\n/a2\n/b\n2\n/b1\n\n\n",
            "auto\n/usr/bin/x\ns2\n/usr/bin/s2\ns1\n/usr/bin/s1\n\n/b\n2\n\n/b1\n/a\n1\n/a2\n/a1\n\n",
            "alternative:x",
        ),
        (
            "var/cache/debconf/config.dat",
            "Name: a/q\nTemplate: a/q\nOwners: a, b\n\nName: z/q\n",
            "Name: z/q\n\nName: a/q\nOwners: b, a\nTemplate: a/q\n",
            "debconf:config:a/q",
        ),
    ],
)
def test_the_order_of_records_is_no_difference(path: str, one: str, other: str, record: str) -> None:
    assert facts(path, one, record) == facts(path, other, record)


def test_an_alternative_of_other_choices_differs() -> None:
    record = facts("var/lib/dpkg/alternatives/x", "manual\n/usr/bin/x\n\n/a\n10\n/b\n20\n\n", "alternative:x")
    assert record == {"status": "manual", "link": "/usr/bin/x", "choice /a": "10", "choice /b": "20"}


def test_triggers_and_diversions() -> None:
    found = view.of(
        tree(
            text("var/lib/dpkg/triggers/File", "/usr/lib libc-bin/noawait\n"),
            text("var/lib/dpkg/diversions", "/a\n/a.real\npackage\n"),
        )
    )
    assert "trigger:File:/usr/lib libc-bin/noawait" in found
    assert found["diversion:/a"] == {"target": "/a.real", "package": "package"}


def test_translations_count_if_they_are_wanted() -> None:
    templates = text(
        "var/cache/debconf/templates.dat", "Name: a/q\nDescription: x\nDescription-de.utf-8: y\nChoices-c: z\n"
    )
    assert view.of({"t": templates, "var/cache/debconf/templates.dat": templates}, translations=False)[
        "debconf:templates:a/q"
    ] == {"Name": "a/q", "Description": "x", "Choices-c": "z"}
