"""Packages that do what is easily done wrong, from their definition to the image's root."""

from __future__ import annotations

import os

import pytest

from builder.errors import SandboxError
from builder.tools import machine
from tests.integration.test_updates import stack
from tests.kit.distribution import Site, inside

pytestmark = pytest.mark.integration
PROGRAM = {"usr/bin/app": "#!/bin/sh\n"}


def test_a_preinst_that_diverts(site: Site) -> None:
    site.repo.add("victim", files={"usr/bin/halt": "real\n"})
    site.repo.add(
        "app",
        "2",
        files={**PROGRAM, "usr/bin/halt": "guarded\n"},
        preinst="#!/bin/sh\nset -e\n"
        "dpkg-divert --package app --quiet --add --rename --divert /usr/bin/halt.real /usr/bin/halt\n",
    )
    site.repo.publish()
    stack(site, "victim")
    site.works("lock", "app", "--update")
    site.build()
    root = site.unpack()
    assert (root / "usr/bin/halt").read_text() == "guarded\n"
    assert (root / "usr/bin/halt.real").read_text() == "real\n"
    assert inside(root, "dpkg-divert", "--list") == "diversion of /usr/bin/halt to /usr/bin/halt.real by app\n"
    assert inside(root, "dpkg", "-V") == ""


def test_path_triggers_across_definitions(site: Site) -> None:
    site.repo.add(
        "watcher",
        triggers="interest-noawait /usr/share/watched\n",
        files={"usr/share/watched/own": ""},
        postinst='#!/bin/sh\nset -e\nls /usr/share/watched > /etc/watched\n[ "$1" != triggered ] || echo "$2" >> /etc/told\n',
    )
    site.repo.add("between", files={"usr/share/watched/between": ""})
    site.repo.add("app", "2", files={**PROGRAM, "usr/share/watched/app": ""})
    site.repo.publish()
    stack(site, "between", below=["watcher"])
    site.works("lock", "app", "--update")
    site.build()
    root = site.unpack()
    assert (root / "etc/watched").read_text() == "app\nbetween\nown\n"
    assert (root / "etc/told").read_text() == "/usr/share/watched\n" * 2
    states = inside(root, "dpkg-query", "-W", "-f", "${db:Status-Status}\n").split()
    assert set(states) == {"installed"}


def test_file_capabilities(site: Site) -> None:
    site.repo.add(
        "app", "2", files={**PROGRAM, "usr/bin/pinger": "x\n"},
        postinst="#!/bin/sh\nset -e\nsetcap cap_net_raw+ep /usr/bin/pinger\n",
    )  # fmt: skip
    site.repo.publish()
    site.works("lock", "app", "--update")
    site.build()
    value = os.getxattr(site.unpack() / "usr/bin/pinger", "security.capability")
    assert (len(value), int.from_bytes(value[:4], "little") >> 24) == (20, 2)


def test_debconf_questions(site: Site) -> None:
    site.repo.add(
        "app",
        "2",
        depends="debconf",
        files=PROGRAM,
        templates="Template: app/name\nType: string\nDefault: nobody\nDescription: Whom to greet?\n\n"
        "Template: app/loud\nType: boolean\nDefault: false\nDescription: Loudly?\n",
        config="#!/bin/sh\nset -e\n. /usr/share/debconf/confmodule\n"
        "db_input high app/name || true\ndb_input low app/loud || true\ndb_go || true\n",
        postinst="#!/bin/sh\nset -e\n. /usr/share/debconf/confmodule\n"
        'db_get app/name\necho "name=$RET" > /etc/app.conf\ndb_get app/loud\necho "loud=$RET" >> /etc/app.conf\n',
    )
    site.repo.publish()
    site.edit("repos/app/component.yaml", "    users:", "    debconf: {app: {app/name: World}}\n    users:")
    site.works("lock", "app", "--update")
    first = site.build()
    root = site.unpack()
    assert (root / "etc/app.conf").read_text() == "name=World\nloud=false\n"
    assert "Value: World" in (root / "var/cache/debconf/config.dat").read_text()
    assert site.build(out="again", cache=site.empty_cache()) == first


def test_what_would_leave_nothing_is_not_run(site: Site) -> None:
    """Of what enables units nothing is kept, so that its program stands still while configuring; in the image it is there."""
    site.repo.add("helpers", files={"usr/bin/deb-systemd-helper": "#!/bin/sh\ntouch /etc/called\n"})
    site.repo.add(
        "app", "2", files=PROGRAM, depends="helpers",
        postinst="#!/bin/sh\nset -e\n[ -x /usr/bin/deb-systemd-helper ]\ndeb-systemd-helper enable app.service\n",
    )  # fmt: skip
    site.repo.publish()
    site.works("lock", "app", "--update")
    site.build()
    root = site.unpack()
    assert not (root / "etc/called").exists()
    assert "touch" in (root / "usr/bin/deb-systemd-helper").read_text()


def test_packages_of_another_machine(site: Site) -> None:
    """They are resolved, and refused before anything of them would be run."""
    other = "arm64" if machine.architecture() == "amd64" else "amd64"
    try:
        machine.require_programs_of(other)
    except SandboxError:
        pass
    else:
        pytest.skip(f"this machine runs programs of {other}")
    site.repo.architectures = (*site.repo.architectures, other)
    for suite in site.repo.suites:
        (site.repo.folder / "dists" / suite / f"main/binary-{other}").mkdir()
    site.repo.publish()
    site.edit("imgbuild.yaml", "workspace: site\n", f"workspace: site\ndefaults: {{architecture: {other}}}\n")
    site.works("lock", "app")
    assert f'architecture: "{other}"' in site.lock()
    # To find out which numbers a script takes it is run.
    site.repo.add("app", "2", files=PROGRAM, postinst="#!/bin/sh\nadduser --system made\n", depends="adduser")
    site.repo.publish()
    before = site.lock()
    result = site.run("lock", "app", "--update")
    assert result.code == 1
    assert f"runs no programs of {other}" in result.errors
    assert "qemu" in result.errors
    assert site.lock() == before
