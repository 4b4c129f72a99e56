"""Scripts make their users as they always do, and each name has the number that the lock says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from builder.formats import lockfile
from tests.integration.test_updates import stack
from tests.kit.distribution import Site

pytestmark = pytest.mark.integration


def lines(root: Path, name: str) -> Mapping[str, list[str]]:
    """A file of /etc by its first field."""
    text = (root / "etc" / name).read_text()
    return {line.split(":")[0]: line.split(":")[1:] for line in text.splitlines()}


UNGUARDED = {
    "plain": "useradd -r plain",
    "homely": "useradd homely --system --create-home -d /var/lib/homely -s /bin/sh -c 'At home'",
    "joined": "groupadd -r crowd\nuseradd -rg crowd -G homely joined",
    "lonely": "useradd --system -N lonely",
    "stubborn": "groupadd --gid 1777 stubborn\nuseradd --uid=1778 -g 1777 stubborn",
    "debianish": "adduser --system --group --home /var/lib/debianish debianish",
    "grouped": "addgroup --system grouped\nadduser --system --home /var/lib/grouped --group grouped",
    "numbered": "adduser --system --group --uid 779 numbered",
    "virtual": "adduser --system --ingroup crowd --uid 64055 virtual\naddgroup --system --gid 64055 virtual\nadduser virtual virtual",
}
"""Each runs but once: a name that is there already makes it fail."""


def scripts(site: Site) -> None:
    for name, text in UNGUARDED.items():
        site.repo.add(
            name, depends="adduser, joined" if name == "virtual" else "adduser", postinst=f"#!/bin/sh\nset -e\n{text}\n"
        )
    site.repo.add("adduser-defaults", files={"etc/login.defs": "USERGROUPS_ENAB\tyes\n"})
    site.repo.add("app", "2", depends=", ".join(UNGUARDED), files={"usr/bin/app": "#!/bin/sh\n"})
    site.repo.publish()
    stack(site, *UNGUARDED, below=["adduser", "adduser-defaults"])


def built(site: Site) -> tuple[Mapping[str, list[str]], Mapping[str, list[str]], Path]:
    site.works("lock", "app", "--update")
    site.build()
    root = site.unpack()
    return lines(root, "passwd"), lines(root, "group"), root


def test_scripts_that_do_not_look_make_what_they_ask_for(site: Site) -> None:
    scripts(site)
    users, groups, root = built(site)
    assert {name: users[name][1:5] for name in ("stubborn", "numbered")} == {
        "stubborn": ["1778", "1777", "", "/home/stubborn"],
        "numbered": ["779", "779", "", "/nonexistent"],
    }
    assert users["homely"][3:] == ["At home", "/var/lib/homely", "/bin/sh"]
    home = (root / "var/lib/homely").stat()
    assert [str(home.st_uid), str(home.st_gid)] == users["homely"][1:3] == [users["homely"][1], groups["homely"][1]]
    home = (root / "var/lib/grouped").stat()
    assert [str(home.st_uid), str(home.st_gid)] == users["grouped"][1:3] == [users["grouped"][1], groups["grouped"][1]]
    assert (users["joined"][2], groups["homely"][2]) == (groups["crowd"][1], "joined")
    assert "lonely" not in groups
    assert (users["virtual"][1:3], groups["virtual"][1:]) == (["64055", groups["crowd"][1]], ["64055", "virtual"])
    # As they were learnt, so they are; and so they stay.
    locked = {
        user.name: user for lock in lockfile.read(site.folder / "layers/middle/lock.yaml").locks for user in lock.users
    }
    assert {name: [str(locked[name].uid), str(locked[name].gid)] for name in UNGUARDED} == {
        name: users[name][1:3] for name in UNGUARDED
    }


def test_a_definition_gives_other_numbers(site: Site) -> None:
    scripts(site)
    given = {name: 8100 + 2 * number for number, name in enumerate(UNGUARDED)}
    site.edit(
        "layers/middle/layer.yaml",
        "packages:",
        "users:\n"
        + "".join(f"  {name}: {{uid: {uid}, gid: {uid + 1}}}\n" for name, uid in given.items() if name != "joined")
        + "groups: {crowd: {gid: 8200}}\npackages:",
    )
    users, groups, root = built(site)
    assert {name: users[name][1] for name in given if name != "joined"} == {
        name: str(uid) for name, uid in given.items() if name != "joined"
    }
    own = ("plain", "homely", "stubborn", "debianish", "grouped", "numbered")
    assert {name: (users[name][2], groups[name][1]) for name in own} == {
        name: (str(given[name] + 1), str(given[name] + 1)) for name in own
    }
    assert (users["virtual"][2], groups["virtual"][1:]) == ("8200", [str(given["virtual"] + 1), "virtual"])
    assert users["joined"][2] == groups["crowd"][1] == "8200"
    assert (root / "var/lib/homely").stat().st_uid == given["homely"]
    assert (root / "var/lib/debianish").stat().st_uid == given["debianish"]
    assert (root / "var/lib/grouped").stat().st_gid == given["grouped"] + 1
    # What is mounted while configuring does not stay.
    assert not (root / "var/lib/imgbuild-accounts").exists()


def test_who_makes_an_account_makes_it_as_that_one_does(site: Site) -> None:
    """adduser locks the password by ``!``, systemd-sysusers by ``!*``; a package may bring the file of the one and call the other."""
    for name, call in {"bus": "adduser --system --group bus", "own": "systemd-sysusers own.conf"}.items():
        conf = {f"usr/lib/sysusers.d/{name}.conf": f"u {name} - -\n"}
        site.repo.add(name, depends="adduser, sysusers", files=conf, postinst=f"#!/bin/sh\nset -e\n{call}\n")
    site.repo.add("app", "2", depends="bus, own", files={"usr/bin/app": "#!/bin/sh\n"})
    site.repo.publish()
    stack(site, "bus", "own", below=["adduser", "sysusers"])
    root = built(site)[2]
    assert {name: lines(root, "shadow")[name][0] for name in ("bus", "own")} == {"bus": "!", "own": "!*"}
