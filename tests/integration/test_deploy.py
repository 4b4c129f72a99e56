"""``imgbuild deploy render``: a site's file, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.kit.distribution import Site
from tests.kit.project import project

pytestmark = pytest.mark.integration

SITE = """\
dsl: 1
site: home
components: [app]
values: {greeting: hello}
services: {identity: "https://id.example/v3"}
"""
TEMPLATE = """\
greeting = {{ value('greeting') }}
login = {{ service('identity').account('app').url }}
self = {{ service('serving').url }}
"""


@pytest.fixture
def deployed(site: Site) -> Site:
    """The component with a template, locked, and a site's file."""
    site.edit(
        "repos/app/component.yaml",
        "run: {",
        "config: {/etc/app.conf: {template: app.conf.j2, mode: '0600'}}\n    run: {ports: {serving: 80}, ",
    )
    site.edit("repos/app/component.yaml", "version:", "provides: {serving: {path: /x}}\nversion:")
    project(site.folder, {"repos/app/app.conf.j2": TEMPLATE, "site.yaml": SITE})
    site.works("lock", "app")
    return site


def test_a_site_is_rendered(deployed: Site) -> None:
    words = ("deploy", "render", ".", "--format", "compose", "--secrets", "secrets.yaml", "--json")
    first = deployed.works(*words, "--to", "one")
    (image,) = first.json["images"].values()
    assert image.startswith("app:1-r")
    secrets = yaml.safe_load((deployed.folder / "secrets.yaml").read_text())
    assert list(secrets) == ["identity-app"]
    assert "made the secret identity-app" in first.errors
    config = deployed.folder / "one/config/app/etc/app.conf"
    login = f"https://app:{secrets['identity-app']}@id.example/v3"
    assert config.read_text() == f"greeting = hello\nlogin = {login}\nself = http://app:80/x\n"
    assert config.stat().st_mode & 0o777 == 0o600
    # The same input, the same bytes; what is rendered no more is gone.
    stale = deployed.folder / "one/config/app/etc/old.conf"
    stale.write_text("old")
    before = _texts(deployed.folder / "one")
    again = deployed.works(*words, "--to", "one")
    assert "made the secret" not in again.errors
    assert _texts(deployed.folder / "one") == {path: text for path, text in before.items() if "old.conf" not in path}


def test_images_come_from_the_registry(deployed: Site) -> None:
    deployed.edit("site.yaml", "site: home\n", "site: home\nregistry: registry.example/home/\n")
    made = deployed.works(
        "deploy", "render", "site.yaml", "--format", "quadlet", "--secrets", "s.yaml", "--to", "units"
    )
    assert "made the secret" in made.errors
    unit = (deployed.folder / "units/app.container").read_text()
    assert "\nImage=registry.example/home/app:1-r" in unit
    assert f"\nVolume={deployed.folder}/units/config/app/etc/app.conf:/etc/app.conf:ro\n" in unit


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        (
            "components: [app]",
            "components: [ap]",
            "site.yaml:3:14: error: there is no component or image 'ap'",
            "'app'",
        ),
        ("components: [app]", "components: []", "at least 1", ""),
        ("greeting: hello", "greting: hello", "app.conf.j2:1:1: error: the site has no value 'greeting'", "'greting'"),
        (
            "identity:",
            "identities:",
            "app.conf.j2:2:1: error: nothing at this site provides 'identity'",
            "'identities'",
        ),
        ("https://", "", "site.yaml:5:22: error: 'id.example/v3' is no address", ""),
        ("services: {", "services: {serving: {from: web}, ", "'web' does not provide 'serving'", "app"),
        ("values:", "publish: {app: {http: 80}}\nvalues:", "app declares no port 'http'", "serving"),
        ("values:", "publish: {web: {http: 80}}\nvalues:", "no image 'web' runs at this site", "app"),
        ("site: home", "site: home\nregion: x", "there is no key 'region'", ""),
    ],
)
def test_what_is_wrong_is_told_at_its_place(old: str, new: str, message: str, hint: str, deployed: Site) -> None:
    deployed.edit("site.yaml", old, new)
    found = deployed.run("deploy", "render", "site.yaml", "--format", "compose", "--secrets", "secrets.yaml")
    assert (found.code, message in found.errors, hint in found.errors) == (2, True, True), found.errors
    assert not (deployed.folder / "rendered").exists()
    assert not (deployed.folder / "secrets.yaml").exists()


def test_secrets_need_a_file(deployed: Site) -> None:
    found = deployed.run("deploy", "render", "site.yaml", "--format", "compose")
    assert (found.code, "wants secrets: identity-app" in found.errors, "--secrets FILE" in found.errors) == (
        2,
        True,
        True,
    )
    (deployed.folder / "secrets.yaml").write_text("identity-app: 7\n")
    wrong = deployed.run("deploy", "render", "site.yaml", "--format", "compose", "--secrets", "secrets.yaml")
    assert (wrong.code, "secrets.yaml:1:1" in wrong.errors) == (2, True), wrong.errors


def test_a_lock_that_does_not_fit_is_told(deployed: Site) -> None:
    deployed.edit("repos/app/component.yaml", "command: [app]", "command: [app, --more]")
    found = deployed.run("deploy", "render", "site.yaml", "--format", "compose", "--secrets", "secrets.yaml")
    assert (found.code, "run `imgbuild lock app`" in found.errors) == (1, True), found.errors


def _texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}
