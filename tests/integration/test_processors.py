"""Libraries that compress and decompress choose their code by what the processor can: the bytes are the same."""

from __future__ import annotations

import json
import os
import platform
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.kit.project import ROOT

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="qemu-user stands for processors of this kind here"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for trees with owners"),
]
PROCESSORS = ("qemu64", "Nehalem", "Haswell", "max")
"""None of what came after 2003, SSE 4.2, AVX2, and all that qemu knows; AVX-512, which it does not, is this machine's own where it has it."""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Packages compressed in each way that Debian uses, of bytes that a compressor must work on."""
    folder = tmp_path_factory.mktemp("packages")
    chance = random.Random(1)
    words = [chance.randbytes(chance.randrange(1, 12)).hex() for _ in range(900)]
    made = []
    for way in ("xz", "zstd", "gzip"):
        tree = folder / way
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN/control").write_text(
            f"Package: by-{way}\nVersion: 1\nArchitecture: all\nMaintainer: T <t@localhost>\nDescription: x\n"
        )
        place = tree / "usr/share" / way
        place.mkdir(parents=True)
        for number in range(4):
            (place / f"text-{number}").write_text(" ".join(chance.choices(words, k=12_000)))
            (place / f"bytes-{number}").write_bytes(chance.randbytes(20_000))
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", f"-Z{way}", "--build", tree, folder / f"{way}.deb"],
            env=os.environ | {"SOURCE_DATE_EPOCH": "1000000000"}, check=True, capture_output=True,
        )  # fmt: skip
        made.append(str(folder / f"{way}.deb"))
    return tuple(made)


def digests(packages: Sequence[str], store: Path, *under: str) -> Mapping[str, list[str]]:
    """What a layer of the packages turns out to be, made under another program."""
    words = [*under, os.path.realpath(sys.executable), "-m", "tests.kit.one_layer", str(store), *packages]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    result = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found: Mapping[str, list[str]] = json.loads(result.stdout)
    return found


def test_processors_make_the_same_layers(packages: tuple[str, ...], tmp_path: Path) -> None:
    here = digests(packages, tmp_path / "here")
    assert [len(here[name]) for name in ("gzip", "zstd")] == [2, 2]
    for processor in PROCESSORS:
        assert digests(packages, tmp_path / processor, "qemu-x86_64", "-cpu", processor) == here, processor
