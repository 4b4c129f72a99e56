"""A proposal as a file: it reads, it checks, and numbers are nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from builder.formats.systemd import OwnedFolder, SystemUser
from builder.propose import component
from builder.propose.component import Wanted
from builder.propose.service import Proposal, Said
from dsl import checks, loading

FULL = Proposal(
    Said(("/usr/bin/web", "no", "1.10", "a: b", "x, y", "0.0.0.0:80", ""), "ExecStart= of web.service"),
    SystemUser("web", "/var/lib/web", "/bin/false", "A: web\nserver", "webs"),
    "User= of web.service",
    ports={"http": Said(80, "the command"), "dns": Said({"port": 53, "protocol": "udp"}, "web.socket")},
    volumes=((OwnedFolder("/var/lib/web", "web", "webs", "750"), "StateDirectory="), (OwnedFolder("/srv/Data"), "x")),
    folders=(
        (OwnedFolder("/run/web", "log", "", "2755"), "tmpfiles.d"),
        (OwnedFolder("/tmp", "root", "", "1777"), "y"),
    ),
    env={"A": "no", "LONG": "x" * 130},
    workdir=Said("/srv", "WorkingDirectory="),
    stop_signal=Said("SIGQUIT", "KillSignal="),
    capabilities=("SETUID",),
    files={"/etc/web.conf": {"content": "a: 1\n  b\n"}},
    generated={"/etc/key": "one, per machine"},
    steps={"init": {"summary": "first", "command": ["web", "init"]}},
    look=("look " * 40,),
    others=("web-admin",),
)
ROOT = Proposal(Said(("/usr/bin/web",), ""), None, "", root="it: must")


@pytest.mark.parametrize("proposal", [FULL, ROOT])
def test_it_is_a_component_that_checks(proposal: Proposal, tmp_path: Path) -> None:
    text = component.text(
        Wanted("web", "web", "debian-13 ^1.0", {}), {"Description": "A web: server\n more", "Homepage": "x"}, proposal
    )
    (tmp_path / "component.yaml").write_text(text)
    assert checks.check(loading.load(loading.find(tmp_path))) == ()
    data = yaml.safe_load(text)
    assert (data["summary"], data["homepage"]) == ("A web: server", "x")
    assert tuple(data["images"]["web"]["run"]["command"]) == proposal.command.value
    if proposal.files:
        assert data["images"]["web"]["files"] == proposal.files
    assert max(len(line) for line in text.splitlines()) <= 160
    assert all(line == line.rstrip() for line in text.splitlines())


def test_numbers() -> None:
    assert component.number("nova", {"nova": 5}) == (5, "as elsewhere in this workspace")
    assert component.number("nova", {})[0] == 42436
    taken, _ = component.number("nova", {"other": 42436})
    assert 43000 <= taken < 53000
    free, _ = component.number("somebody", {})
    assert component.number("somebody", {"x": 1})[0] == free
    assert component.number("somebody", {"x": free})[0] == free + 1
