#!/usr/bin/python3
"""Makes what a file lists, where it is not there yet, in the identity service of the cloud that $OS_CLOUD names.

identity-entries FILE
"""

import sys

import openstack
import yaml
from keystoneauth1.exceptions import Unauthorized
from keystoneauth1.identity import v3
from keystoneauth1.session import Session

DOMAIN = "default"


def main(path: str) -> None:
    with open(path) as stream:
        told = yaml.safe_load(stream)
    cloud = openstack.connect()
    identity = cloud.identity
    project = one(identity.projects(name=told["project"], domain_id=DOMAIN)) or done(
        identity.create_project(name=told["project"], domain_id=DOMAIN)
    )
    for user in told["users"]:
        make_user(cloud, project, **user)
    region = told["region"]
    if not any(each.id == region for each in identity.regions()):
        done(identity.create_region(id=region))
    for service in told["services"]:
        make_service(identity, region, **service)


def make_user(cloud, project, name: str, password: str, roles: list[str]) -> None:
    identity = cloud.identity
    user = one(identity.users(name=name, domain_id=DOMAIN)) or done(
        identity.create_user(name=name, domain_id=DOMAIN, password=password)
    )
    # To set it anew, even the same, ends all tokens of the user.
    if not lets_in(cloud.config.auth["auth_url"], user.id, password):
        done(identity.update_user(user, password=password))
    for name in roles:
        role = one(identity.roles(name=name)) or done(identity.create_role(name=name))
        identity.assign_project_role_to_user(project, user, role)


def lets_in(auth_url: str, user: str, password: str) -> bool:
    try:
        Session(v3.Password(auth_url, user_id=user, password=password, unscoped=True)).get_token()
    except Unauthorized:
        return False
    return True


def make_service(identity, region: str, type: str, name: str, urls: dict[str, str]) -> None:
    service = one(identity.services(type=type, name=name)) or done(identity.create_service(type=type, name=name))
    for interface, url in urls.items():
        there = one(identity.endpoints(service_id=service.id, interface=interface, region_id=region))
        if there is None:
            done(identity.create_endpoint(service_id=service.id, interface=interface, region_id=region, url=url))
        elif there.url != url:
            done(identity.update_endpoint(there, url=url))


def one(found):
    return next(iter(found), None)


def done(made):
    """What was made or changed, which is told: by its kind and name, never with a secret."""
    print(type(made).__name__.lower(), getattr(made, "url", None) or made.name or made.id, flush=True)
    return made


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
