"""``imgbuild copy`` and ``imgbuild pull``: between layouts, archives and a real registry; digests stay, and what lies beside goes along."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.transports import oci_layout
from tests.kit.distribution import Site
from tests.kit.registry import Registry

pytestmark = [pytest.mark.integration, pytest.mark.sampled(4)]


def entries(layout: Path) -> dict[str, tuple[str, dict[str, str]]]:
    """What a layout has, with what it says of it."""
    return {entry.name: (entry.digest, dict(entry.notes)) for entry in oci_layout.at(layout).entries}


def test_from_layout_to_layout_nothing_is_lost(two: Site) -> None:
    told = two.works("copy", "oci:out", "oci:other", "--json").json["images"]
    assert [one["source"] for one in told] == ["oci:out:app:1-r1", "oci:out:second:1.2.3-r1"]
    assert entries(two.folder / "other") == entries(two.folder / "out")
    assert two.run("validate", "oci:other").code == 0
    assert two.works("provenance", "oci:other:app").output == two.works("provenance", "app").output


def test_the_newest_release_of_each_image_is_meant(two: Site) -> None:
    two.edit("repos/app/component.yaml", "user: app", "user: app, env: {A: b}")
    two.works("lock", "app")
    two.build()
    two.works("copy", "oci:out", "oci:other")
    assert sorted(entries(two.folder / "other")) == ["app:1-r2", "second:1.2.3-r1"]
    two.works("copy", "app:1-r1", "oci:other")
    assert "app:1-r1" in entries(two.folder / "other")


def test_through_a_registry_into_archives(two: Site, there: Registry) -> None:
    place = f"registry:{there.host}/through"
    (sent,) = two.works("copy", "app", place, "--json").json["images"]
    assert sent["target"] == f"{place}/app:1-r1"
    # A release's tag alone: floating ones are those of `publish`.
    assert [tag for tag in there.tags("through/app") if not tag.startswith("sha256-")] == ["1-r1"]
    there.require_whole("through/app")
    again = f"registry:{there.host}/production"
    two.works("copy", f"{place}/", again)
    assert there.tags("production/app")["1-r1"] == sent["digest"]
    two.works("copy", f"{again}/app:1-r1", "oci-archive:{image}.tar", cache=two.empty_cache())
    assert two.works("inspect", "oci-archive:app.tar", "--json").json["digest"] == sent["digest"]
    two.works("copy", "oci-archive:app.tar", "dir:skopeo's")
    two.works("copy", "dir:skopeo's", "oci:last")
    assert entries(two.folder / "last")["app:1-r1"][0] == sent["digest"]


def test_a_release_is_asked_for_by_a_floating_tag_and_keeps_its_name(two: Site, there: Registry) -> None:
    two.works("publish", "--registry", f"{there.host}/floating")
    two.works("copy", f"registry:{there.host}/floating/second:1.2", "oci:other", cache=two.empty_cache())
    assert entries(two.folder / "other") == {
        name: told for name, told in entries(two.folder / "out").items() if name.startswith("second:")
    }


def test_another_content_under_the_tag_is_refused(two: Site, there: Registry) -> None:
    place = f"registry:{there.host}/refused"
    two.works("copy", "app", place)
    two.edit("repos/app/component.yaml", "user: app", "user: app, env: {A: b}")
    (two.folder / "repos/app/lock.yaml").unlink()
    two.works("lock", "app")
    two.build()
    refused = two.run("copy", "app", place)
    assert refused.code == 1
    assert "1-r1" in refused.errors


def test_pull_is_the_counterpart_of_publish(two: Site, there: Registry) -> None:
    two.works("publish", "--registry", f"{there.host}/pull")
    before = entries(two.folder / "out")
    (two.folder / "out").rename(two.folder / "old")
    two.edit("imgbuild.yaml", "workspace: site", f"workspace: site\nregistry: {there.host}/pull")
    two.works("pull", "app", cache=two.empty_cache())
    assert entries(two.folder / "out") == {"app:1-r1": before["app:1-r1"]}
    two.works("pull")
    assert entries(two.folder / "out") == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("copy", "nothing", "oci:other"), "has no image 'nothing'"),
        (("copy", "app", "tape:1"), "there is no way out 'tape:1'"),
        (("copy", "oci:out", "oci-archive:one.tar"), "takes one image, here are 2"),
        (("pull",), "no registry is named"),
        (("pull", "nothing", "--registry", "r.example"), "'nothing'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_input(two: Site, words: tuple[str, ...], said: str) -> None:
    result = two.run(*words)
    assert result.code == 2
    assert said in result.errors
