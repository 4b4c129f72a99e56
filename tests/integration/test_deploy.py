"""``imgbuild deploy render``: a site's file, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.kit import documents
from tests.kit.distribution import Site
from tests.kit.project import ROOT, imgbuild, project

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
        ("values:", "ingress: {app: {host: a.example, port: http}}\nvalues:", "app declares no port 'http'", "serving"),
        (
            "values:",
            "images: {app: {storage: {data: 1Gi}}}\nvalues:",
            "site.yaml:4:26: error: app has no volume 'data'",
            "",
        ),
        (
            "values:",
            "topology: {one: {runs: [ap]}}\nvalues:",
            "site.yaml:4:25: error: 'ap' does not run at this site",
            "'app'",
        ),
        ("values:", "topology: {one: {except: [app]}}\nvalues:", "in no group of hosts: app", "`runs` of a group"),
        ("values:", "topology: {one: {nodes: role}}\nvalues:", "expected labels of nodes, such as role=compute", ""),
        ("values:", "topology: {one: {tolerates: [a:b]}}\nvalues:", "expected a taint as kubectl names it", ""),
        (
            "values:",
            "ingress: {app: {host: a.example, gateway: public, tls: cert}}\nvalues:",
            "site.yaml:4:56: error: 'tls' is an Ingress's: a Gateway has its own",
            "leave out 'tls', or `gateway`",
        ),
    ],
)
def test_what_is_wrong_is_told_at_its_place(old: str, new: str, message: str, hint: str, deployed: Site) -> None:
    deployed.edit("site.yaml", old, new)
    found = deployed.run("deploy", "render", "site.yaml", "--format", "compose", "--secrets", "secrets.yaml")
    assert (found.code, message in found.errors, hint in found.errors) == (2, True, True), found.errors
    assert not (deployed.folder / "rendered").exists()
    assert not (deployed.folder / "secrets.yaml").exists()


_NEUTRON = ROOT / "repos/neutron/component.yaml"
KUBERNETES = ("deploy", "render", ".", "--kubernetes", "1.31")


def test_objects_for_kubernetes(deployed: Site) -> None:
    deployed.edit("repos/app/component.yaml", "run: {", "run: {volumes: {data: /data}, ")
    deployed.works("lock", "app")
    told = deployed.works(*KUBERNETES)
    objects = {f"{one['kind']}/{one['metadata']['name']}": one for one in yaml.safe_load_all(told.output)}
    (app,) = objects["StatefulSet/app"]["spec"]["template"]["spec"]["containers"]
    assert (app["command"], app["image"].partition("-r")[0]) == (["app"], "app:1")
    assert objects["Namespace/home"]["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "imgbuild"
    # Secrets are left out, and it is said what they want.
    assert not [name for name in objects if name.startswith("Secret/")]
    assert "left out without --secrets FILE: Secret app-secret-config-" in told.errors
    assert "which wants identity-app" in told.errors
    assert "no release is known of 1 image (app:1-r3): it goes by its tag\n" in told.errors
    assert deployed.works(*KUBERNETES).output == told.output
    # What was built is known by its digest, from the record or from a layout.
    digest = deployed.build("app", out="elsewhere")["app"]
    for words in ((*KUBERNETES,), (*KUBERNETES, "--layout", "elsewhere")):
        found = deployed.works(*words, "--secrets", "secrets.yaml", "--json")
        assert found.json["images"]["app"].endswith(f"@{digest}")
        assert (found.json["unreleased"], "by its tag" in found.errors) == ([], False)
    other = deployed.run(*KUBERNETES, "--layout", "elsewhere", cache=deployed.another_cache())
    assert f"@{digest}" in other.output
    secrets = yaml.safe_load((deployed.folder / "secrets.yaml").read_text())
    assert list(secrets) == ["identity-app"]
    assert "Secret" in [one["kind"] for one in found.json["objects"]]


def test_images_without_a_release_are_told_in_one_line(deployed: Site) -> None:
    more = {}
    for name in ("five", "four", "one", "two"):
        said = {"summary": name, "extends": "tiny ^1.0", "run": {"command": [name], "user": "root"}}
        component = {"dsl": 1, "component": name, "summary": name, "version": "1", "images": {name: said}}
        more[f"repos/{name}/component.yaml"] = yaml.safe_dump(component)
    project(deployed.folder, more)
    deployed.works("lock", "--all")
    deployed.edit("site.yaml", "[app]", "[app, one, two, four, five]")
    told = deployed.works(*KUBERNETES, "--json")
    assert "of 5 images (app:1-r2, one:1-r1, two:1-r1 …): they go by their tags\n" in told.errors
    assert told.errors.count("tag") == 1
    assert len(told.json["unreleased"]) == 5


def test_a_gateway_and_nodes_with_taints(deployed: Site) -> None:
    deployed.edit(
        "site.yaml",
        "values:",
        "topology: {all: {tolerates: [edge]}}\ningress: {app: {host: a.example, gateway: edge/public}}\nvalues:",
    )
    objects = {one["kind"]: one for one in deployed.works(*KUBERNETES, "--json").json["objects"]}
    assert objects["HTTPRoute"]["spec"]["parentRefs"] == [{"name": "public", "namespace": "edge"}]
    assert objects["Deployment"]["spec"]["template"]["spec"]["tolerations"] == [{"key": "edge", "operator": "Exists"}]


def test_several_share_a_volume_where_its_definition_says_so(deployed: Site) -> None:
    deployed.edit("repos/app/component.yaml", "run: {", "run: {volumes: {data: {path: /data, shared: true}}, ")
    deployed.edit("repos/app/component.yaml", "version:", 'back_to: "0.9"\nversion:')
    deployed.works("lock", "app")
    deployed.edit("site.yaml", "values:", "images: {app: {replicas: 2}}\nvalues:")
    objects = {one["kind"]: one for one in deployed.works(*KUBERNETES, "--json").json["objects"]}
    assert "StatefulSet" not in objects
    assert objects["Deployment"]["spec"]["replicas"] == 2
    assert objects["Deployment"]["metadata"]["annotations"]["imgbuild.org/back-to"] == "0.9"
    assert objects["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]


def test_objects_in_files(deployed: Site) -> None:
    words = (*KUBERNETES, "--secrets", "secrets.yaml", "--to", "objects")
    first = deployed.works(*words).output.splitlines()
    (secret,) = (deployed.folder / name for name in first if "-secret-" in name)
    assert secret.stat().st_mode & 0o777 == 0o600
    mine = deployed.folder / "objects/kustomization.yaml"
    mine.write_text("resources: []\n")
    before = _texts(deployed.folder / "objects")
    assert deployed.works(*words).output.splitlines() == first
    assert _texts(deployed.folder / "objects") == before
    # What is rendered no more is gone, what somebody else wrote is not.
    deployed.edit("site.yaml", "greeting: hello", "greeting: moin")
    deployed.works(*words)
    assert (secret.exists(), mine.exists()) == (False, True)


@pytest.mark.parametrize(
    ("old", "new", "words", "message"),
    [
        ("values:", "values:", ("--kubernetes", "1.2"), "no release of Kubernetes that is known here"),
        ("values:", "values:", ("--layout", "repos"), "repos is no OCI layout"),
        ("values:", "images: {app: {replicas: 2}}\nvalues:", (), "app keeps data: several of it would share that"),
    ],
)
def test_what_is_wrong_for_kubernetes(old: str, new: str, words: tuple[str, ...], message: str, deployed: Site) -> None:
    deployed.edit("repos/app/component.yaml", "run: {", "run: {volumes: {data: /data}, ")
    deployed.works("lock", "app")
    deployed.edit("site.yaml", old, new)
    found = deployed.run("deploy", "render", "site.yaml", *words)
    assert (found.code, message in found.errors, found.output) == (2, True, ""), found.errors


def test_what_is_needed_must_be_there(deployed: Site) -> None:
    other = {"summary": "a database", "extends": "tiny ^1.0", "run": {"command": ["app"], "user": "root"}}
    store = {"dsl": 1, "component": "store", "summary": "a store", "version": "1", "provides": ["storage"]}
    more = {"repos/store/component.yaml": yaml.safe_dump({**store, "images": {"store": other}})}
    project(deployed.folder, more)
    deployed.edit("repos/app/component.yaml", "version:", "needs: [storage, identty]\nversion:")
    found = deployed.run("deploy", "render", ".", "--format", "compose", "--secrets", "secrets.yaml")
    assert found.code == 2
    assert "site.yaml:3:14: error: app needs 'storage', and nothing at this site provides it" in found.errors
    assert "add store to `components`, or its address under `services`: {storage: …}" in found.errors
    assert "app needs 'identty'" in found.errors
    assert "did you mean 'identity'?" in found.errors
    # An address will do.
    deployed.edit("repos/app/component.yaml", "needs: [storage, identty]", "needs: [storage, identity]")
    deployed.edit("site.yaml", "services: {", 'services: {storage: "nfs://files.example", ')
    deployed.works("deploy", "render", ".", "--format", "compose", "--secrets", "secrets.yaml")


def test_where_values_come_from(deployed: Site) -> None:
    deployed.edit("repos/app/component.yaml", "version:", "values: {greeting: hi, token: abc}\nversion:")
    deployed.edit("site.yaml", "values:", "topology: {a: {}, b: {values: {greeting: moin}}}\nvalues:")
    told = deployed.works("deploy", "config", ".", "app", "--rendered").output
    assert '  "greeting": "hello"  # site.yaml:5, in place of repos/app/component.yaml:5\n' in told
    assert '  "greeting": "moin"  # site.yaml:4, in place of site.yaml:5, repos/app/component.yaml:5\n' in told
    assert "    greeting = moin\n    login = https://app:MASKED@id.example/v3\n" in told
    assert "secrets: [identity-app]\n" in told
    one, two = deployed.works("deploy", "config", ".", "--json").json
    assert [one["group"], two["group"]] == ["a", "b"]
    assert one["values"]["token"] == {"value": "MASKED", "place": "repos/app/component.yaml:5", "over": []}
    assert two["files"] == ["/etc/app.conf"]
    assert (one["image"], one["services"]) == ("app/app", {})
    wrong = deployed.run("deploy", "config", ".", "ap")
    assert (wrong.code, "did you mean 'app'?" in wrong.errors) == (2, True)


def test_what_a_site_gives_beside_configuration(deployed: Site) -> None:
    deployed.edit(
        "repos/app/component.yaml",
        "config: {",
        "beside: {/etc/accounts: accounts.j2}\n    given: {GREETING: \"{{ value('greeting') }}\"}\n    "
        "steps: {init: {command: [app], given: {A: \"{{ secret('a') }} $\"}}}\n    config: {",
    )
    listing = "{% for one in accounts('serving') %}{{ one.name }}:{{ one.password }}\n{% endfor %}"
    template = "{{ service('serving').account('me').url }}\n"
    project(deployed.folder, {"repos/app/accounts.j2": listing, "repos/app/app.conf.j2": template})
    deployed.works("lock", "app")
    deployed.works("deploy", "render", ".", "--format", "compose", "--secrets", "secrets.yaml")
    secrets = yaml.safe_load((deployed.folder / "secrets.yaml").read_text())
    accounts = deployed.folder / "rendered/config/app/etc/accounts"
    assert accounts.read_text() == f"me:{secrets['serving-me']}\n"
    assert (accounts.stat().st_uid, accounts.stat().st_gid, accounts.stat().st_mode & 0o777) == (0, 8000, 0o640)
    services = yaml.safe_load((deployed.folder / "rendered/compose.yaml").read_text())["services"]
    assert services["app"]["environment"] == {"GREETING": "hello"}
    assert services["app-init"]["environment"] == {"GREETING": "hello", "A": f"{secrets['a']} $$"}
    deployed.edit("repos/app/component.yaml", "value('greeting')", "value('greting')")
    wrong = deployed.run("deploy", "render", ".", "--format", "compose", "--secrets", "secrets.yaml")
    assert (wrong.code, "component.yaml:" in wrong.errors, "no value 'greting'" in wrong.errors) == (2, True, True)
    # None of it is in the image.
    assert "GREETING" not in deployed.works("plan", "app", "--json").output


@pytest.mark.parametrize("form", ["compose", "quadlet"])
def test_what_only_a_pod_knows_is_not_handed_to_an_engine(form: str, tmp_path: Path) -> None:
    """Neutron's agent asks for the address of its host."""
    said = {
        "dsl": 1,
        "site": "alone",
        "components": ["neutron/neutron-openvswitch-agent"],
        "services": dict.fromkeys(("database", "messages", "identity", "cache"), "https://there.example/"),
    }
    secrets, out = tmp_path / "secrets.yaml", tmp_path / "out"
    words = ("deploy", "render", str(tmp_path), "--format", form, "--secrets", str(secrets), "--to", str(out))
    project(tmp_path, {"site.yaml": yaml.safe_dump(said)})
    found = imgbuild(*words, cache=tmp_path / "cache")
    assert (found.code, secrets.exists(), out.exists()) == (2, False, False), found.errors
    line = next(n for n, text in enumerate(_NEUTRON.read_text().splitlines(), 1) if text.startswith("  local_ip:"))
    assert (
        f"neutron/component.yaml:{line}:13: error: neutron/neutron-openvswitch-agent asks for 'local_ip'"
        in found.errors
    )
    assert "only a pod of Kubernetes knows what $(HOST_IP) is" in found.errors
    assert "say it in the site's file: `values: {local_ip: …}`" in found.errors
    project(tmp_path, {"site.yaml": yaml.safe_dump({**said, "values": {"local_ip": "192.0.2.7"}})})
    told = imgbuild(*words, cache=tmp_path / "cache")
    assert told.code == 0, told.errors
    unit = out / ("compose.yaml" if form == "compose" else "neutron-openvswitch-agent.container")
    assert "192.0.2.7" in unit.read_text()


def test_a_command_that_names_what_only_a_pod_knows(deployed: Site) -> None:
    deployed.edit("repos/app/component.yaml", "command: [app]", "command: [app, '--at=$(POD_IP)']")
    deployed.works("lock", "app")
    assert "--at=$(POD_IP)" in deployed.works(*KUBERNETES).output
    found = deployed.run("deploy", "render", ".", "--format", "compose", "--secrets", "secrets.yaml")
    assert found.code == 2
    assert "error: app/app names $(POD_IP), and only a pod of Kubernetes knows that" in found.errors


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


def test_secrets_that_only_a_cluster_has(deployed: Site) -> None:
    deployed.edit("site.yaml", "values:", "secrets: {identity-app: {secret: app, key: password}}\nvalues:")
    told = deployed.works(*KUBERNETES, "--secrets", "secrets.yaml")
    assert (
        "left out since only the cluster knows identity-app (app/password), where `deploy apply` reads it"
        in told.errors
    )
    assert "Secret" not in {one["kind"] for one in yaml.safe_load_all(told.output)}
    assert not (deployed.folder / "secrets.yaml").exists()
    host = deployed.run("deploy", "render", ".", "--format", "compose", "--secrets", "secrets.yaml")
    assert (host.code, "only a cluster has these secrets, and none is asked: identity-app" in host.errors) == (2, True)
    deployed.edit("site.yaml", "secrets: {identity-app:", "secrets: {identity-ap:")
    wrong = deployed.run(*KUBERNETES)
    assert (wrong.code, "site.yaml:4:11: error: no template of this site asks for the secret" in wrong.errors) == (
        2,
        True,
    )
    assert "'identity-app'" in wrong.errors


def test_a_lock_that_does_not_fit_is_told(deployed: Site) -> None:
    deployed.edit("repos/app/component.yaml", "command: [app]", "command: [app, --more]")
    found = deployed.run("deploy", "render", "site.yaml", "--format", "compose", "--secrets", "secrets.yaml")
    assert (found.code, "run `imgbuild lock app`" in found.errors) == (1, True), found.errors


def _texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_guide_is_followed_as_far_as_no_cluster_is_needed(tmp_path: Path) -> None:
    """docs/deploy.md: its first block; the others are run by tests/e2e/test_kubernetes.py."""
    for name in ("imgbuild.yaml", "layers", "repos", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    script = documents.BLOCK.findall((ROOT / "docs/deploy.md").read_text())[0]
    assert "| kubectl apply -f -" in script
    told = documents.run(script.replace("| kubectl apply -f -", "> objects.yaml"), tmp_path, tmp_path / "cache", {})
    objects = list(yaml.safe_load_all((tmp_path / "objects.yaml").read_text()))
    assert {one["kind"] for one in objects} >= {"Namespace", "Secret", "Job", "StatefulSet", "Deployment", "DaemonSet"}
    # Without --secrets no Secret is written, and else the same.
    files = {
        path.name.partition("-")[2].partition("-")[2].partition("-")[0] for path in (tmp_path / "rendered").iterdir()
    }
    assert files == {one["kind"].lower() for one in objects} - {"secret"}
    assert "nova/nova-api" in told
    secrets = yaml.safe_load((tmp_path / "secrets.yaml").read_text())
    assert not any(str(secret) in told for secret in secrets.values())
