"""What imgbuild builds is an image by the OCI's own schemas, and everybody else's tools take it."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

from builder.formats import oci
from builder.model.digest import Digest
from builder.model.image import Image
from tests.kit.distribution import Distribution, Site
from tests.kit.engines import Containerd, Docker, Podman

pytestmark = pytest.mark.integration
SCHEMAS = Path("/usr/share/gocode/src/github.com/opencontainers/image-spec/schema")
"""golang-github-opencontainers-image-spec-dev: ./run-tests installs it."""
COMPRESSIONS = ["gzip", "zstd"]


@cache
def registry() -> Registry[Any]:
    """The image spec's schemas, which name each other by file."""
    found = {path.name: without_ids(json.loads(path.read_text())) for path in SCHEMAS.glob("*.json")}
    return Registry().with_contents(found.items(), default_specification=DRAFT4)


def without_ids(said: Any) -> Any:
    """A schema that is known by its file's name alone: its own identifiers are addresses where nothing lies."""
    if isinstance(said, dict):
        return {key: without_ids(value) for key, value in said.items() if key != "id" or not isinstance(value, str)}
    return [without_ids(one) for one in said] if isinstance(said, list) else said


def problems(value: Any, schema: str) -> list[str]:
    """What the spec's own schema says against a document."""
    checked = Draft4Validator({"$ref": schema}, registry=registry())
    return [error.message for error in checked.iter_errors(value)]


@pytest.fixture(scope="module", params=COMPRESSIONS)
def built(request: pytest.FixtureRequest, distribution: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site whose image uses all that a config has room for."""
    site = Site(tmp_path_factory.mktemp(request.param) / "site", distribution, like=distribution.site)
    if request.param != "gzip":
        site.edit("imgbuild.yaml", "workspace: site", f"workspace: site\ndefaults: {{compression: {request.param}}}")
    site.edit(
        "repos/app/component.yaml",
        "run: {command: [app], user: app}",
        "run: {command: [app], user: app, ports: {web: 80}, writable: [/var/tmp/app], stop_signal: SIGINT,\n"
        "          env: {A: b}, health: {exec: [cat, /etc/passwd]}}",
    )
    site.works("lock", "app")
    site.build("app")
    return site


def test_documents_are_what_the_spec_says(built: Site) -> None:
    out = built.folder / "out"
    image = built.image()
    assert json.loads(image.config)["config"]["Healthcheck"]
    assert problems(json.loads(image.manifest), "image-manifest-schema.json") == []
    assert problems(json.loads(image.config), "config-schema.json") == []
    assert problems(json.loads((out / "index.json").read_text()), "image-index-schema.json") == []
    assert problems(json.loads((out / "oci-layout").read_text()), "image-layout-schema.json") == []


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ("image-manifest-schema.json", {"schemaVersion": 1}),
        ("config-schema.json", {"os": 7}),
        ("image-index-schema.json", {"manifests": [{"digest": "x"}]}),
        ("image-layout-schema.json", {}),
    ],
)
def test_the_schemas_find_faults(schema: str, value: Any) -> None:
    assert problems(value, schema)


def skopeo(*words: str) -> str:
    """Run skopeo."""
    return subprocess.run(["skopeo", *words], check=True, capture_output=True, text=True).stdout


def tag(site: Site) -> str:
    """What the image is called."""
    index = json.loads((site.folder / "out/index.json").read_text())
    return str(index["manifests"][-1]["annotations"][oci.REF_NAME])


def config_digest(folder: Path) -> Digest:
    """Of the image in a ``dir:`` folder."""
    return Digest(json.loads((folder / "manifest.json").read_text())["config"]["digest"])


def test_skopeo_copies_it_and_back(built: Site, tmp_path: Path) -> None:
    image, name = built.image(), tag(built)
    source = f"oci:{built.folder}/out:{name}"
    inspected = json.loads(skopeo("inspect", source))
    assert inspected["Digest"] == image.digest
    assert inspected["Layers"] == [layer.digest for layer in image.layers]
    skopeo("copy", source, f"dir:{tmp_path}/dir")
    assert (tmp_path / "dir/manifest.json").read_bytes() == image.manifest
    skopeo("copy", f"dir:{tmp_path}/dir", f"oci:{tmp_path}/back:{name}")
    result = built.works("diff", f"oci:{tmp_path}/back:{name}", name)
    assert "are the same image" in result.output
    if image.layers[0].media_type.endswith("zstd"):
        return  # docker's archive has no zstd for skopeo.
    skopeo("copy", source, f"docker-archive:{tmp_path}/saved.tar:{name}")
    assert "are the same image" in built.works("diff", f"docker-archive:{tmp_path}/saved.tar", name).output
    assert "valid" in built.works("validate", f"docker-archive:{tmp_path}/saved.tar").output


@pytest.mark.e2e
def test_podman_loads_it(built: Site, podman: Podman, tmp_path: Path) -> None:
    image, name = built.image(), tag(built)
    env = {"CONTAINER_HOST": podman.host}
    built.works("build", "app", "--to", f"docker-archive:{tmp_path}/app.tar")
    podman("load", "--input", f"{tmp_path}/app.tar")
    assert podman("images", "--quiet", "--no-trunc", name).strip() == image.config_digest
    assert podman("run", "--rm", "--network=none", name, "id", "-u").strip() == "8000"
    podman("rmi", name)
    assert built.run("build", "app", "--to", "podman:", env=env).code == 0
    assert podman("images", "--quiet", "--no-trunc", name).strip() == image.config_digest
    compared(built, image, f"podman:{name}", env)


@pytest.mark.e2e
def test_docker_loads_it(built: Site, docker: Docker, tmp_path: Path) -> None:
    image, name = built.image(), tag(built)
    env = {"DOCKER_HOST": docker.host}
    built.works("build", "app", "--to", f"docker-archive:{tmp_path}/app.tar")
    major = int(docker("version", "--format", "{{.Server.Version}}").partition(".")[0])
    if image.layers[0].media_type.endswith("zstd") and major < 23:
        # It has the layers already if another test has left them there.
        docker("rmi", name, check=False)
        result = built.run("build", "app", "--to", "docker:", env=env)
        assert result.code == 1
        assert "this docker cannot read layers that are compressed with zstd" in result.errors
        assert "hint: use docker 23 or newer, podman, or" in result.errors
        assert docker("load", "--input", f"{tmp_path}/app.tar", code=True) != "0"
        return
    docker("load", "--input", f"{tmp_path}/app.tar")
    assert docker("images", "--quiet", "--no-trunc", name).strip() == image.config_digest
    assert docker("run", "--rm", "--network=none", name, "id", "-u").strip() == "8000"
    docker("rmi", name)
    assert built.run("build", "app", "--to", "docker:", env=env).code == 0
    assert docker("images", "--quiet", "--no-trunc", name).strip() == image.config_digest
    compared(built, image, f"docker:{name}", env)


@pytest.mark.e2e
def test_containerd_imports_it(built: Site, containerd: Containerd, tmp_path: Path) -> None:
    image, name = built.image(), f"docker.io/library/{tag(built)}"
    built.works("build", "app", "--to", f"oci-archive:{tmp_path}/app.tar")
    containerd("images", "import", f"{tmp_path}/app.tar")
    listed = containerd("images", "check", f"name=={name}").split()
    assert image.digest in listed
    assert "complete" in listed
    assert image.config_digest in containerd("content", "ls", "--quiet").split()
    assert containerd("run", "--rm", name, f"app-{image.digest[-8:]}", "id", "-u").strip() == "8000"


def compared(site: Site, image: Image, place: str, env: dict[str, str]) -> None:
    """What an engine gives back is the image, with every package where it was."""
    assert "are the same image" in site.run("diff", place, tag(site), env=env).output
    assert site.run("validate", place, env=env).code == 0
    theirs, mine = (site.run("inspect", name, "--json", env=env).json for name in (place, tag(site)))
    assert (theirs["digest"], theirs["id"]) == (None, image.config_digest)
    for key in ("diff_id", "comment", "packages"):
        assert [layer[key] for layer in theirs["layers"]] == [layer[key] for layer in mine["layers"]]
