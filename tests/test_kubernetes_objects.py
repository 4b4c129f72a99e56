"""The objects of the examples are what each release of Kubernetes takes, by its published schemas."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from builder.deploy.kubernetes import target
from tests.kit.project import ROOT, imgbuild

SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
RELEASES = sorted(
    {
        (int(major), int(minor))
        for major, minor in (path.name.lstrip("v").split(".")[:2] for path in SCHEMAS.glob("v*-local-strict"))
        if (int(major), int(minor)) >= (1, 30)
    }
)
EXAMPLES = {"openstack": (".", "examples/openstack"), "shop": ("examples/shop", "examples/shop")}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store: rendering needs nothing of it."""
    return tmp_path_factory.mktemp("store")


@cache
def rendered(store: Path, example: str, release: str) -> tuple[dict[str, Any], ...]:
    """The objects of an example, as a reader of YAML has them."""
    workspace, site = EXAMPLES[example]
    words = ("deploy", "render", site, "--kubernetes", release, "--secrets", str(store / "secrets.yaml"))
    told = imgbuild("-C", workspace, *words, cache=store, cwd=ROOT)
    assert told.code == 0, told.errors
    return tuple(yaml.safe_load_all(told.output))


def test_the_newest_release_is_the_one_that_is_known() -> None:
    assert kubernetes_validate.latest_version().startswith(".".join(map(str, target.NEWEST)))
    assert RELEASES[0] == (1, 30)
    assert RELEASES[-1] == target.NEWEST


@pytest.mark.sampled(2)
@pytest.mark.parametrize("release", [".".join(map(str, one)) for one in RELEASES])
@pytest.mark.parametrize("example", EXAMPLES)
def test_every_object_is_valid(example: str, release: str, store: Path) -> None:
    objects = rendered(store, example, release)
    assert len(objects) > (80 if example == "openstack" else 15)
    for one in objects:
        kubernetes_validate.validate(one, release, strict=True)


@pytest.mark.parametrize("example", EXAMPLES)
def test_nothing_may_more_than_it_declares(example: str, store: Path) -> None:
    for one in rendered(store, example, "1.37"):
        spec = one.get("spec", {})
        pod = spec.get("jobTemplate", {"spec": spec})["spec"].get("template", {}).get("spec")
        if not pod:
            continue
        assert pod["automountServiceAccountToken"] is False
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            told = container["securityContext"]
            assert told["readOnlyRootFilesystem"] is True
            assert told.get("privileged") or told["capabilities"]["drop"] == ["ALL"]
            if one["kind"] != "DaemonSet":
                assert "privileged" not in told
                assert pod["securityContext"]["runAsNonRoot"] is True
                assert told["allowPrivilegeEscalation"] is False


def test_a_small_site_is_written_in_forty_lines(store: Path) -> None:
    folder = ROOT / "examples/shop"
    files = [folder / name for name in ("imgbuild.yaml", "site.yaml", "guestbook/component.yaml")]
    lines = [line for file in files for line in file.read_text().splitlines() if line.strip()]
    assert len(lines) <= 40
    readme = (ROOT / "README.md").read_text()
    assert all(f"```yaml\n{file.read_text()}```" in readme for file in files[1:])
    kinds = [one["kind"] for one in rendered(store, "shop", "1.37")]
    assert (kinds.count("Deployment"), kinds.count("StatefulSet"), kinds.count("Job")) == (2, 1, 1)
