"""The README's first command as an ordinary user, with a checkout and a store of the user's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.kit.project import ROOT, imgbuild
from tests.kit.users import user

pytestmark = [pytest.mark.e2e, pytest.mark.full]

CHECKOUT = ("imgbuild", "imgbuild.yaml", "pyproject.toml", "tools", "dsl", "builder", "layers", "repos/memcached")


def test_the_first_command_gives_the_digest_that_root_gets(tmp_path: Path) -> None:
    work = tmp_path / "checkout"
    (work / "repos").mkdir(parents=True)
    for name in CHECKOUT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, work / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, work / name)
    told = imgbuild("build", "memcached", "--json", cache=tmp_path / "cache", cwd=work)
    assert told.code == 0, told.errors
    (expected,) = told.json["images"]
    with user() as somebody:
        # With the locks that root's build has left.
        folder = somebody.gives(work)
        shutil.rmtree(folder / "out")
        result = somebody.run("./imgbuild", "build", "memcached", "--json", cwd=folder)
        assert result.code == 0, result.errors
        assert "installing Python libraries into" in result.errors
        (image,) = json.loads(result.output)["images"]
        if not expected["tag"].endswith("-dev"):
            assert image["digest"] == expected["digest"]
        assert image["layers_reused"] == 0
