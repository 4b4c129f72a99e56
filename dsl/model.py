"""The language as types: what a definition may say.

Every class here is a mapping of a YAML document and every field one of its keys. The field's
docstring is the reference documentation, and the types make the JSON Schema (``dsl.schema``).
Values are frozen: tuples for lists, read-only mappings for mappings.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints

DSL_VERSION = 1

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$", max_length=100)]
"""A component, layer or image: lower case, as registries want it."""
Key = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$", max_length=63)]
"""A port, volume, step or function."""
UserName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]*\$?$", max_length=32)]
AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/([^/\x00\n]+(/[^/\x00\n]+)*)?$")]
RelativePath = Annotated[str, StringConstraints(pattern=r"^[^/\x00\n][^\x00\n]*$")]
Mode = Annotated[str, StringConstraints(pattern=r"^[0-7]{3,4}$")]
"""Permission bits as a quoted octal number: ``"0640"``."""
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{40}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Id = Annotated[int, Field(ge=0, le=59999)]
"""A numeric user or group id."""
Line = Annotated[str, StringConstraints(pattern=r"^[^\n]+$", min_length=1)]
Duration = Annotated[str, StringConstraints(pattern=r"^[0-9]+(ms|s|m|h)$")]
Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?([KMGT]i?)?$")]
"""An amount of memory: ``512Mi``, ``2Gi``."""
Wish = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?( \((<<|<=|=|>=|>>) [A-Za-z0-9.+:~-]+\))?$"),
]
"""A package, with a constraint in Debian's notation: ``nova-common (>= 2:31)``."""
Extends = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*( [^\n]+)?$")]
"""A definition's name and, for one of ``layers/``, a range of its versions: ``openstack ^1.0``."""
SemanticVersion = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]
Capability = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z_]+$")]
Signal = Annotated[str, StringConstraints(pattern=r"^SIG[A-Z0-9+-]+$")]
LeaveOut = Literal[
    "docs", "man", "info", "locales", "tests", "units", "init-scripts", "bash-completion", "lintian",
    "headers", "static-libraries", "examples", "icons",
]  # fmt: skip
Allowance = Literal["shell", "sudo", "scripts", "root", "writable-root"]


K = TypeVar("K")
V = TypeVar("V")


def _frozen(value: Mapping[K, V]) -> Mapping[K, V]:
    return MappingProxyType(dict(value))


Map = Annotated[Mapping[K, V], AfterValidator(_frozen), PlainSerializer(dict, return_type=dict[str, Any])]
"""A read-only mapping."""


class Node(BaseModel):
    """A mapping of a document."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class Distribution(Node):
    """What the packages of a chain are made for."""

    id: Key
    """As in os-release: `debian`."""
    version: Line
    """As in os-release: `"13"`."""
    codename: Key
    """As in os-release: `trixie`."""


class Source(Node):
    """Where packages come from: an apt repository (`apt`) or a folder of .deb files (`debs`)."""

    apt: Annotated[str, StringConstraints(pattern=r"^(https?|file)://[^\s]+$")] | None = None
    """The repository's address, as in sources.list."""
    debs: RelativePath | None = None
    """A folder of .deb files beside the definition: a site's patched or own packages."""
    suites: tuple[Line, ...] = ()
    """The suites to read, such as `trixie` and `trixie-updates`."""
    components: tuple[Line, ...] = ("main",)
    """The suites' components."""
    keyring: Line | None = None
    """Who signs: a keyring that ships (`debian-archive-trixie`), or a file beside the definition."""
    fingerprints: tuple[Fingerprint, ...] = ()
    """Accept only these keys of the keyring."""
    priority: Annotated[int, Field(ge=-1, le=2000)] | None = None
    """apt's pin priority of everything from here; 500 if not given."""
    snapshot: Line | None = None
    """An address where versions that the mirror has dropped can still be had."""


class Packages(Node):
    """The packages that a definition adds, by kind."""

    apt: tuple[Wish, ...] = ()
    """Debian packages, with a constraint if need be: `nova-common (>= 2:31)`."""


class User(Node):
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
    summary: Annotated[str, StringConstraints(pattern=r"^[^\n:]*$")] = ""
    """The comment field of /etc/passwd."""


class Group(Node):
    """A system group with a fixed number."""

    gid: Id
    """The group's number."""


class Ownership(Node):
    """Who a path belongs to and who may use it."""

    owner: UserName = "root"
    """The user."""
    group: UserName | None = None
    """The group; the owner's name if not given."""
    mode: Mode = "0755"
    """Permission bits, quoted: `"0750"`."""


class File(Ownership):
    """A file that the definition brings; exactly one of `content`, `from`, `url` and `link`."""

    content: str | None = None
    """The text itself."""
    from_: RelativePath | None = Field(default=None, alias="from")
    """A file beside the definition."""
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")] | None = None
    """An address to fetch it from; wants `sha256`."""
    sha256: Sha256 | None = None
    """The checksum of what `url` gives."""
    link: Line | None = None
    """The target of a symbolic link."""
    mode: Mode = "0644"
    """Permission bits, quoted: `"0640"`."""
    before: Literal["configure"] | None = None
    """`configure`: there before the packages are configured, so that their scripts see it (a CA certificate)."""


class Folder(Ownership):
    """A folder of the image."""


class Volume(Ownership):
    """A folder whose content outlives the container."""

    path: AbsolutePath
    """Where it is mounted."""
    summary: Line | None = None
    """What it holds."""


class Writable(Ownership):
    """A folder that the service writes to and that may be empty at every start."""

    path: AbsolutePath
    """The folder."""
    size: Quantity | None = None
    """How large it may grow."""


class ListeningPort(Node):
    """A port that the service listens on."""

    port: Port
    """The number."""
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"
    """The transport."""
    summary: Line | None = None
    """What it is for."""


class Health(Node):
    """How a platform finds out whether the service works; exactly one of `http`, `tcp` and `exec`."""

    http: Key | None = None
    """The name of a port that is asked over HTTP."""
    path: AbsolutePath = "/"
    """The path to ask for."""
    tcp: Key | None = None
    """The name of a port that must accept a connection."""
    exec: tuple[str, ...] | None = None
    """A command of the image that ends with 0."""
    interval: Duration = "30s"
    """Time between two probes."""
    timeout: Duration = "10s"
    """Time after which a probe has failed."""
    start: Duration = "60s"
    """Time that the service may take to start."""
    retries: Annotated[int, Field(ge=1, le=100)] = 3
    """Failures in a row that count."""


class Limits(Node):
    """What the service is given at most."""

    memory: Quantity | None = None
    """Memory: `2Gi`."""
    cpus: Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?m?$")] | None = None
    """Processors: `"2"`, `500m`."""
    pids: Annotated[int, Field(ge=1)] | None = None
    """Processes and threads."""
    files: Annotated[int, Field(ge=1)] | None = None
    """Open files."""


class Platform(Node):
    """What the platform must provide, so that no script has to arrange it."""

    capabilities: tuple[Capability, ...] = ()
    """Linux capabilities beyond none: `NET_ADMIN`."""
    privileged: bool = False
    """Full access to the host."""
    reaper: bool = False
    """A process 1 that reaps orphans (`docker run --init`), for services that leave children behind."""
    host: tuple[Literal["network", "pid", "ipc"], ...] = ()
    """Namespaces of the host that the service needs."""
    devices: tuple[AbsolutePath, ...] = ()
    """Devices of the host."""
    mounts: tuple[AbsolutePath, ...] = ()
    """Folders of the host."""


class Run(Node):
    """How the image runs."""

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    """The service's own executable and its arguments; it logs to stdout."""
    user: UserName
    """Who it runs as; a user with a fixed number."""
    group: UserName | None = None
    """Its group; the user's primary group if not given."""
    groups: tuple[UserName, ...] = ()
    """Further groups."""
    workdir: AbsolutePath = "/"
    """The working folder."""
    env: Map[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = Field(default_factory=dict)
    """Environment variables."""
    ports: Map[Key, Port | ListeningPort] = Field(default_factory=dict)
    """Ports by name."""
    volumes: Map[Key, AbsolutePath | Volume] = Field(default_factory=dict)
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


class Step(Node):
    """A one-off command of the same image, run by the deploy stage or by hand."""

    summary: Line | None = None
    """What it does."""
    command: Annotated[tuple[str, ...], Field(min_length=1)]
    """The executable and its arguments."""
    user: UserName | None = None
    """Who it runs as; `run.user` if not given."""
    env: Map[str, str] = Field(default_factory=dict)
    """Environment variables beside those of `run`."""
    needs: tuple[Key, ...] = ()
    """The functions that must be there: `database`."""
    writable: tuple[AbsolutePath | Writable, ...] = ()
    """Folders it writes to beside those of `run`."""


class ConfigFile(Node):
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


class StatOverride(Ownership):
    """Owner and mode of a path of a package, as dpkg-statoverride keeps them."""


class Answer(Node):
    """An answer to a debconf question whose type is not plain text."""

    type: Literal["string", "boolean", "select", "multiselect", "password", "note", "text"] = "string"
    """The question's type."""
    value: str | bool | int
    """The answer."""


class Definition(Node):
    """What components, layer definitions and image definitions have in common."""

    summary: Line
    """What it is, in a line."""
    description: str = ""
    """What it is, at length."""
    extends: Extends | None = None
    """The definition it stands on: a name and, for one of `layers/`, a range of versions."""
    sources: Map[Name, Source] = Field(default_factory=dict)
    """Where packages come from, beside the sources of the definitions below."""
    packages: Packages = Packages()
    """The packages it adds."""
    recommends: bool = False
    """Whether recommended packages come along."""
    users: Map[UserName, User] = Field(default_factory=dict)
    """Users with fixed numbers."""
    groups: Map[UserName, Group] = Field(default_factory=dict)
    """Groups with fixed numbers."""
    files: Map[AbsolutePath, File] = Field(default_factory=dict)
    """Files it brings, by their path in the image."""
    folders: Map[AbsolutePath, Folder] = Field(default_factory=dict)
    """Folders it brings."""
    debconf: Map[Name, Map[Line, str | bool | int | Answer]] = Field(default_factory=dict)
    """Answers to debconf questions, by package and question."""
    statoverrides: Map[AbsolutePath, StatOverride] = Field(default_factory=dict)
    """Owners and modes that differ from the package's."""
    alternatives: Map[Line, AbsolutePath] = Field(default_factory=dict)
    """Which program a name of update-alternatives stands for."""
    leave_out: tuple[LeaveOut, ...] = ()
    """Kinds of files of the packages that the image does not need; those of the definitions below hold too."""
    keep: tuple[LeaveOut | AbsolutePath, ...] = ()
    """Kinds or paths (with `*`) that stay all the same."""
    generated: Map[AbsolutePath, Line] = Field(default_factory=dict)
    """Paths that scripts of packages fill with keys or initial data, which stay out of the image; and the step or the place that makes them."""
    labels: Map[Line, str] = Field(default_factory=dict)
    """Labels of the images."""
    allow: Map[Allowance, Line] = Field(default_factory=dict)
    """What `check` would refuse, and why it is right here."""


class LayerDefinition(Definition):
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


class SharedDefinition(Definition):
    """A layer definition that one component shares among its own images."""


class ImageDefinition(Definition):
    """What one image adds to the layers it extends, and how it runs."""

    run: Run
    """How it runs."""
    steps: Map[Key, Step] = Field(default_factory=dict)
    """One-off commands by name: `db-sync`, `init`, `upgrade`."""
    config: Map[AbsolutePath, RelativePath | ConfigFile] = Field(default_factory=dict)
    """Paths where configuration is expected, and their templates."""
    needs: tuple[Key, ...] = ()
    """The functions that must be there for it to work: `database`."""
    provides: tuple[Key, ...] = ()
    """The functions that it provides: `compute`."""


class VersionFrom(Node):
    """The component's version is that of the package which carries the product."""

    from_: Annotated[str, StringConstraints(pattern=r"^apt/[a-z0-9][a-z0-9+.-]+$")] = Field(alias="from")
    """`apt/PACKAGE`."""


class Component(Node):
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
    labels: Map[Line, str] = Field(default_factory=dict)
    """Labels of all its images."""
    version: VersionFrom | Line
    """Read from a package (`{from: apt/nova-common}`), or literal and quoted."""
    needs: tuple[Key, ...] = ()
    """The functions that must be there: `database`."""
    provides: tuple[Key, ...] = ()
    """The functions that it provides: `compute`."""
    sources: Map[Name, Source] = Field(default_factory=dict)
    """Package sources of all its definitions, beside those of the layers below."""
    layers: Map[Name, SharedDefinition] = Field(default_factory=dict)
    """Layer definitions that its images share."""
    images: Annotated[Map[Name, ImageDefinition], Field(min_length=1)]
    """Its images."""


class Uses(Node):
    """Component repos or layers of another git repository, at a commit."""

    url: Line
    """What `git clone` takes; a path may be relative to the workspace."""
    ref: Line | None = None
    """The branch or tag where the commit is found."""
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
    """The commit."""
    path: RelativePath = "."
    """The folder in it: a component repo, a workspace or a folder of layers."""


class Defaults(Node):
    """What holds for every definition of the workspace that does not say otherwise."""

    architecture: Literal["amd64", "arm64"] | None = None
    """What images are made for; the machine's own if not given."""
    compression: Literal["gzip", "zstd"] = "gzip"
    """How layers are compressed."""
    maintainer: Line | None = None
    """Who looks after components that do not say."""
    labels: Map[Line, str] = Field(default_factory=dict)
    """Labels of all images."""


class Workspace(Node):
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
    mirror: Annotated[str, StringConstraints(pattern=r"^(https?|file)://[^\s]+$")] | None = None
    """Takes the place of `http://deb.debian.org` in all sources; `IMGBUILD_MIRROR` goes before it."""
    stores: tuple[Line, ...] = ()
    """Further places of packages by sha256: folders or HTTP addresses."""
    netrc: RelativePath | None = None
    """Credentials for sources, in netrc's format."""
    locked: bool = False
    """Whether every build is a `--locked` one."""
    defaults: Defaults = Defaults()
    """What holds for definitions that do not say otherwise."""


class Overlay(Node):
    """A site's changes to definitions, by name and key (`overlay.yaml`).

    A mapping changes the keys it names, `null` takes a key away, `{add: […], remove: […]}` changes a list,
    anything else takes the place of what was there.
    """

    dsl: Literal[1]
    """The version of the language."""
    overlay: Name
    """The site's name; its tags carry it."""
    summary: Line | None = None
    """What it is, in a line."""
    components: Map[Name, Map[str, Any]] = Field(default_factory=dict)
    """Changes by component."""
    layers: Map[Name, Map[str, Any]] = Field(default_factory=dict)
    """Changes by layer definition."""
