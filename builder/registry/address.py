"""What images are called in registries (distribution-spec, "Pulling manifests": ``<name>`` and ``<reference>``)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from builder.errors import UsageError
from dsl.naming import Names

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:]+\]|[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?)(?::(?P<port>[0-9]{1,5}))?")
_HUB = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}
_FORM = "it is HOST[:PORT]/NAME[:TAG], as registry.example:5000/openstack/nova-api:31.0.0-r3"


@dataclass(frozen=True, slots=True, order=True)
class Host:
    """A registry.

    Attributes:
        name: ``registry.example:5000``.
        plain: it is spoken to without TLS.
    """

    name: str
    plain: bool = field(default=False, compare=False)

    @property
    def api(self) -> str:
        """Where it answers; for Docker Hub that is another name."""
        return _HUB.get(self.name, self.name)

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine: then it need not have TLS."""
        found = _HOST.fullmatch(self.name)
        name = found["name"].strip("[]") if found else ""
        if name == "localhost":
            return True
        import ipaddress

        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Address:
    """A repository of a registry, or the beginning of some of them, perhaps with a tag or a digest.

    Attributes:
        path: ``openstack/nova-api``, or ``openstack`` as the beginning of several; empty for all.
        whole: the path names one repository: it does not end with a slash.
    """

    host: Host
    path: str
    tag: str = ""
    digest: str = ""
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Home:
    """Where releases lie in a registry, and what they are called there."""

    address: Address
    names: Names

    def repository(self, component: str, image: str) -> str:
        """The repository of an image."""
        return self.names.repository(self.address.path, component, image)

    def __str__(self) -> str:
        """What the names of all of them begin with."""
        return f"{'http://' if self.address.host.plain else ''}{self.address.host}/"


def parse(text: str) -> Address:
    """An address from the command line or a workspace.

    Raises:
        UsageError: it is none. What could be a password in it is not told.
    """
    scheme, mark, rest = text.rpartition("://")
    if mark and scheme not in ("http", "https"):
        raise UsageError("a registry's address begins with its host", _FORM)
    host, _, path = rest.partition("/")
    if "@" in host:
        raise UsageError(
            "a registry's address has no user or password in it",
            "`docker login HOST` or `podman login HOST` keeps them",
        )
    if not _is_host(host):
        raise UsageError(f"{host!r} is no registry's host", _FORM)
    path, _, digest = path.partition("@")
    if digest and not _DIGEST.fullmatch(digest):
        raise UsageError(f"{text!r}: {digest!r} is no sha256 digest", _FORM)
    name, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise UsageError(f"{text!r}: {tag!r} is no tag", _FORM)
    whole = bool(name) and not name.endswith("/")
    name = name.removesuffix("/")
    if name and (not _NAME.fullmatch(name) or len(name) > 255):
        raise UsageError(f"{text!r}: {name!r} is no repository's name", f"{_FORM}, in lower case")
    if (tag or digest) and not whole:
        raise UsageError(f"{text!r}: it has a tag and no name", _FORM)
    return Address(Host(host, scheme == "http"), name, tag, digest, whole)


def prefix(text: str) -> Address:
    """An address below which repositories lie: ``registry.example/openstack``.

    Raises:
        UsageError: it is none.
    """
    found = parse(text)
    if found.tag or found.digest:
        raise UsageError(f"{text!r} names an image: a prefix of repositories is wanted", "say HOST[:PORT][/PREFIX]")
    return found


def home(text: str, names: Names) -> Home:
    """A prefix, with what lies below it by these names.

    Raises:
        UsageError: it is none, or these names have no place for it.
    """
    found = prefix(text)
    if found.path and not names.has_namespace:
        raise UsageError(
            f"{text!r}: the names of this workspace have no {{namespace}} that {found.path!r} could be",
            f"say {found.host}, or put {{namespace}} into `names:` of imgbuild.yaml",
        )
    return Home(found, names)


def is_tag(text: str) -> bool:
    """Whether a text may be a tag."""
    return _TAG.fullmatch(text) is not None


def _is_host(text: str) -> bool:
    # As docker has it: what has neither a dot nor a port is a name on Docker Hub, unless it is localhost.
    found = _HOST.fullmatch(text)
    if not found or int(found["port"] or 0) > 65535:
        return False
    return text == "localhost" or bool(found["port"]) or "." in text or text.startswith("[")
