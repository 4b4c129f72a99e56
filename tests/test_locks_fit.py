"""The locks that are committed fit their definitions: those of this repository, and of each example."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.project import ROOT, imgbuild

PLACES = {
    file.parent.relative_to(ROOT)
    for name in ("imgbuild.yaml", "component.yaml")
    for file in (*ROOT.glob(name), *ROOT.glob(f"examples/*/{name}"))
}


@pytest.mark.parametrize("workspace", sorted(PLACES), ids=str)
def test_locks_fit(workspace: Path, tmp_path: Path) -> None:
    result = imgbuild("lock", "--all", "--check", cache=tmp_path, cwd=ROOT / workspace)
    assert (result.code, result.output) == (0, "the locks fit\n"), result.errors


@pytest.mark.parametrize("workspace", sorted(PLACES), ids=str)
def test_nothing_is_wrong(workspace: Path, tmp_path: Path) -> None:
    """Also that a definition whose text has changed has another version."""
    result = imgbuild("check", "--all", cache=tmp_path, cwd=ROOT / workspace)
    assert result.code == 0, result.errors
    assert result.output.endswith(": nothing wrong\n")
