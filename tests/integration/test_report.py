"""``imgbuild report``: the page, as a browser shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.integration.test_record import commit, git
from tests.kit import browser as browser_
from tests.kit.distribution import Site

pytestmark = [pytest.mark.integration, pytest.mark.sampled(4)]

PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}
CONTRAST = """() => {
  // Of every element with text of its own: how far it stands out from what lies behind it (WCAG 2.2, 1.4.3).
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const found = numbers(getComputedStyle(element).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const bad = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const pair = [light(numbers(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) bad.push(`${element.tagName} ${element.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return bad;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    with browser_.started() as found:
        yield found


@pytest.fixture
def report(site: Site) -> Path:
    """The page of a site with an image, a flaw with a fix and one without."""
    site.edit("imgbuild.yaml", "workspace: site\n", "workspace: site\nfeeds: [tracker.json]\n")
    told = {"repositories": {}, "urgency": "high"}
    fixed = {"releases": {"stable": {**told, "status": "resolved", "fixed_version": "9"}}, "description": "<b>bad</b>"}
    waits = {"releases": {"stable": {**told, "status": "open", "urgency": "low"}}, "description": "less bad " * 30}
    (site.folder / "tracker.json").write_text(json.dumps({"app": {"CVE-2026-1": fixed, "CVE-2026-2": waits}}))
    site.works("build", "--all")
    said = site.works("report", "--json").json
    assert said == {"report": "report.html", "images": 1, "open": 2}
    return site.folder / "report.html"


@pytest.fixture
def past(site: Site) -> Path:
    """The page of a site with three releases in its record: the second has a fix, the third another one and what came along."""
    site.env["IMGBUILD_RECORD"] = str(site.folder.parent / "record.sqlite")
    site.edit("imgbuild.yaml", "workspace: site\n", "workspace: site\nfeeds: [tracker.json]\n")
    site.edit("repos/app/component.yaml", "version: {from: apt/app}", 'version: "1.0"')
    git(site.folder, "init", "-q", "-b", "main")
    told = {"repositories": {}, "urgency": "high", "status": "resolved"}
    site.works("lock", "app")
    commit(site, 1)
    for day, version, depends in ((11, "2", "tiny"), (26, "3", "more")):
        flaw = {"releases": {"stable": {**told, "fixed_version": version}}}
        file = site.folder / "tracker.json"
        before = json.loads(file.read_text()) if file.exists() else {"app": {}}
        file.write_text(json.dumps({"app": {**before["app"], f"CVE-2026-{version}": flaw}}))
        # What a feed says is known since it was read.
        site.run("security", "status", under=("faketime", "-f", f"@2026-01-{day - 4:02} 12:00:00"))
        site.repo.add("more", files={"usr/share/more": "more\n"})
        site.repo.add("app", files={"usr/bin/app": f"#!/bin/sh\n# {version}\n"}, version=version, depends=depends)
        site.repo.publish()
        site.works("lock", "app", "--update")
        commit(site, day)
    site.works("report")
    return site.folder / "report.html"


def opened(browser: Browser, path: Path, size: dict[str, int], scheme: str = "light") -> Page:
    """The page in a window of a size; anything that it asks for, or complains of, is an error."""
    page = browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
    wrong: list[str] = []
    page.on("request", lambda request: wrong.append(request.url) if request.url != path.as_uri() else None)
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(path.as_uri())
    assert wrong == []
    return page


def test_what_a_person_does(browser: Browser, report: Path) -> None:
    page = opened(browser, report, DESK)
    assert page.title().startswith("site: images and advisories")
    rows = page.locator("#flaws tbody tr")
    assert rows.count() == 2
    # By the keyboard alone: past what stands above, to the search, and into an image.
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.get_by_label("Find").focus()
    page.keyboard.type("cve-2026-2")
    assert page.locator("#flaws tbody tr:visible").count() == 1
    assert page.get_by_role("status").inner_text() == "1 of 2"
    page.get_by_label("Find").fill("")
    page.get_by_label("At least").select_option("high")
    assert page.locator("#flaws tbody tr:visible").inner_text().startswith("CVE-2026-1")
    image = page.locator("#image-app")
    image.locator("> summary").focus()
    page.keyboard.press("Enter")
    assert image.get_attribute("open") is not None
    assert "app 1" in image.inner_text()
    # The table of the fleet leads to the image, and opens it.
    page.keyboard.press("Enter")
    assert image.get_attribute("open") is None
    page.locator("#fleet a").click()
    assert image.get_attribute("open") is not None
    assert "<b>bad</b>" in page.locator("#open").inner_text()


def test_what_became_of_fixes(browser: Browser, past: Path) -> None:
    page = opened(browser, past, DESK)
    image = page.locator("#image-app")
    image.locator("> summary").click()
    shown = image.locator("h3 + ul > li")
    assert [" ".join(one.split()) for one in shown.all_inner_texts()] == [
        "1.0-r3, 2026-01-26: app 2 → 3, more 1 is new", "1.0-r2, 2026-01-11: app 1 → 2", "1.0-r1, 2026-01-01",
    ]  # fmt: skip
    page.get_by_role("link", name="Time to release").click()
    months = page.locator("#months tbody tr")
    assert [months.nth(0).locator(cell).inner_text() for cell in ("th", "td >> nth=0", "td >> nth=1")] == [
        "2026-01", "2", "3.0",
    ]  # fmt: skip
    beam = months.nth(0).locator(".beam").bounding_box()
    assert beam
    assert beam["width"] > 100
    phone = opened(browser, past, PHONE, "dark")
    phone.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    assert phone.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert phone.evaluate(CONTRAST) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_it_can_be_read(browser: Browser, report: Path, size: dict[str, int], scheme: str, tmp_path: Path) -> None:
    page = opened(browser, report, size, scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 200) == (scheme == "dark")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.evaluate(CONTRAST) == []
    page.screenshot(path=tmp_path / "page.png", full_page=True)


def test_it_is_read_without_scripts(browser: Browser, report: Path) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(report.as_uri())
    assert page.locator("#flaws tbody tr:visible").count() == 2
    assert not page.locator("form").is_visible()
