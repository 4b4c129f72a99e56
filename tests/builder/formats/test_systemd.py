"""systemd's files: what its manual pages say of lines, quotes, variables and specifiers."""

from __future__ import annotations

import pytest

from builder.formats import systemd
from builder.formats.systemd import OwnedFolder, SystemUser


def test_lines_that_go_on_comments_and_resets() -> None:
    unit = systemd.unit(
        "a.service",
        "[Service]\nExecStart=/bin/first\nExecStart=\n; not this\nExecStart=/bin/a -x \\\n# nor this\n  -y\nUser = me \n",
    )
    assert unit.all("Service", "ExecStart") == ("/bin/a -x    -y",)
    assert unit.last("Service", "User") == "me"
    assert unit.last("Unit", "User") == ""
    assert unit.stem == "a"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/usr/bin/a -b c", ("/usr/bin/a", "-b", "c")),
        ("-/usr/bin/a", ("/usr/bin/a",)),
        ("!/usr/bin/a -x", ("/usr/bin/a", "-x")),
        ("@/usr/bin/a other -x", ("/usr/bin/a", "-x")),
        ("/bin/a 'one word' \"and another\"", ("/bin/a", "one word", "and another")),
        ("/bin/a ''", ("/bin/a", "")),
        (r"/bin/a tab\there \"q\"", ("/bin/a", "tab\there", '"q"')),
        ("/bin/a %t/x %S %% %p %H", ("/bin/a", "/run/x", "/var/lib", "%", "web", "%H")),
        ("/bin/a 'open", ("/bin/a", "open")),
    ],
)
def test_commands(line: str, words: tuple[str, ...]) -> None:
    assert systemd.command(line, "web@.service") == words


def test_variables() -> None:
    argv = ("a", "$MANY", "${ONE}/x", "$NONE", "$EMPTY", "b$$c", "${GONE}")
    known = {"MANY": "-x 'y z'", "ONE": "1 2", "EMPTY": ""}
    assert systemd.expand(argv, known) == (("a", "-x", "y z", "1 2/x", "b$c"), ("NONE", "GONE"))


def test_constants_of_files_and_scripts() -> None:
    text = "# no\nA=1\nexport B='two words' # x\nC=\"$(date)\"\nA=3\n  D=`id`\nE=x; F=y\n"
    assert systemd.assignments(text) == {"A": "3", "B": "two words", "E": "x"}
    assert systemd.assignments(text, first=True)["A"] == "1"
    assert systemd.environment(["A=1 'B=x y'", "junk"]) == {"A": "1", "B": "x y"}


def test_sysusers() -> None:
    text = '# c\ng web\nu web - "A web" /srv/web\nu! log 12:adm\nu own -:own\nm web adm\n'
    assert systemd.sysusers(text) == (
        SystemUser("web", "/srv/web", "", "A web"),
        SystemUser("log", group="adm"),
        SystemUser("own", group="own"),
    )


def test_tmpfiles() -> None:
    text = "d /var/run/web 0750 web www -\nf /run/file\nD! /run/b/\nd /run/%i\nx /tmp/*\n"
    assert systemd.tmpfiles(text) == (OwnedFolder("/run/web", "web", "www", "0750"), OwnedFolder("/run/b"))
