"""``imgbuild security update`` that is killed: the next one does what is left, and tells all of it."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder import validate
from tests.integration.test_security_update import SECOND, day0, tracker
from tests.kit import repositories
from tests.kit.distribution import Site
from tests.kit.project import Running, mounts_with, running

pytestmark = [pytest.mark.integration, pytest.mark.sampled(3)]
__all__ = ["day0"]

UPDATE = ("security", "update", "--json")
LOCKS = ("layers/middle/lock.yaml", "repos/app/lock.yaml")
SLOW = "#!/bin/sh\nsleep 1\necho made > /etc/app\n"


class Story:
    """A site that a fix has come to, and what an update that nobody kills makes of it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        # What stands on the fix takes its time, when all locks are written.
        site.repo.add("app", "2", files={"usr/bin/app": "#!/bin/sh\n"}, postinst=SLOW)
        site.repo.publish()
        site.works("lock", "app", "--update")
        site.works("build", "app")
        (site.folder / ".gitignore").write_text("/out*/\n/tracker.json\n")
        self.texts = self.locks()
        shutil.copytree(site.folder / "out", site.folder / "out-begin")
        began = time.monotonic()
        self.told = site.works(*UPDATE, cache=site.another_cache()).json
        self.seconds = time.monotonic() - began
        self.expected = self.locks(), site.image().digest
        self.begin()

    def locks(self) -> dict[str, str]:
        """The lock files' texts."""
        return {name: (self.site.folder / name).read_text() for name in LOCKS}

    def begin(self) -> None:
        """As it was before the update."""
        for name, text in self.texts.items():
            (self.site.folder / name).write_text(text)
        shutil.rmtree(self.site.folder / "out")
        shutil.copytree(self.site.folder / "out-begin", self.site.folder / "out")

    def kill(self, reached: Callable[[Running], bool], cache: Path) -> None:
        """Kill an update at a moment."""
        with running(*UPDATE, cache=cache, cwd=self.site.folder, env=self.site.env) as run:
            run.until(lambda: reached(run))
            run.signal(signal.SIGKILL)
            run.end()
            assert run.left_over() == {}
        assert mounts_with(str(cache)) == []

    def finished(self, cache: Path) -> Any:
        """What the next one says, once all is as it had been if nobody had killed anything."""
        told = self.site.works(*UPDATE, cache=cache).json
        assert (self.locks(), self.site.image().digest) == self.expected
        assert not validate.image(self.site.image())
        assert self.site.works("lock", "--all", "--check", cache=cache).code == 0
        assert self.site.run("security", "status", cache=cache).code == 0
        again = self.site.works(*UPDATE, cache=cache).json
        assert (again["sources"], again["begun"], again["moved"], again["images"]) == ([], [], [], [])
        return told

    def require_all_told(self, told: Any) -> None:
        """That a report tells what that of the killed one would have told."""
        assert told["begun"] == ["app/app"]
        assert self.says_the_same(told)
        assert [row["advisory"] for row in told["closed"]] == ["CVE-2026-1"]
        assert [(one["before"], one["after"]) for one in told["images"]] == [("2-r1", "2-r2")]

    def says_the_same(self, told: Any) -> bool:
        """Whether a report is that of an update that nobody killed."""
        return bool(plain(told) == plain(self.told))

    def locked(self, _: Running) -> bool:
        """Whether the new locks are there."""
        return self.locks() != self.texts

    def configures(self, run: Running) -> bool:
        """Whether an image is being built of the new locks."""
        return self.locked(run) and run.runs("sleep")

    def written(self, _: Running) -> bool:
        """Whether the new image is there."""
        return "app:2-r2" in (self.site.folder / "out/index.json").read_text()


def plain(told: Any) -> Any:
    """A report without who began it, and without when a record first saw an advisory."""
    return {**told, "begun": [], "closed": [{**row, "since": ""} for row in told["closed"]]}


@pytest.fixture
def story(day0: Site) -> Story:
    """The site without git: what was before is known by the layout."""
    return Story(day0)


def committed(story: Story) -> None:
    """What was before is known by git."""
    repositories.made(story.site.folder)
    story.site.env |= repositories.SOMEBODY


@pytest.mark.parametrize("by_git", [False, True])
def test_killed_between_locks_and_build(by_git: bool, story: Story) -> None:
    if by_git:
        committed(story)
    cache = story.site.another_cache()
    story.kill(story.locked, cache)
    if by_git:
        # The layout of the release before is lost as well.
        shutil.rmtree(story.site.folder / "out")
    tried = story.site.works(*UPDATE, "--dry-run", cache=cache).json
    assert (tried["begun"], tried["images"]) == (["app/app"], [])
    report = story.site.works("security", "update", "--dry-run", cache=cache).output
    assert "not built by whoever did it, so it is told here as well: app/app." in report
    story.require_all_told(story.finished(cache))


def test_killed_while_building_and_the_store_is_lost(story: Story) -> None:
    committed(story)
    story.kill(story.configures, story.site.another_cache())
    story.require_all_told(story.finished(story.site.empty_cache()))


def test_killed_when_images_are_written(story: Story) -> None:
    committed(story)
    cache = story.site.another_cache()
    story.kill(story.written, cache)
    told = story.finished(cache)
    # The lock may have been told of it, as the last thing: then nothing is left to be done.
    assert told["begun"] in ([], ["app/app"])
    if told["begun"]:
        story.require_all_told(told)


def test_what_is_left_is_built_with_what_has_come_since(story: Story) -> None:
    site = story.site
    committed(story)
    cache = site.another_cache()
    story.kill(story.locked, cache)
    site.repo.add("other", "2.1", files={"usr/share/other": "other 2.1\n"})
    site.repo.publish()
    (site.folder / "tracker.json").write_text(tracker(("lib", "CVE-2026-1", "1.1"), ("other", "CVE-2026-2", "2.1")))
    # Whatever it is asked for.
    told = site.works(*UPDATE, "--only", "other", cache=cache).json
    assert {(one["package"], one["old"], one["new"]) for one in told["moved"]} == {
        ("lib", "1", "1.1"),
        ("other", "1", "2.1"),
    }
    assert {one["advisory"] for one in told["closed"]} == {"CVE-2026-1", "CVE-2026-2"}
    assert (told["sources"], told["begun"]) == (["lib", "other"], ["app/app"])
    assert [(one["before"], one["after"]) for one in told["images"]] == [("2-r1", "2-r3")]
    assert not validate.image(site.image())


def test_what_nobody_began_is_left_alone(story: Story) -> None:
    site = story.site
    site.works(*UPDATE)
    # One that is new, and one that somebody is working at.
    site.write({"repos/new/component.yaml": SECOND.replace("second", "new")})
    site.works("lock", "new")
    site.edit("repos/second/component.yaml", "apt: [app]", "apt: [app, adduser]")
    told = site.works(*UPDATE).json
    assert (told["begun"], told["images"]) == ([], [])
    assert "new:" not in (site.folder / "out/index.json").read_text()


@pytest.mark.full
def test_killed_at_many_moments(story: Story) -> None:
    committed(story)
    chance = random.Random(7)
    told_of_all = 0
    for _ in range(30):
        story.begin()
        cache = story.site.another_cache()
        with running(*UPDATE, cache=cache, cwd=story.site.folder, env=story.site.env) as run:
            time.sleep(chance.random() * story.seconds)
            run.signal(signal.SIGKILL)
            run.end()
            assert run.left_over() == {}
        assert mounts_with(str(cache)) == []
        told = story.finished(cache)
        told_of_all += story.says_the_same(told)
    # But for those that were killed when everything was done.
    assert told_of_all > 20
