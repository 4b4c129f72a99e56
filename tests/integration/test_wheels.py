"""Environments of wheels, from a definition to the image: locked, made, found, updated, told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from builder.formats import lockfile
from builder.model.lock import Lock, LockedWheel
from builder.transports import oci_layout
from tests.kit.distribution import Distribution, Site
from tests.kit.wheels import Index, wheel

pytestmark = [pytest.mark.integration, pytest.mark.sampled(7)]

WEB = """\
dsl: 1
component: web
summary: a site
version: {from: wheel/web}
layers:
  web-base:
    summary: what its services share
    extends: tiny ^1.0
    packages: {apt: [python3, libc6]}
    environments:
      web: {wheels: [web ~= 1.0]}
images:
  web:
    summary: it serves
    extends: web-base
    users: {web: {uid: 8000}}
    run: {command: [/opt/web/bin/web], user: web}
  worker:
    summary: it works
    extends: web-base
    environments:
      web: {requirements: requirements.in}
    users: {web: {uid: 8000}}
    run: {command: [/opt/web/bin/python, -m, worker], user: web}
"""


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "index")


@pytest.fixture
def web(distribution: Distribution, tmp_path: Path, index: Index) -> Site:
    """A site with an application of two images, and an index that stands in for PyPI."""
    site = Site(tmp_path / "site", distribution, like=distribution.site)
    site.repo.add("python3", "3.11.2-1", files={"usr/bin/python3": "#!/bin/sh\n"})
    site.repo.add("libc6", "2.36-9+deb12u9")
    site.repo.publish()
    made = tmp_path / "wheels"
    index.add(wheel(made, "web", "1.0", needs=["shared"], scripts={"web": "web:main"}, License="MIT", Summary="A site"))
    index.add(wheel(made, "shared", "1.0"))
    index.add(wheel(made, "worker", "3.0", needs=["shared", "extra"]))
    index.add(wheel(made, "extra", "1.0"))
    site.write({"repos/web/component.yaml": WEB, "repos/web/requirements.in": "# of the worker\nworker\n"})
    site.env["IMGBUILD_INDEX"] = index.url
    return site


def locks(site: Site) -> dict[str, Lock]:
    """The locks of the component."""
    return {lock.name: lock for lock in lockfile.read(site.folder / "repos/web/lock.yaml").locks}


def wheels(site: Site) -> dict[str, dict[str, str]]:
    """The versions of wheels, by definition and package."""
    return {name: {one.name: one.version for one in lock.wheels} for name, lock in locks(site).items()}


def test_the_life_of_an_environment(web: Site, index: Index, tmp_path: Path) -> None:
    web.works("lock", "web")
    # What lies below is not locked again above.
    assert wheels(web) == {
        "web-base": {"web": "1.0", "shared": "1.0"}, "web": {}, "worker": {"worker": "3.0", "extra": "1.0"},
    }  # fmt: skip
    text = (web.folder / "repos/web/lock.yaml").read_text()
    assert str(tmp_path) not in text
    assert text.count("https://files.pythonhosted.org/packages/") == 4
    assert [one.why for one in locks(web)["worker"].wheels] == ["worker", "asked for"]
    digests = web.build("web")
    assert web.works("validate", "oci:out").output.count("valid") == 2

    # It is there, and runs where a Python is.
    root = web.unpack("worker")
    assert (root / "opt/web/pyvenv.cfg").read_text().startswith("home = /usr/bin\n")
    assert (root / "opt/web/bin/python3").readlink() == Path("python")
    assert (root / "opt/web/bin/python").readlink() == Path("/usr/bin/python3")
    assert (root / "opt/web/bin/web").read_text().startswith("#!/opt/web/bin/python\n")
    site_packages = root / "opt/web/lib/python3.11/site-packages"
    assert {path.name for path in site_packages.glob("*.py")} == {"web.py", "shared.py", "worker.py", "extra.py"}
    kinds = [(one.kind, one.packages) for one in web.layers("worker") if one.kind == "wheel"]
    assert kinds == [
        ("wheel", (("web/shared", "1.0"), ("web/web", "1.0"))), ("wheel", (("web/extra", "1.0"), ("web/worker", "3.0"))),
    ]  # fmt: skip

    # It is told of as other packages are.
    assert web.works("find", "shared (<< 1.1)", "oci:out").output.count("web/shared") == 2
    assert "no image holds" in web.works("find", "shared (>> 1.0)", "oci:out").output
    assert web.works("why", "extra", "worker").output.split() == [
        "web/extra", "1.0", "(worker)", "web/worker", "3.0", "(worker)", "asked", "for",
    ]  # fmt: skip
    assert "web-base web/bin-00" in web.works("plan", "web").output
    bill = json.loads(web.works("sbom", "oci:out:web", "--format", "cyclonedx").output)
    (found,) = (one for one in bill["components"] if one.get("purl") == "pkg:pypi/web@1.0")
    (locked,) = (one for one in locks(web)["web-base"].wheels if one.name == "web")
    assert found["hashes"] == [{"alg": "SHA-256", "content": locked.sha256}]
    assert found["licenses"] == [{"expression": "MIT"}]
    assert {"name": "imgbuild:environment", "value": "/opt/web"} in found["properties"]
    wheel_layer = next(one.digest for one in web.layers("web") if one.kind == "wheel")
    assert {"name": "imgbuild:layer", "value": wheel_layer} in found["properties"]

    # The same lock gives the same bytes, from another store.
    again = web.run("rebuild", "oci:out:web", "oci:out:worker", cache=web.empty_cache())
    assert (again.code, again.output.count("the same")) == (0, 2), again.errors + again.output

    # A newer version moves when it is asked to; its layer alone is sent.
    index.add(wheel(tmp_path / "wheels", "shared", "1.1"))
    assert web.run("outdated", "web").code == 3
    assert "web/shared" in web.run("outdated", "web").output
    web.works("lock", "web")
    assert wheels(web)["web-base"]["shared"] == "1.0"
    told = web.works("lock", "web", "--update").output
    assert "  web/shared 1.0 → 1.1" in told
    assert "web-base: 2 packages and 2 wheels, 0 added, 0 removed, 1 changed" in told
    assert web.build("web") != digests
    changed = web.run("diff", "worker")
    assert "web/shared 1.0 → 1.1" in changed.output
    assert [one["kind"] for one in web.run("diff", "worker", "--json").json["layers_new"]] == ["wheel"]
    assert web.run("outdated", "web").code == 0


def test_a_version_that_stays_keeps_its_file(web: Site, index: Index, tmp_path: Path) -> None:
    web.works("lock", "web")
    before = locks(web)["worker"].wheels
    # A better one for this machine has come, and the definition asks for more.
    index.add(wheel(tmp_path / "wheels", "extra", "1.0", tag="cp311-cp311-manylinux_2_17_x86_64"))
    index.add(wheel(tmp_path / "wheels", "more", "1.0"))
    web.edit("repos/web/requirements.in", "worker\n", "worker\nmore\n")
    web.works("lock", "web")
    assert set(before) < set(locks(web)["worker"].wheels)
    web.works("lock", "web", "--update")
    (extra,) = (one for one in locks(web)["worker"].wheels if one.name == "extra")
    assert "manylinux" in extra.filename


def test_wheels_come_from_where_they_are(web: Site, index: Index, tmp_path: Path) -> None:
    web.works("lock", "web")
    expected = web.build("web")
    # The files have other places in the site's index than PyPI has, and than when they were locked.
    page = index.folder / "simple/web/index.html"
    page.write_text(page.read_text().replace("../../packages/", "../../kept/"))
    (index.folder / "packages").rename(index.folder / "kept")
    for other in ("shared", "worker", "extra"):
        page = index.folder / "simple" / other / "index.html"
        page.write_text(page.read_text().replace("../../packages/", "../../kept/"))
    cache = web.another_cache()
    _forget(cache, locks(web)["web-base"].wheels + locks(web)["worker"].wheels)
    assert web.build("web", out="again", cache=cache) == expected
    # A store of the workspace goes before any index.
    _forget(cache, locks(web)["web-base"].wheels + locks(web)["worker"].wheels)
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for path in index.folder.rglob("*.whl"):
        for one in (*locks(web)["web-base"].wheels, *locks(web)["worker"].wheels):
            if one.filename == path.name:
                shutil.copy(path, shelf / one.sha256)
    shutil.rmtree(index.folder)
    web.edit("imgbuild.yaml", "workspace: site\n", f"workspace: site\nstores: [{shelf}]\n")
    assert web.build("web", out="third", cache=cache) == expected


def test_a_fix_that_decides_nothing_about_wheels_asks_no_index(web: Site, index: Index, tmp_path: Path) -> None:
    web.works("lock", "web")
    web.build("web")
    before = wheels(web)
    (tmp_path / "feed.json").write_text("{}")
    shutil.move(index.folder, tmp_path / "away")
    web.repo.add("libc6", "2.36-9+deb12u10")
    web.repo.publish()
    words = ("security", "update", "--feed", str(tmp_path / "feed.json"), "--to", "oci:out", "--only")
    web.works(*words, "libc6")
    assert ("libc6", "2.36-9+deb12u10") in {(p.name, p.version) for p in locks(web)["web-base"].packages}
    assert wheels(web) == before
    # Wheels may say which Pythons they are for.
    web.repo.add("python3", "3.11.4-1", files={"usr/bin/python3": "#!/bin/sh\n"})
    web.repo.publish()
    assert web.run(*words, "python3").code == 1
    shutil.move(tmp_path / "away", index.folder)
    web.works(*words, "python3")
    assert wheels(web) == before


def _forget(cache: Path, made: tuple[LockedWheel, ...]) -> None:
    for one in made:
        (cache / "imgbuild/blobs/sha256" / one.sha256).unlink()
    shutil.rmtree(cache / "imgbuild/layers")


def test_a_folder_of_wheels_is_a_source(web: Site, tmp_path: Path) -> None:
    wheel(web.folder / "repos/web/own", "web", "1.9")
    web.edit("repos/web/component.yaml", "layers:\n", "sources:\n  own: {wheels: own}\nlayers:\n")
    web.works("lock", "web")
    (own,) = (one for one in locks(web)["web-base"].wheels if one.name == "web")
    assert (own.version, own.url) == ("1.9", "")
    web.build("web")
    cache = web.another_cache()
    _forget(cache, (own,))
    web.build("web", out="again", cache=cache)
    # Another file there is another answer.
    wheel(web.folder / "repos/web/own", "web", "1.10")
    assert "the definition has changed" in web.run("lock", "web", "--check").errors
    web.works("lock", "web", "--update")
    assert wheels(web)["web-base"]["web"] == "1.10"
    assert oci_layout.read(web.folder / "out", "web").labels["org.opencontainers.image.version"].startswith("1.9-")


def test_a_wheel_that_is_gone_is_told(web: Site, index: Index) -> None:
    del web.env["IMGBUILD_INDEX"]
    (index.folder / "packages").rename(index.folder / "kept")
    for page in index.folder.glob("simple/*/index.html"):
        page.write_text(page.read_text().replace("../../packages/", "../../kept/"))
    source = f"sources:\n  company: {{index: '{index.url}'}}\nlayers:\n"
    web.edit("repos/web/component.yaml", "layers:\n", source)
    web.works("lock", "web")
    web.works("build", "web", "--attest")
    every = (*locks(web)["web-base"].wheels, *locks(web)["worker"].wheels)
    statement = web.works("provenance", "oci:out:worker").output
    assert [one.filename for one in every if one.sha256 not in statement] == []
    _forget(web.cache, every)
    shutil.rmtree(index.folder)
    # Layers that are there need no wheels: the layout of the last release has them.
    web.works("build", "web", "--locked")
    result = web.run("rebuild", "oci:out:web")
    assert result.code == 1
    assert "shared 1.0, web 1.0 are nowhere to be had any more" in " ".join(result.errors.split())
    assert "{wheels: FOLDER}" in " ".join(result.errors.split())


def test_hashes_that_are_given_must_hold(web: Site, index: Index, tmp_path: Path) -> None:
    web.works("lock", "web")
    rows = {one.name: one.sha256 for one in locks(web)["worker"].wheels}
    given = f"worker==3.0 \\\n    --hash=sha256:{rows['worker']}\n"
    web.write({"repos/web/requirements.in": given})
    result = web.run("lock", "web")
    assert result.code == 1
    assert "give hashes, and none of extra, which is needed, too" in result.errors
    web.write({"repos/web/requirements.in": given + f"extra==1.0 --hash=sha256:{rows['extra']}\n"})
    web.works("lock", "web")
    web.write({"repos/web/requirements.in": given + f"extra==1.0 --hash=sha256:{'0' * 64}\n"})
    result = web.run("lock", "web")
    assert f"the wheel of extra that fits here has the sha256 {rows['extra']}" in result.errors


@pytest.mark.parametrize(
    ("old", "new", "said", "hint"),
    [
        ("[python3, libc6]", "[libc6]", "nothing here has python3", "packages: {apt: [python3]}"),
        ("web ~= 1.0", "web ~= 7.0", "only web==1.0 is available", ""),
        ("web ~= 1.0", "nowhere", "nowhere was not found", ""),
    ],
)
def test_what_cannot_be_is_told(web: Site, old: str, new: str, said: str, hint: str) -> None:
    web.edit("repos/web/component.yaml", old, new)
    web.edit("repos/web/component.yaml", "{from: wheel/web}", '"1.0"')
    result = web.run("lock", "web")
    assert result.code == 1
    assert said in " ".join(result.errors.split())
    assert hint in " ".join(result.errors.split())
    assert "tiny → web-base" in result.errors


def test_wheels_that_do_not_go_together_are_told(web: Site, index: Index, tmp_path: Path) -> None:
    index.add(wheel(tmp_path / "wheels", "rival", "1.0", files={"shared.py": "other = 1\n"}))
    web.edit("repos/web/requirements.in", "worker\n", "worker\nrival\n")
    result = web.run("lock", "web")
    assert result.code == 1
    assert "rival and shared bring the same file into /opt/web, and it differs: shared.py" in " ".join(
        result.errors.split()
    )


def test_a_library_that_is_lacking_is_told(web: Site, index: Index, tmp_path: Path) -> None:
    index.add(wheel(tmp_path / "wheels", "fast", files={"fast.so": "\x7fELF\0libstdc++.so.6\0"}))
    web.edit("repos/web/requirements.in", "worker\n", "worker\nfast\n")
    told = " ".join(web.works("lock", "web").errors.split())
    assert "web/fast is linked with libstdc++.so.6, and nothing here has libstdc++6" in told
    assert "packages: {apt: [libstdc++6]}" in told


def test_pips_configuration_is_honoured_and_not_told(web: Site, index: Index, tmp_path: Path) -> None:
    del web.env["IMGBUILD_INDEX"]
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {index.url}\n")
    web.env |= {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_INDEX_URL": ""}
    web.works("lock", "web")
    assert str(tmp_path) not in (web.folder / "repos/web/lock.yaml").read_text()
    before = (web.folder / "repos/web/lock.yaml").read_bytes()
    # The same lock, whatever the index is called here.
    web.env |= {"PIP_INDEX_URL": index.url, "PIP_CONFIG_FILE": "/dev/null"}
    (web.folder / "repos/web/lock.yaml").unlink()
    web.works("lock", "web")
    assert (web.folder / "repos/web/lock.yaml").read_bytes() == before


def test_an_overlay_adds_and_takes_wheels(web: Site) -> None:
    overlay = """\
dsl: 1
overlay: acme
components:
  web:
    layers:
      web-base:
        environments: {web: {wheels: {add: [extra], remove: [web]}}}
    version: "1.0"
"""
    web.write({"acme/overlay.yaml": overlay})
    web.edit("imgbuild.yaml", "workspace: site\n", "workspace: site\noverlays: [acme]\n")
    web.works("lock", "web")
    made = {lock.name: lock for lock in lockfile.read(web.folder / "acme/web/lock.yaml").locks}
    assert [one.name for one in made["web-base"].wheels] == ["extra"]
