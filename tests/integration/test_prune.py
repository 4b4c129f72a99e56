"""``imgbuild prune``: what goes and what stays, in layouts and in a real registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.transports import oci_layout
from tests.kit.distribution import SECOND, Site
from tests.kit.keys import pair
from tests.kit.registry import Registry, registry

pytestmark = [pytest.mark.integration, pytest.mark.sampled(4)]


@pytest.fixture
def old(site: Site) -> Site:
    """A site with five releases of one component and one of another."""
    site.write({"repos/second/component.yaml": SECOND})
    site.works("lock", "second")
    site.works("build", "--all", "--attest")
    for number in range(2, 6):
        before = "user: app" if number == 2 else f"user: app, env: {{A: '{number - 1}'}}"
        site.edit("repos/app/component.yaml", before, f"user: app, env: {{A: '{number}'}}")
        site.works("lock", "app")
        site.works("build", "app")
    return site


def fate(site: Site, *words: str) -> dict[str, str]:
    """What it says of each release: why it stays, or nothing."""
    told = site.works("prune", *words, "--json").json
    return {one["image"].rpartition("/")[2].removeprefix("oci:out:"): one["because"] or "" for one in told["images"]}


def blobs(layout: Path) -> set[str]:
    """What lies there."""
    return {path.name for path in (layout / "blobs/sha256").iterdir()}


def test_old_releases_go_from_a_layout(old: Site) -> None:
    out = old.folder / "out"
    before = blobs(out)
    assert fate(old, "--keep", "2") == {
        "app:1-r1": "", "app:1-r2": "", "app:1-r3": "",
        "app:1-r4": "one of the newest 2", "app:1-r5": "one of the newest 2", "second:1.2.3-r1": "one of the newest 2",
    }  # fmt: skip
    assert blobs(out) == before, "a plan changes nothing"
    old.works("prune", "--keep", "2", "--yes")
    assert set(oci_layout.references(out)) == {"app:1-r4", "app:1-r5", "second:1.2.3-r1"}
    assert blobs(out) < before
    assert old.run("validate", "oci:out").code == 0
    # What is left is what a layout of these alone would have.
    old.works("copy", "app:1-r4", "app:1-r5", "second", "oci:alone")
    assert blobs(out) == blobs(old.folder / "alone")
    assert set(fate(old, "--keep", "2").values()) == {"one of the newest 2"}


def test_what_runs_stays(old: Site) -> None:
    (old.folder / "running").write_text("CONTAINER  IMAGE\n1234  registry.example/x/app:1-r2\n")
    digest = oci_layout.references(old.folder / "out")["app:1-r3"]
    (old.folder / "pods").write_text(f"imageID: docker-pullable://app@{digest}\n")
    assert fate(old, "--keep", "1", "--in-use", "running")["app:1-r2"] == "it runs"
    assert fate(old, "--keep", "1", "--in-use", "pods")["app:1-r3"] == "it runs"


def test_what_a_lock_says_is_current_stays(old: Site) -> None:
    """A lock that went back, as `withdraw` lets it."""
    lock = old.folder / "repos/app/lock.yaml"
    lock.write_text(
        lock.read_text()
        .replace('("app", "1", 5, "', '("app", "1", 2, "')
        .replace('["app", "1", 5, "', '["app", "1", 2, "')
    )
    assert fate(old, "--keep", "1")["app:1-r2"] == "a lock says that it is current"


def test_old_releases_go_from_a_registry(old: Site, there: Registry) -> None:
    place = f"registry:{there.host}/old/"
    for number in range(1, 6):
        old.works("copy", f"app:1-r{number}", f"registry:{there.host}/old")
    old.works("publish", "--registry", f"{there.host}/old")
    found = fate(old, place, "--keep", "2")
    assert {name for name, because in found.items() if not because} == {"app:1-r1", "app:1-r2", "app:1-r3"}
    old.works("prune", place, "--keep", "2", "--yes")
    left = there.tags("old/app")
    assert {tag for tag in left if not tag.startswith("sha256-")} == {"1-r4", "1-r5", "1"}
    # What referred to the others has gone as well.
    named = {f"sha256-{left[tag].removeprefix('sha256:')}" for tag in ("1-r4", "1-r5")}
    assert {tag for tag in left if tag.startswith("sha256-")} <= named
    there.require_whole("old/app")
    assert old.run("validate", place).code == 0


def test_what_is_signed_goes_with_its_signatures_and_a_store_stays(site: Site, there: Registry, tmp_path: Path) -> None:
    """All below one prefix, as people name it."""
    key, prefix = pair(tmp_path), f"{there.host}/signed"
    for number in range(1, 4):
        before = "user: app" if number < 3 else "user: app, env: {A: '2'}"
        if number > 1:
            site.edit("repos/app/component.yaml", before, f"user: app, env: {{A: '{number}'}}")
            site.works("lock", "app")
        site.works("build", "app", "--attest")
        site.works("publish", "app", "--registry", prefix, "--sign", str(key.private))
    site.works("store", "push", "--to", f"registry:{prefix}/store")
    tags, stored = there.tags("signed/app"), there.tags("signed/store")
    first, second, third = (tags[f"1-r{number}"].replace(":", "-") for number in range(1, 4))
    assert {f"{one}{kind}" for one in (first, second, third) for kind in ("", ".sig", ".att")} < tags.keys()
    assert stored
    (site.folder / "pods").write_text(f"imageID: docker-pullable://{prefix}/app@{tags['1-r1']}\n")
    assert fate(site, f"registry:{prefix}/", "--keep", "1", "--in-use", "pods") == {
        "app:1-r1": "it runs", "app:1-r2": "", "app:1-r3": "the newest",
    }  # fmt: skip
    site.works("prune", f"registry:{prefix}/", "--keep", "1", "--yes")
    assert there.tags("signed/app").keys() == {"1-r3", "1", third, f"{third}.sig", f"{third}.att"}
    assert there.tags("signed/store") == stored
    site.works("verify", f"registry:{prefix}/app", "--signed-by", str(key.public))


def test_what_a_floating_tag_leads_to_stays(old: Site, there: Registry) -> None:
    to = ("--registry", f"{there.host}/floating")
    old.works("publish", *to)
    old.edit("repos/second/component.yaml", '"1.2.3"', '"1.3.0"')
    old.works("lock", "second")
    old.works("build", "second")
    old.works("publish", "second", *to)
    found = fate(old, f"registry:{there.host}/floating/second", "--keep", "1")
    assert found == {"second:1.2.3-r1": "by 1.2, 1.2.3", "second:1.3.0-r1": "the newest"}


def test_a_registry_that_lets_nothing_be_removed(old: Site, tmp_path: Path) -> None:
    with registry(tmp_path / "strict", deletes=False) as strict:
        for number in (1, 2):
            old.works("copy", f"app:1-r{number}", f"registry:{strict.host}/x")
        result = old.run("prune", f"registry:{strict.host}/x/", "--keep", "1", "--yes")
        assert result.code == 1
        assert "storage.delete.enabled" in result.errors
        assert {"1-r1", "1-r2"} <= strict.tags("x/app").keys()


@pytest.mark.parametrize(
    ("words", "said"),
    [(("docker:",), "releases are kept in layouts and registries"), (("oci:nothing",), "is no OCI layout"),
     (("--keep", "0"), "--keep"), (("--in-use", "nothing"), "nothing: No such file or directory")],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_wrong_input(site: Site, words: tuple[str, ...], said: str) -> None:
    result = site.run("prune", *words)
    assert result.code == 2
    assert said in result.errors
