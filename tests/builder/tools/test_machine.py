"""Which programs a machine runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import SandboxError
from builder.tools import machine

NATIVE = machine.architecture() if machine.architecture() in machine.KERNELS else ""
OTHER, KERNELS = ("amd64", "x86_64") if NATIVE == "arm64" else ("arm64", "aarch64")
REGISTERED = "enabled\ninterpreter /usr/bin/qemu-static\nflags: {}\noffset 0\nmagic 7f454c46\n"


def test_its_own_run() -> None:
    for name in (machine.architecture(), "all"):
        machine.require_programs_of(name, Path("/nowhere"))


@pytest.mark.parametrize(
    "registered", [None, REGISTERED.format("OC"), REGISTERED.format("F").replace("enabled", "disabled")]
)
def test_those_of_others_do_not(tmp_path: Path, registered: str | None) -> None:
    if registered:
        (tmp_path / f"qemu-{KERNELS}").write_text(registered)
    with pytest.raises(SandboxError, match=f"runs no programs of {OTHER}") as caught:
        machine.require_programs_of(OTHER, tmp_path, tmp_path / "none")
    assert f"qemu-{KERNELS}" in caught.value.hint


def test_where_the_kernel_is_told_how(tmp_path: Path) -> None:
    (tmp_path / f"qemu-{KERNELS}").write_text(REGISTERED.format("POCF"))
    machine.require_programs_of(OTHER, tmp_path, tmp_path / "none")
    assert machine.emulator(OTHER, tmp_path) is None


def test_an_emulator_will_do_where_namespaces_have_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"qemu-{KERNELS}-static").touch()
    for release, found in (("6.7.0-custom", True), ("6.18.44", True), ("6.6.99", False), ("5.10.0-30-amd64", False)):
        monkeypatch.setattr("platform.release", lambda said=release: said)
        assert (machine.emulator(OTHER, tmp_path, tmp_path) is not None) == found
    assert machine.emulator("all", tmp_path, tmp_path) is None
