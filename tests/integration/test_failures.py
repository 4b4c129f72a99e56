"""What goes wrong is told with its place and a way out, and leaves nothing half done."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from builder import validate
from tests.integration.test_updates import stack
from tests.kit.apt_repo import AptRepo
from tests.kit.distribution import Site
from tests.kit.project import Run, mounts_with

pytestmark = [pytest.mark.integration, pytest.mark.sampled(7)]
PROGRAM = {"usr/bin/app": "#!/bin/sh\n"}


def require_told(result: Run, *said: str, code: int = 1) -> None:
    """An error with a place and a way out, and no traceback."""
    assert result.code == code, result.errors
    assert "Traceback" not in result.errors
    assert "error: " in result.errors
    for text in said:
        assert text in result.errors
    assert "hint: " in result.errors, result.errors


def require_tidy(site: Site) -> None:
    """No mounts, and nothing half made."""
    assert mounts_with(str(site.cache)) == []
    assert list((site.cache / "imgbuild/tmp").iterdir()) == []


def test_a_wrong_checksum(site: Site) -> None:
    site.repo.add("app", "2", files=PROGRAM)
    site.repo.publish()
    expected = site.build(out="expected", cache=site.lock_elsewhere())
    good = (site.mirror / "tiny/pool/stable/app_2_all.deb").read_bytes()
    site.repo.corrupt("app", "2")
    result = site.run("build", "app")
    require_told(result, "app", "checksum", str(site.mirror))
    assert not (site.folder / "out").exists()
    require_tidy(site)
    (site.mirror / "tiny/pool/stable/app_2_all.deb").write_bytes(good)
    assert site.build() == expected


@pytest.mark.parametrize(
    "spoil",
    [
        AptRepo.unsign,
        AptRepo.tamper,
        lambda repo: repo.publish(timedelta(days=30)),
        lambda repo: repo.publish(timedelta(days=-3)),
    ],
    ids=["unsigned", "tampered", "expired", "of the future"],
)
def test_what_is_not_vouched_for(site: Site, spoil: Callable[[AptRepo], None]) -> None:
    before = site.lock()
    site.repo.add("app", "2", files=PROGRAM)
    site.repo.publish()
    spoil(site.repo)
    result = site.run("lock", "app", "--update")
    require_told(result, "source tiny")
    told = site.run("lock", "app", "--update", "--json").json
    assert told["error"] == "source"
    assert site.lock() == before
    site.repo.publish()
    site.works("lock", "app", "--update")
    assert '"app", "2"' in site.lock()


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of this many bytes."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no mounts")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def large(site: Site) -> dict[str, str]:
    """A new app that neither shrinks nor is in the site's cache: what its build gives."""
    site.repo.add("app", "2", files={"usr/share/app": random.Random(3).randbytes(8 << 20).decode("latin1")})
    site.repo.publish()
    return site.build(out="expected", cache=site.lock_elsewhere())


def test_a_full_cache(site: Site, tmp_path: Path) -> None:
    expected = large(site)
    used = sum(path.stat().st_blocks * 512 + 4096 for path in site.cache.rglob("*") if path.is_file())
    used += sum(4096 for path in site.cache.rglob("*") if not path.is_file())
    package = (site.mirror / "tiny/pool/stable/app_2_all.deb").stat().st_size
    with small_disk(tmp_path / "disk", used + package // 2) as disk:
        subprocess.run(["cp", "-a", site.cache, disk / "cache"], check=True)
        site.cache = disk / "cache"
        # No room for the package; none for its layer.
        for more in (0.5, 1.3):
            size = used + int(package * more)
            subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)
            result = site.run("build", "app")
            require_told(result, "No space left on device", str(disk))
            assert not (site.folder / "out").exists()
            site.run("list")
            require_tidy(site)
        subprocess.run(["mount", "-o", "remount,size=1g", disk], check=True)
        assert site.build() == expected


def test_a_full_output(site: Site, tmp_path: Path) -> None:
    expected = large(site)
    with small_disk(tmp_path / "disk", 4 << 20) as disk:
        result = site.run("build", "app", "--to", f"oci:{disk / 'out'}")
        require_told(result, "No space left on device", str(disk))
        assert list((disk / "out").rglob(".*")) == []
        assert not (disk / "out/index.json").exists()
        result = site.run("build", "app", "--to", f"oci-archive:{disk / 'app.tar'}")
        require_told(result, "No space left on device", str(disk))
        assert {path.name for path in disk.iterdir()} == {"out"}
        subprocess.run(["mount", "-o", "remount,size=1g", disk], check=True)
        assert site.build(out=str(disk / "out")) == expected
        assert not validate.image(site.image(out=str(disk / "out")))


def test_no_room_for_a_state(site: Site, tmp_path: Path) -> None:
    """Room for what a script writes, but not for the layer of it."""
    data = "head -c 6000000 /dev/urandom > /var/lib/made"
    site.repo.add("app", "2", files=PROGRAM, postinst=f"#!/bin/sh\nset -e\n{data}\n")
    site.repo.publish()
    site.lock_elsewhere()
    with small_disk(tmp_path / "disk", 1 << 30) as disk:
        subprocess.run(["cp", "-a", site.cache, disk / "cache"], check=True)
        size = shutil.disk_usage(disk).used + (9 << 20)
        subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)
        site.cache = disk / "cache"
        result = site.run("build", "app", "--locked")
        require_told(result, "configuring app", "No space left on device")
        assert not (site.folder / "out").exists()
        require_tidy(site)
        subprocess.run(["mount", "-o", "remount,size=1g", disk], check=True)
        site.build()


def test_no_room_for_a_lock(site: Site, tmp_path: Path) -> None:
    site.repo.add("app", "2", files=PROGRAM)
    site.repo.publish()
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        subprocess.run(["cp", "-a", site.folder, disk / "work"], check=True)
        with contextlib.suppress(OSError), (disk / "full").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        lock = disk / "work/repos/app/lock.yaml"
        before = lock.read_text()
        result = site.run("lock", "app", "--update", cwd=disk / "work")
        require_told(result, "lock.yaml", "No space left on device")
        assert lock.read_text() == before
        assert {path.name for path in lock.parent.iterdir()} == {"component.yaml", "lock.yaml"}
        (disk / "full").unlink()
        result = site.run("lock", "app", "--update", cwd=disk / "work")
        assert result.code == 0, result.errors
        assert '"app", "2"' in lock.read_text()


def test_a_clock_in_the_past(site: Site) -> None:
    expected = site.build(out="expected")
    result = site.run(
        "build", "app", "--locked", "--to", "oci:again", "--json", under=("faketime", "2001-02-03 04:05:06")
    )
    assert result.code == 0, result.errors
    assert {one["image"]: one["digest"] for one in result.json["images"]} == expected
    assert site.build(out="again") == expected


def test_a_full_temporary_folder(site: Site, tmp_path: Path) -> None:
    expected = large(site)
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        (disk / "full").write_bytes(bytes((1 << 20) - 4096 * 4))
        site.env["TMPDIR"] = str(disk)
        result = site.run("build", "app", "--json")
        if result.code:
            assert "No space left on device" in result.json["message"] + result.output
            assert str(disk) in result.output
        assert {path.name for path in disk.iterdir()} == {"full"}
        require_tidy(site)
        del site.env["TMPDIR"]
        assert site.build() == expected


@pytest.mark.parametrize(
    ("script", "members", "said"),
    [
        ("preinst", {"preinst": "#!/bin/sh\necho the reason; exit 7\n"}, "app: its preinst ended with 7"),
        ("postinst", {"postinst": "#!/bin/sh\necho the reason >&2; exit 7\n"}, "app: its postinst failed"),
        ("missing", {"postinst": "#!/bin/nothing\n"}, "app: its postinst"),
    ],
)  # fmt: skip
def test_a_failing_script(site: Site, script: str, members: dict[str, str], said: str) -> None:
    before = site.lock()
    site.repo.add("app", "2", files=PROGRAM, **members)  # type: ignore[arg-type]
    site.repo.publish()
    result = site.run("lock", "app", "--update")
    assert result.code == 1
    assert said in result.errors
    if script != "missing":
        assert "  | the reason" in result.errors
    assert "Traceback" not in result.errors
    assert site.lock() == before
    require_tidy(site)
    # What is locked still builds.
    site.build()


def test_a_failing_trigger(site: Site) -> None:
    script = '#!/bin/sh\n[ "$1" != triggered ] || { echo the reason; exit 7; }\n'
    site.repo.add("watcher", triggers="interest /usr/share/watched\n", postinst=script)
    site.repo.add("app", "2", files={**PROGRAM, "usr/share/watched/app": ""})
    site.repo.publish()
    stack(site, "watcher")
    result = site.run("lock", "app", "--update")
    assert result.code == 1
    assert "watcher: its postinst failed" in result.errors
    assert "  | the reason" in result.errors
    require_tidy(site)


@pytest.mark.parametrize(("way", "variable"), [("docker", "DOCKER_HOST"), ("podman", "CONTAINER_HOST")])
def test_a_missing_engine(site: Site, way: str, variable: str) -> None:
    result = site.run("build", "app", "--to", f"{way}:", env={variable: f"unix://{site.folder}/nobody.sock"})
    require_told(result, f"{way} does not answer")


def test_a_layout_that_cannot_be_written(site: Site) -> None:
    (site.folder / "out").write_text("a file\n")
    require_told(site.run("build", "app"), "out", code=2)
    assert (site.folder / "out").read_text() == "a file\n"
