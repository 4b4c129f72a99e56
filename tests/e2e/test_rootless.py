"""An image from Debian's mirror, made by an ordinary user, in an empty store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.kit.project import ROOT, imgbuild
from tests.kit.users import user

pytestmark = [pytest.mark.e2e, pytest.mark.full]


def test_memcached_has_the_digest_that_root_gives_it(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(ROOT / "imgbuild.yaml", work)
    for name in ("layers", "repos/memcached"):
        shutil.copytree(ROOT / name, work / name, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    told = imgbuild("build", "memcached", "--json", cache=tmp_path / "cache", cwd=work)
    assert told.code == 0, told.errors
    (expected,) = told.json["images"]
    with user() as somebody:
        # With the locks that root's build has left.
        folder = somebody.gives(work)
        shutil.rmtree(folder / "out")
        result = somebody.run(*somebody.imgbuild, "build", "memcached", "--json", cwd=folder)
        assert result.code == 0, result.errors
        (image,) = json.loads(result.output)["images"]
        if not expected["tag"].endswith("-dev"):
            assert image["digest"] == expected["digest"]
        assert image["layers_reused"] == 0
