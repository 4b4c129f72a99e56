"""An OpenStack that begins: database, messages, cache and identity from our images, and the command line to ask them."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kit.fleet import Fleet
from tests.kit.rendering import SERVICES, password, rendered
from tests.kit.running import Running, Site

REGION = "RegionOne"
ADMIN = {
    "OS_AUTH_URL": SERVICES["identity"].url,
    "OS_USERNAME": "admin",
    "OS_PASSWORD": password("admin"),
    "OS_PROJECT_NAME": "admin",
    "OS_USER_DOMAIN_ID": "default",
    "OS_PROJECT_DOMAIN_ID": "default",
    "OS_IDENTITY_API_VERSION": "3",
    "OS_REGION_NAME": REGION,
}


@dataclass(slots=True)
class Cloud:
    """Its services by name, and how to add more."""

    site: Site
    fleet: Fleet
    images: dict[str, str]
    running: dict[str, Running] = field(default_factory=dict)

    @classmethod
    def begin(cls, site: Site, fleet: Fleet) -> Cloud:
        """Start database, messages, cache and identity, each by its own steps."""
        images = fleet.load(site.engine, "mariadb", "rabbitmq", "memcached", "keystone", "openstack-client")
        cloud = cls(site, fleet, images)
        site.step(images["mariadb"], "init")
        cloud.start("mariadb")
        cloud.start("memcached")
        told = {"RABBITMQ_DEFAULT_USER": "nova", "RABBITMQ_DEFAULT_PASS": password("nova")}
        cloud.start("rabbitmq", env=told)
        cloud.running["mariadb"].healthy()
        cloud.database("keystone")
        config = cloud.config("keystone")
        for step in ("db-sync", "fernet-setup"):
            site.step(images["keystone"], step, config=config)
        cloud.user("admin", "admin")
        cloud.start("keystone", config=config)
        for one in cloud.running.values():
            one.healthy()
        return cloud

    def start(self, image: str, **more: Any) -> Running:
        """Start one more service; see ``Site.start``."""
        self.running[image] = self.site.start(self.images[image], image, **more)
        return self.running[image]

    def config(self, image: str) -> dict[str, str]:
        """The configuration that an image expects, from its templates."""
        component = f"repos/{image.partition('-')[0]}"
        paths = [
            path for path, told in self.site.declared(self.images[image]).files.items() if not told.get("optional")
        ]
        site = self.fleet.site / component / "templates"
        return {path: rendered(site / f"{Path(path).name}.j2") for path in paths}

    def database(self, *names: str, user: str | None = None) -> None:
        """Make databases, each of the user of its name or of the one given."""
        sql = ""
        for name in names:
            owner = user or name
            sql += f"create database {name}; create user if not exists '{owner}'@'%' identified by '{password(owner)}';"
            sql += f"grant all on {name}.* to '{owner}'@'%';"
        self.running["mariadb"].exec("mariadb", "--execute", sql)

    def query(self, sql: str) -> list[str]:
        """The rows that the database answers."""
        return self.running["mariadb"].exec("mariadb", "--batch", "--skip-column-names", "--execute", sql).splitlines()

    def user(self, name: str, project: str) -> None:
        """Make a user with the role admin in a project, by keystone's own step."""
        url = SERVICES["identity"].url
        env = {
            "OS_BOOTSTRAP_USERNAME": name,
            "OS_BOOTSTRAP_PASSWORD": password(name),
            "OS_BOOTSTRAP_PROJECT_NAME": project,
            "OS_BOOTSTRAP_REGION_ID": REGION,
            **{f"OS_BOOTSTRAP_{kind}_URL": url for kind in ("PUBLIC", "INTERNAL", "ADMIN")},
        }
        self.site.step(self.images["keystone"], "bootstrap", config=self.config("keystone"), env=env)

    def join(self, name: str, kind: str, url: str, *, messages: bool = True) -> None:
        """Give a component its database, its accounts and its place in the catalogue."""
        self.database(name)
        if messages:
            self.running["rabbitmq"].exec("rabbitmqctl", "add_user", name, password(name))
            self.running["rabbitmq"].exec("rabbitmqctl", "set_permissions", name, ".*", ".*", ".*")
        self.user(name, "service")
        self.openstack("service", "create", "--name", name, kind)
        self.openstack("endpoint", "create", "--region", REGION, kind, "public", url)

    def ask(
        self, image: str, port: str, path: str, told: object = None, *, method: str | None = None, **headers: str
    ) -> Any:
        """What an API answers to the administrator."""
        data = told if isinstance(told, bytes) or told is None else json.dumps(told).encode()
        kind = "application/octet-stream" if isinstance(told, bytes) else "application/json"
        headers |= {"X-Auth-Token": self.openstack("token", "issue")["id"], "Content-Type": kind}
        url = self.running[image].url(port, path)
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def openstack(self, *words: str) -> Any:
        """What the command line answers, as plain data."""
        told = self.site.run(self.images["openstack-client"], "openstack", *words, "-f", "json", env=ADMIN)
        return json.loads(told)
