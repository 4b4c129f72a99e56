"""The language as types: what a definition may say.

Every class here is a mapping of a YAML document and every field one of its keys. The field's
docstring is the reference documentation, and the types make the JSON Schema (``dsl.schema``).
Values are frozen: tuples for lists, read-only mappings for mappings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from msgspec import NODEFAULT, Meta, Struct, field, structs

from dsl import naming

DSL_VERSION = 1


def _like(pattern: str, expected: str) -> Meta:
    """Text of a pattern, and what that is in words: for errors here and in editors, which read that keyword."""
    # `$` alone would let a line break at the end through (Python's re); with what follows it, it means the same
    # to Python and to the JavaScript of editors.
    return Meta(pattern=rf"^({pattern})$(?!\n)", extra_json_schema={"patternErrorMessage": expected})


Name = Annotated[
    str,
    _like(r"[a-z0-9]+([._-][a-z0-9]+)*", "a name in lower case, such as nova-api"),
    Meta(max_length=100),
]
"""A component, layer or image: lower case, as registries want it."""
Key = Annotated[
    str, _like(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?", "a word in lower case, such as db-sync"), Meta(max_length=63)
]
"""A port, volume, step or function."""
StreamName = Annotated[
    str,
    _like(r"[a-z][a-z0-9]*", "a word of letters and digits that begins with a letter, such as bookworm"),
    Meta(max_length=40),
]
"""A stream; tags begin with it, and versions with a digit."""
UserName = Annotated[
    str, _like(r"[a-z_][a-z0-9_-]*\$?", "the name of a user or group, in lower case"), Meta(max_length=32)
]
AbsolutePath = Annotated[
    str, _like(r"/|(/(?!\.\.?(/|$))[^/\x00\n]+)+", "an absolute path without `.`, `..` or a slash at its end")
]
UrlPath = Annotated[str, _like(r"/[^\s#]*", "a path of an address, such as `/healthz`")]
RelativePath = Annotated[str, _like(r"[^/\x00\n][^\x00\n]*", "a relative path")]
Mode = Annotated[str, _like(r"[0-7]{3,4}", 'permission bits as a quoted octal number, such as "0640"')]
"""Permission bits as a quoted octal number: ``"0640"``."""
Sha256 = Annotated[str, _like(r"[0-9a-f]{64}", "a sha256: 64 digits of 0-9 and a-f")]
Fingerprint = Annotated[str, _like(r"[0-9A-F]{40}", "an OpenPGP fingerprint: 40 digits of 0-9 and A-F")]
Port = Annotated[int, Meta(ge=1, le=65535)]
Id = Annotated[int, Meta(ge=0, le=59999)]
"""A numeric user or group id."""
Line = Annotated[str, _like(r"[^\n]+", "text of one line")]
Duration = Annotated[str, _like(r"[0-9]+(ms|s|m|h)", "a time with its unit, such as 30s or 5m")]
Date = Annotated[
    str,
    _like(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?",
        'a quoted day or time in UTC, such as "2024-01-31" or "2024-01-31T12:00:00Z"',
    ),
]
Quantity = Annotated[str, _like(r"[0-9]+(\.[0-9]+)?([KMGT]i?)?", "an amount of memory, such as 512Mi")]
"""An amount of memory: ``512Mi``, ``2Gi``."""
Address = Annotated[str, _like(r"(https?|file)://[^\s]+", "an address: http://…, https://… or file://…")]
Wish = Annotated[
    str,
    _like(
        r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?( \((<<|<=|=|>=|>>) [A-Za-z0-9.+:~-]+\))?",
        "a package, such as nova-common or nova-common (>= 2:31)",
    ),
]
"""A package, with a constraint in Debian's notation: ``nova-common (>= 2:31)``."""
Requirement = Annotated[
    str,
    _like(
        r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?[^\n@]*",
        "a Python package as pip names it, such as flask or flask ~= 3.1",
    ),
]
"""A Python package, with a constraint in pip's notation: ``flask ~= 3.1``."""
Extends = Annotated[
    str, _like(r"[a-z0-9]+([._-][a-z0-9]+)*( [^\n]+)?", "a definition and a range of versions, such as openstack ^1.0")
]
"""A definition's name and, for one of ``layers/``, a range of its versions: ``openstack ^1.0``."""
SemanticVersion = Annotated[
    str, _like(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)", "a semantic version, such as 1.0.0")
]
Capability = Annotated[str, _like(r"[A-Z][A-Z_]+", "a capability, such as NET_ADMIN")]
Signal = Annotated[str, _like(r"SIG[A-Z0-9+-]+", "the name of a signal, such as SIGTERM")]
LeaveOut = Literal[
    "docs", "man", "info", "locales", "tests", "units", "init-scripts", "bash-completion", "lintian",
    "headers", "static-libraries", "examples", "icons", "sudoers",
]  # fmt: skip
Keep = Annotated[
    str, _like("|".join([*get_args(LeaveOut), r"/[^\x00\n]*"]), "one of the kinds of `leave_out`, or an absolute path")
]
Variable = Annotated[str, _like(r"[A-Za-z_][A-Za-z0-9_]*", "the name of a variable")]
Allowance = Annotated[str, _like("shell|sudo|scripts|root", "one of shell, sudo, scripts and root")]
DnsName = Annotated[
    str, _like(r"[a-z]([a-z0-9-]*[a-z0-9])?", "a name of lower-case letters, digits and dashes"), Meta(max_length=63)
]
"""What Kubernetes takes for a name that stands in addresses, too."""
ObjectName = Annotated[
    str,
    _like(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", "the name of an object, such as nova-database"),
    Meta(max_length=253),
]
"""What Kubernetes takes for a name."""
Recipient = Annotated[
    str,
    _like(
        r"[0-9A-F]{40}|age1[0-9a-z]+|ssh-(ed25519|rsa) [A-Za-z0-9+/=]+( [^\n]*)?",
        "a fingerprint of OpenPGP (40 digits of 0-9 and A-F) or a recipient of age (age1…, ssh-ed25519 …)",
    ),
]
"""Somebody to whom a file is encrypted."""
Gateway = Annotated[
    str,
    _like(
        r"([a-z0-9]([a-z0-9-]*[a-z0-9])?/)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?", "a Gateway, such as public or edge/public"
    ),
]
"""A Gateway of the Gateway API, in the site's namespace or another."""
Taint = Annotated[
    str,
    _like(
        r"[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?(=[A-Za-z0-9._-]*)?(:(NoSchedule|PreferNoSchedule|NoExecute))?",
        "a taint as kubectl names it, such as dedicated=compute:NoSchedule",
    ),
]
"""What keeps pods away from a node, or some of it."""
HostName = Annotated[
    str,
    _like(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", "the name of a host, such as id.example"),
    Meta(max_length=253),
]
Schedule = Annotated[
    str,
    _like(
        r"@(hourly|daily|weekly|monthly|yearly)|[0-9*/,-]+( [0-9A-Za-z*/,?-]+){4}",
        'a time as in cron, such as "15 3 * * *"',
    ),
]
Selector = Annotated[
    str,
    _like(
        r"[A-Za-z0-9][A-Za-z0-9._/-]*=[A-Za-z0-9._-]*(,[A-Za-z0-9][A-Za-z0-9._/-]*=[A-Za-z0-9._-]*)*",
        "labels of nodes, such as role=compute",
    ),
]
When = Literal["start", "before", "after", "by-hand"]


class Node(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping of a document."""

    def said(self) -> dict[str, Any]:
        """What is not as it would be without being said, as plain data."""
        return {
            found.name: _plain(value)
            for found in structs.fields(self)
            if (value := getattr(self, found.name)) != _default(found)
        }


def _default(found: structs.FieldInfo) -> Any:
    return found.default if found.default_factory is NODEFAULT else found.default_factory()


def _plain(value: Any) -> Any:
    match value:
        case Node():
            return value.said()
        case Mapping():
            return {key: _plain(one) for key, one in value.items()}
        case tuple():
            return [_plain(one) for one in value]
    return value


class Distribution(Node, frozen=True, kw_only=True):
    """What the packages of a chain are made for."""

    id: Key
    """As in os-release: `debian`."""
    version: Line
    """As in os-release: `"13"`."""
    codename: Key
    """As in os-release: `trixie`."""


class Source(Node, frozen=True, kw_only=True):
    """Where packages come from: an apt repository (`apt`), a folder of .deb files (`debs`); of Python's, an index (`index`) or a folder of wheels (`wheels`)."""

    apt: Address | None = None
    """The repository's address, as in sources.list."""
    debs: RelativePath | None = None
    """A folder of .deb files beside the definition: a site's patched or own packages."""
    index: Address | None = None
    """A Python index (PEP 503), `https://pypi.org/simple`. A chain that names none has that one; one that names some has these alone."""
    wheels: RelativePath | None = None
    """A folder of wheels beside the definition. A package that is in it is taken from nowhere else."""
    suites: tuple[Line, ...] = ()
    """The suites to read, such as `trixie` and `trixie-updates`."""
    components: tuple[Line, ...] = ("main",)
    """The suites' components."""
    keyring: Line | None = None
    """Who signs: a keyring that ships (`debian-archive`), or a file beside the definition, as `gpg --export` writes it, with or without `--armor`."""
    fingerprints: tuple[Fingerprint, ...] = ()
    """Accept only these keys of the keyring; they name primary keys, which stand for their subkeys."""
    priority: Annotated[int, Meta(ge=-1, le=2000)] | None = None
    """apt's pin priority of everything from here; 500 if not given. Above 1000 it wins over newer versions that are below. Of Python indexes that have a package, the one of the highest priority alone is asked for it."""
    snapshot: Line | None = None
    """An address where versions that the mirror has dropped can still be had, at the same path. `{date}` in it stands for the time of the suite that the lock saw: `https://snapshot.debian.org/archive/debian/{date}`."""
    valid_at: Date | None = None
    """Of an archived mirror: the time (UTC; a day is its beginning) at which its suites are checked to have been in force, `"2024-01-31"`. Without it that is now. Only the dates that Release files give are taken so: a key that has expired since must be renewed in `keyring`."""


class Packages(Node, frozen=True, kw_only=True):
    """The packages that a definition adds, by kind."""

    apt: tuple[Wish, ...] = ()
    """Debian packages, with a constraint if need be: `nova-common (>= 2:31)`."""


class Environment(Node, frozen=True, kw_only=True):
    """A Python virtual environment in `/opt/NAME`: wheels, and what they need, locked by their hashes. Of one name along a chain it is one environment."""

    wheels: tuple[Requirement, ...] = ()
    """What it holds: `flask ~= 3.1`."""
    requirements: RelativePath | None = None
    """A file beside the definition that names more, in pip's format. If it has `--hash`, it must have the hashes of all, as with `pip install --require-hashes`."""


class User(Node, frozen=True, kw_only=True):
    """A system user with a fixed number: volumes outlive images."""

    uid: Id
    """The user's number."""
    gid: Id | None = None
    """The number of the user's own group; the same as `uid` if not given."""
    group: UserName | None = None
    """The user's primary group if it is not one of the user's own name."""
    home: AbsolutePath = "/nonexistent"
    """The home folder."""
    shell: AbsolutePath = "/usr/sbin/nologin"
    """The login shell."""
    groups: tuple[UserName, ...] = ()
    """Further groups."""
    summary: Annotated[str, _like(r"[^\n:]*", "text of one line without a colon")] = ""
    """The comment field of /etc/passwd."""


class Group(Node, frozen=True, kw_only=True):
    """A system group with a fixed number."""

    gid: Id
    """The group's number."""


class Ownership(Node, frozen=True, kw_only=True):
    """Who a path belongs to and who may use it."""

    owner: UserName = "root"
    """The user."""
    group: UserName | None = None
    """The group; the owner's name if not given."""
    mode: Mode = "0755"
    """Permission bits, quoted: `"0750"`."""


class File(Ownership, frozen=True, kw_only=True):
    """A file that the definition brings; exactly one of `content`, `from`, `url` and `link`."""

    content: str | None = None
    """The text itself."""
    from_: RelativePath | None = field(default=None, name="from")
    """A file beside the definition."""
    url: Annotated[str, _like(r"https?://[^\s]+", "an address: http://… or https://…")] | None = None
    """An address to fetch it from; wants `sha256`."""
    sha256: Sha256 | None = None
    """The checksum of what `url` gives."""
    link: Line | None = None
    """The target of a symbolic link."""
    mode: Mode = "0644"
    """Permission bits, quoted: `"0640"`."""
    before: Literal["configure"] | None = None
    """`configure`: there before the packages are configured, so that their scripts see it (a CA certificate)."""


class Folder(Ownership, frozen=True, kw_only=True):
    """A folder of the image."""


class Volume(Ownership, frozen=True, kw_only=True):
    """A folder whose content outlives the container."""

    path: AbsolutePath
    """Where it is mounted."""
    summary: Line | None = None
    """What it holds."""
    shared: bool = False
    """Whether several containers may have it at once: a site may then run several of the image, on a volume that many nodes can mount."""


class Writable(Ownership, frozen=True, kw_only=True):
    """A folder that the service writes to and that may be empty at every start."""

    path: AbsolutePath
    """The folder."""
    size: Quantity | None = None
    """How large it may grow."""


class ListeningPort(Node, frozen=True, kw_only=True):
    """A port that the service listens on."""

    port: Port
    """The number."""
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"
    """The transport."""
    summary: Line | None = None
    """What it is for."""


class Health(Node, frozen=True, kw_only=True):
    """How a platform finds out whether the service works; exactly one of `http`, `tcp` and `exec`."""

    http: Key | None = None
    """The name of a port that is asked over HTTP."""
    path: UrlPath = "/"
    """The path to ask for, with its query if there is one."""
    tcp: Key | None = None
    """The name of a port that must accept a connection."""
    exec: Annotated[tuple[str, ...], Meta(min_length=1)] | None = None
    """A command of the image that ends with 0."""
    interval: Duration = "30s"
    """Time between two probes."""
    timeout: Duration = "10s"
    """Time after which a probe has failed."""
    start: Duration = "60s"
    """Time that the service may take to start."""
    retries: Annotated[int, Meta(ge=1, le=100)] = 3
    """Failures in a row that count."""


class Limits(Node, frozen=True, kw_only=True):
    """What the service is given at most."""

    memory: Quantity | None = None
    """Memory: `2Gi`."""
    cpus: Annotated[str, _like(r"[0-9]+(\.[0-9]+)?m?", "processors, such as 2, 0.5 or 500m")] | None = None
    """Processors: `"2"`, `500m`."""
    pids: Annotated[int, Meta(ge=1)] | None = None
    """Processes and threads."""
    files: Annotated[int, Meta(ge=1)] | None = None
    """Open files."""


class Platform(Node, frozen=True, kw_only=True):
    """What the platform must provide, so that no script has to arrange it."""

    capabilities: tuple[Capability, ...] = ()
    """Linux capabilities beyond none: `NET_ADMIN`."""
    privileged: bool = False
    """Full access to the host."""
    unmasked: bool = False
    """`/proc` and `/sys` as the kernel shows them, for what sets up network namespaces: engines make parts read-only."""
    reaper: bool = False
    """A process 1 that reaps orphans (`docker run --init`), for services that leave children behind."""
    host: tuple[Literal["network", "pid", "ipc"], ...] = ()
    """Namespaces of the host that the service needs."""
    devices: tuple[AbsolutePath, ...] = ()
    """Devices of the host."""
    mounts: tuple[AbsolutePath, ...] = ()
    """Folders of the host."""
    shared: tuple[AbsolutePath, ...] = ()
    """Folders of the host where what the service mounts is the host's too, and outlives it: `/run/netns`."""


class Run(Node, frozen=True, kw_only=True):
    """How the image runs."""

    command: Annotated[tuple[str, ...], Meta(min_length=1)]
    """The service's own executable and its arguments; it logs to stdout."""
    service: bool = True
    """Whether that is a service, which runs until it is told to end. Of what is none (a client, a tool) the deploy stage runs the steps alone."""
    user: UserName
    """Who it runs as; a user with a fixed number."""
    group: UserName | None = None
    """Its group; the user's primary group if not given."""
    groups: tuple[UserName, ...] = ()
    """Further groups."""
    workdir: AbsolutePath = "/"
    """The working folder."""
    env: Mapping[Variable, str] = field(default_factory=dict)
    """Environment variables."""
    ports: Mapping[Key, Port | ListeningPort] = field(default_factory=dict)
    """Ports by name."""
    volumes: Mapping[Key, AbsolutePath | Volume] = field(default_factory=dict)
    """Folders whose content outlives the container, by name."""
    writable: tuple[AbsolutePath | Writable, ...] = ()
    """Folders that the service writes to; all else is read-only."""
    health: Health | None = None
    """How to find out whether it works."""
    stop_signal: Signal = "SIGTERM"
    """The signal that ends it in good order."""
    stop_grace: Duration = "30s"
    """How long it may take to end."""
    limits: Limits = Limits()
    """What it is given at most."""
    platform: Platform = Platform()
    """What the platform must provide."""


class Step(Node, frozen=True, kw_only=True):
    """A one-off command of the same image, run by the deploy stage or by hand."""

    summary: Line | None = None
    """What it does."""
    command: Annotated[tuple[str, ...], Meta(min_length=1)]
    """The executable and its arguments."""
    user: UserName | None = None
    """Who it runs as; `run.user` if not given."""
    env: Mapping[Variable, str] = field(default_factory=dict)
    """Environment variables beside those of `run`."""
    needs: tuple[Key, ...] = ()
    """The functions that must be there: `database`."""
    writable: tuple[AbsolutePath | Writable, ...] = ()
    """Folders it writes to beside those of `run`."""
    when: When = "by-hand"
    """When the deploy stage runs it. `before` the service of this release runs, once for each deployment; `after` it works; at each `start` of the service on its volumes, right before it; or only `by-hand`. What is not by hand does no harm when it runs again."""
    after: tuple[Key, ...] = ()
    """Steps of the same image that it waits for. Those that run at each `start` run right before it, too, where it has no volumes of its service."""
    schedule: Schedule | None = None
    """When it runs again and again, as cron says it, in UTC: `"15 3 * * *"`."""
    given: Mapping[Variable, str] = field(default_factory=dict)
    """Environment variables that the site gives, never in the image: text as in a template, `"{{ secret('admin-identity') }}"`."""


class ConfigFile(Node, frozen=True, kw_only=True):
    """A path where the service expects configuration; rendered when deployed, never in the image."""

    template: RelativePath | None = None
    """A Jinja2 template beside the definition."""
    owner: UserName = "root"
    """Who the rendered file belongs to."""
    group: UserName | None = None
    """Its group."""
    mode: Mode = "0640"
    """Its permission bits, quoted."""
    optional: bool = False
    """Whether the service starts without it."""


class Provision(Node, frozen=True, kw_only=True):
    """How a function is spoken to, at the port where it is provided."""

    port: Key | None = None
    """The name of the port; the one of the function's name, or the only one, if not given."""
    scheme: Annotated[str, _like(r"[a-z][a-z0-9+.-]*", "the scheme of an address, such as `http`")] = "http"
    """The scheme of its address: `mysql+pymysql`."""
    path: Annotated[str, _like(r"(/[^\s#]*)?", "a path of an address, such as `/v3`")] = ""
    """Where its address ends; `{account}` stands for the account's name."""
    listed: Mapping[Key, Mapping[Key, str]] = field(default_factory=dict)
    """What those who provide other functions are told of it, by function: `{identity: {type: image, name: glance}}`; templates have it by `listed('identity')`."""


class StatOverride(Ownership, frozen=True, kw_only=True):
    """Owner and mode of a path of a package, as dpkg-statoverride keeps them."""


class Answer(Node, frozen=True, kw_only=True):
    """An answer to a debconf question whose type is not plain text."""

    type: Literal["string", "boolean", "select", "multiselect", "password", "note", "text"] = "string"
    """The question's type."""
    value: str | bool | int
    """The answer."""


class Definition(Node, frozen=True, kw_only=True):
    """What components, layer definitions and image definitions have in common."""

    summary: Line
    """What it is, in a line."""
    description: str = ""
    """What it is, at length."""
    extends: Extends | None = None
    """The definition it stands on: a name and, for one of `layers/`, a range of versions."""
    sources: Mapping[Name, Source] = field(default_factory=dict)
    """Where packages come from, beside the sources of the definitions below."""
    packages: Packages = Packages()
    """The packages it adds."""
    environments: Mapping[Key, Environment] = field(default_factory=dict)
    """Python virtual environments, each in `/opt/NAME`."""
    recommends: bool = False
    """Whether recommended packages come along."""
    users: Mapping[UserName, User] = field(default_factory=dict)
    """Users with fixed numbers."""
    groups: Mapping[UserName, Group] = field(default_factory=dict)
    """Groups with fixed numbers."""
    files: Mapping[AbsolutePath, File] = field(default_factory=dict)
    """Files it brings, by their path in the image."""
    folders: Mapping[AbsolutePath, Folder] = field(default_factory=dict)
    """Folders it brings."""
    debconf: Mapping[Name, Mapping[Line, str | bool | int | Answer]] = field(default_factory=dict)
    """Answers to debconf questions, by package and question."""
    statoverrides: Mapping[AbsolutePath, StatOverride] = field(default_factory=dict)
    """Owners and modes that differ from the package's."""
    alternatives: Mapping[Line, AbsolutePath] = field(default_factory=dict)
    """Which program a name of update-alternatives stands for."""
    leave_out: tuple[LeaveOut, ...] = ()
    """Kinds of files of the packages that the image does not need; those of the definitions below hold too."""
    keep: tuple[Keep, ...] = ()
    """Kinds or paths (with `*`) that stay all the same."""
    generated: Mapping[AbsolutePath, Line] = field(default_factory=dict)
    """Paths that scripts of packages fill with keys or initial data, which stay out of the image; and the step or the place that makes them."""
    labels: Mapping[Line, str] = field(default_factory=dict)
    """Labels of the images."""
    allow: Mapping[Allowance, Line] = field(default_factory=dict)
    """What `check` would refuse, and why it is right here."""


class LayerDefinition(Definition, frozen=True, kw_only=True):
    """A named, versioned list of packages, users and files that images share (`layers/NAME/layer.yaml`)."""

    dsl: Literal[1]
    """The version of the language."""
    layer: Name
    """The name."""
    version: SemanticVersion
    """The version of this text; raised with every change of it."""
    distribution: Distribution | None = None
    """For the bottom of a chain: what its packages are made for."""
    license: Line | None = None
    """An SPDX expression."""
    homepage: Line | None = None
    """Where to read on."""
    maintainer: Line | None = None
    """Who looks after it."""


class SharedDefinition(Definition, frozen=True, kw_only=True):
    """A layer definition that one component shares among its own images."""


class ImageDefinition(Definition, frozen=True, kw_only=True):
    """What one image adds to the layers it extends, and how it runs."""

    run: Run
    """How it runs."""
    steps: Mapping[Key, Step] = field(default_factory=dict)
    """One-off commands by name: `db-sync`, `init`, `upgrade`."""
    config: Mapping[AbsolutePath, RelativePath | ConfigFile] = field(default_factory=dict)
    """Paths where configuration is expected, and their templates."""
    beside: Mapping[AbsolutePath, RelativePath] = field(default_factory=dict)
    """Further files that configuration speaks of, and their templates: rendered and mounted with it, while the image expects none of them. Root's, readable for the group that the image runs as."""
    given: Mapping[Variable, str] = field(default_factory=dict)
    """Environment variables that the site gives, never in the image: text as in a template, `"{{ secret('session-key') }}"`."""
    needs: tuple[Key, ...] = ()
    """The functions that must be there for it to work: `database`."""
    after: tuple[Name, ...] = ()
    """Images of the same component that come up before it, and roll before it in an upgrade, where a site runs them, too: `[nova-conductor]`."""
    provides: tuple[Key, ...] | Mapping[Key, Provision] = ()
    """The functions that it provides: `compute`; or each with how it is spoken to."""


class VersionFrom(Node, frozen=True, kw_only=True):
    """The component's version is that of the package which carries the product."""

    from_: Annotated[
        str, _like(r"(apt|wheel)/[a-z0-9][a-z0-9+.-]+", "a package, such as apt/nova-common or wheel/flask")
    ] = field(name="from")
    """`apt/PACKAGE` or `wheel/PACKAGE`."""


class Component(Node, frozen=True, kw_only=True):
    """A product with its own repo and version (`component.yaml`)."""

    dsl: Literal[1]
    """The version of the language."""
    component: Name
    """The name."""
    summary: Line
    """What it is, in a line."""
    description: str = ""
    """What it is, at length."""
    homepage: Line | None = None
    """Where to read on."""
    license: Line | None = None
    """An SPDX expression: `Apache-2.0`."""
    maintainer: Line | None = None
    """Who looks after it."""
    labels: Mapping[Line, str] = field(default_factory=dict)
    """Labels of all its images."""
    version: VersionFrom | Line
    """Read from a package (`{from: apt/nova-common}`), or literal and quoted."""
    back_to: Line | None = None
    """The oldest version that can still run on what this one leaves behind, its schema and its data: `deploy rollback` refuses to go further back."""
    needs: tuple[Key, ...] = ()
    """The functions that must be there: `database`."""
    provides: tuple[Key, ...] | Mapping[Key, Provision] = ()
    """The functions that it provides: `compute`; or each with how it is spoken to."""
    values: Mapping[Line, Any] = field(default_factory=dict)
    """What its templates ask for by `value('NAME')` where the site says nothing else."""
    sources: Mapping[Name, Source] = field(default_factory=dict)
    """Package sources of all its definitions, beside those of the layers below."""
    layers: Mapping[Name, SharedDefinition] = field(default_factory=dict)
    """Layer definitions that its images share."""
    images: Annotated[Mapping[Name, ImageDefinition], Meta(min_length=1)]
    """Its images."""
    streams: Mapping[StreamName, Mapping[str, Any]] = field(default_factory=dict)
    """The same component in further upstream series, by name: what is other there (`extends`, `sources`, `version` …), said as an overlay says it. It is called `COMPONENT@STREAM`, its lock is `lock.STREAM.yaml`, its tags begin with the stream's name."""


class Uses(Node, frozen=True, kw_only=True):
    """Component repos or layers of another git repository, at a commit."""

    url: Line
    """What `git clone` takes; a path may be relative to the workspace."""
    ref: Line | None = None
    """The branch or tag where the commit is found."""
    commit: Annotated[str, _like(r"[0-9a-f]{40}", "a commit: 40 digits of 0-9 and a-f")]
    """The commit."""
    path: RelativePath = "."
    """The folder in it: a component repo, a workspace or a folder of layers."""


class AppContainers(Node, frozen=True, kw_only=True):
    """By which names App Container images, which rkt runs, are found: `imgbuild build --to aci:DIR`."""

    name: Annotated[str, _like(r"[a-z0-9]+([-._~/][a-z0-9]+)*", "a name such as example.com/openstack")]
    """What their names begin with; `https://NAME?ac-discovery=1` has to answer with the page that is written."""
    address: Annotated[str, _like(r"https://[^\s{}]+", "an address: https://…")] | None = None
    """Where the folder is served; at the top of the name's host if not given."""
    key: Fingerprint | None = None
    """The OpenPGP key that signs them, by gpg; they are unsigned if not given."""


class Defaults(Node, frozen=True, kw_only=True):
    """What holds for every definition of the workspace that does not say otherwise."""

    architecture: Literal["amd64", "arm64"] | None = None
    """What images are made for; the machine's own if not given."""
    architectures: tuple[Literal["amd64", "arm64"], ...] = ()
    """All that images are made for, where that is more than one, in place of `architecture`; the first is the workspace's own."""
    compression: Literal["gzip", "zstd"] = "gzip"
    """How layers are compressed."""
    maintainer: Line | None = None
    """Who looks after components that do not say."""
    labels: Mapping[Line, str] = field(default_factory=dict)
    """Labels of all images."""
    attest: bool = False
    """Whether builds keep bills of materials and provenance beside images in layouts, as `build --attest` does."""


class Workspace(Node, frozen=True, kw_only=True):
    """A folder with component repos, layer definitions and overlays (`imgbuild.yaml`)."""

    dsl: Literal[1]
    """The version of the language."""
    workspace: Name
    """The name."""
    summary: Line | None = None
    """What it is, in a line."""
    repos: tuple[RelativePath, ...] = ("repos",)
    """Folders of component repos."""
    layers: tuple[RelativePath, ...] = ("layers",)
    """Folders of layer definitions."""
    overlays: tuple[RelativePath, ...] = ()
    """Folders of overlays, the last on top."""
    uses: tuple[Uses, ...] = ()
    """Other git repositories, at a commit."""
    mirror: Address | None = None
    """Takes the place of `http://deb.debian.org` and `http://security.debian.org` (or https) in all sources; `IMGBUILD_MIRROR` goes before it. A folder that `imgbuild mirror load --building` has filled takes the place of every address."""
    index: Address | None = None
    """Takes the place of `https://pypi.org/simple`; `IMGBUILD_INDEX` goes before it, and the index that pip's configuration names comes after it."""
    stores: tuple[Line, ...] = ()
    """Further places of packages, asked before the mirror: folders (from the workspace) or HTTP addresses in which a file's name is its sha256, or repositories of registries, `registry:HOST[:PORT]/NAME`, that `imgbuild store push` has filled; these have ready layers, too."""
    trusted_stores: bool = False
    """Whether layers that no lock knows are taken from registries among `stores` by their key alone: who may write there then decides what is in images. What locks know is verified by its digest in any case."""
    feeds: tuple[Line, ...] = ()
    """Where advisories come from: addresses, files or folders (from the workspace), in the form of Debian's security tracker or of OSV. Debian's tracker if not given."""
    vex: tuple[Line, ...] = ()
    """What others say of flaws in their products: addresses, files or folders (from the workspace) of OpenVEX documents."""
    epss: Line | None = None
    """How likely flaws are used: FIRST's `epss_scores-current.csv.gz`, an address or a file (from the workspace)."""
    kev: Line | None = None
    """Which flaws are known to be used: CISA's `known_exploited_vulnerabilities.json`, an address or a file (from the workspace)."""
    netrc: RelativePath | None = None
    """A file of credentials for sources and stores, in the form of apt_auth.conf(5): `machine https://HOST/PATH login USER password WORD`."""
    registry: Line | None = None
    """Where `imgbuild publish` sends images, and builds look for layers that this machine lacks: `registry.example:5000/openstack`."""
    names: Line = naming.USUAL
    """What releases are called in registries. There are `{registry}`, `{namespace}` (what stands behind the host in a registry's address), `{component}`, `{image}`, `{version}` (with its stream), `{-site}` (an overlay's name, if there is one) and `{revision}`. Floating tags begin as these do."""
    aci: AppContainers | None = None
    """By which names App Container images are found."""
    record: Line | None = None
    """Where releases are remembered: a file's path for SQLite, or an address of PostgreSQL without a password (`postgresql://USER@HOST/DATABASE`); `IMGBUILD_RECORD` goes before it. A file in the store if not given."""
    locked: bool = False
    """Whether every build is a `--locked` one."""
    defaults: Defaults = Defaults()
    """What holds for definitions that do not say otherwise."""


class Overlay(Node, frozen=True, kw_only=True):
    """A site's changes to definitions, by name and key (`overlay.yaml`).

    A mapping changes the keys it names, `null` takes a key away, `{add: […], remove: […]}` changes a list (of packages,
    by their names; of folders, by their paths), anything else takes the place of what was there. Relative paths in it
    mean files beside it.
    """

    dsl: Literal[1]
    """The version of the language."""
    overlay: Name
    """The site's name; its tags carry it."""
    summary: Line | None = None
    """What it is, in a line."""
    components: Mapping[Name, Mapping[str, Any]] = field(default_factory=dict)
    """Changes by component."""
    layers: Mapping[Name, Mapping[str, Any]] = field(default_factory=dict)
    """Changes by layer definition."""


class From(Node, frozen=True, kw_only=True):
    """Which of several images provides a function."""

    from_: Line = field(name="from")
    """A component or an image of the site: `mariadb`."""


class NodeGroup(Node, frozen=True, kw_only=True):
    """Some hosts of a site, and what runs on them."""

    nodes: Selector | None = None
    """Which nodes of a cluster, by their labels: `role=compute`; all if not given."""
    tolerates: tuple[Taint, ...] = ()
    """Taints of nodes that keep others away: `KEY[=VALUE][:EFFECT]`, of any value or effect that is not said."""
    runs: tuple[Line, ...] = ()
    """What runs there: components, all their images, or `component/image`. All of the site if neither this nor `except` is given."""
    except_: tuple[Line, ...] = field(default=(), name="except")
    """What does not run there, of all that is left."""
    values: Mapping[Line, Any] = field(default_factory=dict)
    """What is other there than in the site's `values`."""


class Placement(Node, frozen=True, kw_only=True):
    """What a site says of one image."""

    replicas: Annotated[int, Meta(ge=0, le=1000)] = 1
    """How many of it run."""
    storage: Mapping[Key, Quantity] = field(default_factory=dict)
    """How large its volumes are, by their names; 1Gi if not given."""
    storage_class: DnsName | None = None
    """The class of its volumes; the cluster's own if not given."""


class Entrance(Node, frozen=True, kw_only=True):
    """How an image is reached from outside a cluster: an Ingress, or a route of a Gateway."""

    host: HostName
    """The name under which it is reached."""
    port: Key | None = None
    """The name of its port; the only one if not given."""
    path: UrlPath = "/"
    """What its paths begin with."""
    class_: DnsName | None = field(default=None, name="class")
    """The class of the Ingress; the cluster's own if not given."""
    tls: DnsName | None = None
    """The Secret of its certificate; without one it is reached over plain HTTP."""
    gateway: Gateway | None = None
    """The Gateway whose route it is, in place of an Ingress: `public`, or `NAMESPACE/public` of another namespace. It has the certificate."""


class KeptSecret(Node, frozen=True, kw_only=True):
    """Where a cluster has a secret already."""

    secret: ObjectName
    """The name of a Secret of the site's namespace."""
    key: Annotated[str, _like(r"[A-Za-z0-9._-]+", "a key of a Secret, such as password")]
    """Which of its keys."""


class Site(Node, frozen=True, kw_only=True):
    """A place where images run together (`site.yaml`), for `imgbuild deploy`."""

    dsl: Literal[1]
    """The version of the language."""
    site: Name
    """The name; what is made for it begins with it."""
    summary: Line | None = None
    """What it is, in a line."""
    components: Annotated[tuple[Line, ...], Meta(min_length=1)]
    """What runs: components, all their images, or `component/image`."""
    registry: Line | None = None
    """Where images are pulled from: `registry.example/openstack`; those of the machine's own engine if not given."""
    values: Mapping[Line, Any] = field(default_factory=dict)
    """What templates ask for by `value('NAME')`."""
    secrets: Mapping[Line, KeptSecret] = field(default_factory=dict)
    """Secrets that the cluster has already, by the names that templates ask for: `{database-nova: {secret: nova-database, key: password}}`. `deploy apply` reads them there; none of them is made."""
    recipients: tuple[Recipient, ...] = ()
    """Whom a file of secrets is encrypted to when imgbuild writes it: `--secrets secrets.yaml.gpg` to fingerprints of OpenPGP, `secrets.yaml.age` to recipients of age."""
    services: Mapping[Key, Line | From] = field(default_factory=dict)
    """Functions that no image of the site provides, with their address: `https://keystone.example/v3`; or which image does, where several do."""
    publish: Mapping[
        Name, Mapping[Key, Port | Annotated[str, _like(r"([0-9.]+|\[[0-9a-f:]+\]):[0-9]{1,5}", "ADDRESS:PORT")]]
    ] = field(default_factory=dict)
    """Ports that are reachable from outside, by image and port name: a port of 127.0.0.1, or `ADDRESS:PORT`."""
    namespace: DnsName | None = None
    """The namespace of a cluster; the site's name if not given."""
    topology: Mapping[DnsName, NodeGroup] = field(default_factory=dict)
    """Groups of hosts, and what runs where. Without it all runs anywhere."""
    images: Mapping[Name, Placement] = field(default_factory=dict)
    """How many of an image run, and how large its volumes are."""
    ingress: Mapping[Name, Entrance] = field(default_factory=dict)
    """Images that are reached from outside a cluster."""
    pull_secrets: tuple[DnsName, ...] = ()
    """Secrets of the namespace by which nodes pull images."""
