"""What a fix and what a new package below change, and what they must leave alone."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from builder.contents import LayerContents
from builder.formats import lockfile
from tests.kit.distribution import Site, inside

pytestmark = pytest.mark.integration

MIDDLE = """\
dsl: 1
layer: middle
version: 1.0.0
summary: what applications share
extends: tiny ^1.0
packages: {apt: [MIDDLE]}
"""


def stack(site: Site, *packages: str, below: Iterable[str] = ()) -> None:
    """Put a layer definition with packages under app."""
    site.write({"layers/middle/layer.yaml": MIDDLE.replace("MIDDLE", ", ".join(packages))})
    site.edit("repos/app/component.yaml", "tiny ^1.0", "middle ^1.0")
    if below:
        site.edit("layers/tiny/layer.yaml", "leave_out:", f"packages: {{apt: [{', '.join(below)}]}}\nleave_out:")


def numbers(site: Site) -> dict[str, tuple[int, ...]]:
    """Every user and group of the locks with its numbers."""
    found: dict[str, tuple[int, ...]] = {}
    for folder in ("layers/tiny", "layers/middle", "repos/app"):
        for lock in lockfile.read(site.folder / folder / "lock.yaml").locks:
            found |= {f"user {user.name}": (user.uid, user.gid) for user in lock.users}
            found |= {f"group {group.name}": (group.gid,) for group in lock.groups}
    return found


def packages(layers: tuple[LayerContents, ...]) -> dict[str, tuple[str, frozenset[str]]]:
    """By package: the digest of its layer and what shares it."""
    return {
        name: (layer.digest, frozenset(other for other, _ in layer.packages))
        for layer in layers
        for name, _ in layer.packages
    }


def by_adduser(name: str) -> str:
    return f"#!/bin/sh\nset -e\nadduser --system --group --no-create-home {name}\n"


def by_useradd(name: str) -> str:
    return f"#!/bin/sh\nset -e\nid {name} > /dev/null 2>&1 || useradd --system --user-group {name}\n"


def test_a_package_below_moves_no_number_and_no_other_layer(site: Site) -> None:
    sysusers = "#!/bin/sh\nset -e\nsystemd-sysusers NAME.conf\n"

    def conf(name: str) -> dict[str, str]:
        return {f"usr/lib/sysusers.d/{name}.conf": f'u {name} - "{name}" /\n'}

    # Sources of these names stand alone.
    site.repo.add("alpha", source="openssl", postinst=by_adduser("alpha"))
    site.repo.add("delta", source="curl", postinst=by_useradd("delta"))
    site.repo.add("sigma", files=conf("sigma"), postinst=sysusers.replace("NAME", "sigma"))
    site.repo.add("app", "2", files={"usr/bin/app": "#!/bin/sh\n"}, postinst=by_adduser("appd"))
    site.repo.add("zeta", postinst=by_adduser("zeta"))
    site.repo.add("eta", postinst=by_useradd("eta"))
    site.repo.add("beta", postinst=by_adduser("beta"))
    site.repo.add("chi", files=conf("chi"), postinst=sysusers.replace("NAME", "chi"))
    site.repo.publish()
    stack(site, "alpha", "delta", "sigma", below=["adduser", "sysusers"])
    site.works("lock", "app", "--update")
    site.build()
    old, old_numbers = packages(site.layers()), numbers(site)
    assert {"user alpha", "user delta", "user sigma", "user appd", "group appd"} <= old_numbers.keys()

    site.edit("layers/tiny/layer.yaml", "[adduser, sysusers]", "[adduser, sysusers, eta, zeta]")
    site.edit("layers/middle/layer.yaml", "[alpha, delta, sigma]", "[alpha, beta, chi, delta, sigma]")
    site.works("lock", "app")
    site.build(out="more")
    new, new_numbers = packages(site.layers(out="more")), numbers(site)
    assert {name: new_numbers[name] for name in old_numbers} == old_numbers
    assert {"user eta", "user zeta", "user beta", "user chi"} <= new_numbers.keys() - old_numbers.keys()
    assert len({value for name, value in new_numbers.items() if name.startswith("user")}) == sum(
        name.startswith("user") for name in new_numbers
    )
    for name, (digest, company) in old.items():
        joined = new[name][1] - company
        assert joined <= {"eta", "zeta", "beta", "chi"}
        assert company <= new[name][1]
        if not joined:
            assert new[name][0] == digest
    for name in ("tiny", "alpha", "delta", "app"):
        assert old[name] == new[name]


def test_a_fix_changes_its_layer_and_the_records(site: Site) -> None:
    def fix(version: str) -> None:
        site.repo.add(
            "libz",
            version,
            source="openssl",
            files={
                "usr/lib/libz.so": f"libz {version}\n",
                "usr/share/doc/libz/README": "read me\n",
                "usr/share/man/man3/libz.3": "libz\n",
                "etc/libz.conf": "shipped\n",
            },
            conffiles="/etc/libz.conf\n",
            postinst="#!/bin/sh\nset -e\necho made > /etc/libz.made\n",
        )
        site.repo.publish()

    site.repo.add(
        "other",
        depends="libz",
        files={"usr/share/other": ""},
        postinst="#!/bin/sh\ncat /usr/share/doc/libz/README > /etc/other\n",
    )
    site.repo.add("app", "2", depends="other", files={"usr/bin/app": "#!/bin/sh\n"}, postinst=by_adduser("appd"))
    fix("1")
    stack(site, "other", below=["adduser"])
    site.works("lock", "app", "--update")
    site.build()
    old = site.layers()

    fix("2")
    outdated = site.run("outdated", "app", "--json")
    assert outdated.code == 3
    assert "libz" in outdated.output
    locked = site.works("lock", "middle", "--update", "--json").json
    assert [change["changed"] for change in locked if change["changed"]] == [[["libz", "1", "2"]]]
    site.build(out="fixed")
    new = site.layers(out="fixed")
    gone = [layer for layer in old if layer not in new]
    come = [layer for layer in new if layer not in old]
    assert [(layer.kind, layer.packages) for layer in gone] == [("package", (("libz", "1"),)), ("records", ())]
    assert [(layer.kind, layer.packages) for layer in come] == [("package", (("libz", "2"),)), ("records", ())]
    assert [layer.kind for layer in old] == [layer.kind for layer in new]

    diff = site.run("diff", "oci:out:app", "oci:fixed:app", "--json")
    assert diff.code == 3
    assert list(diff.json["changed"]) == [["libz", "1", "2"]]
    root = site.unpack(out="fixed")
    assert (root / "usr/lib/libz.so").read_text() == "libz 2\n"
    assert (root / "etc/other").read_text() == "read me\n"
    wrong = [line.split() for line in inside(root, "dpkg", "-V").splitlines()]
    assert {word for word, _ in wrong} == {"missing"}
    assert {path for _, path in wrong if path.count("/") > 4 or "README" in path} == {
        "/usr/share/doc/libz/README", "/usr/share/man/man3/libz.3",
    }  # fmt: skip
    assert all(path.startswith(("/usr/share/doc/", "/usr/share/man")) for _, path in wrong)
    assert "libz 2 install ok installed" in inside(root, "dpkg-query", "-W", "-f", "${Package} ${Version} ${Status}\n")
    assert inside(root, "dpkg", "-S", "/usr/lib/libz.so") == "libz: /usr/lib/libz.so\n"
    assert inside(root, "dpkg", "--audit") == ""


def test_a_copied_up_binary_is_the_new_one(site: Site) -> None:
    script = "#!/bin/sh\nset -e\nchmod 2755 /usr/bin/agent\n"
    site.repo.add("agent", "1", files={"usr/bin/agent": "old\n"}, postinst=script)
    site.repo.publish()
    stack(site, "agent")
    site.works("lock", "app", "--update")
    site.build()
    site.repo.add("agent", "2", files={"usr/bin/agent": "new\n"}, postinst=script)
    site.repo.publish()
    site.works("lock", "middle", "--update")
    site.build(out="fixed")
    agent = site.unpack(out="fixed") / "usr/bin/agent"
    assert (agent.read_text(), agent.stat().st_mode & 0o7777) == ("new\n", 0o2755)
    assert inside(agent.parent.parent.parent, "dpkg", "-V") == ""
