"""What an image holds, and whether its own packages do there what the sample says that they do."""

from __future__ import annotations

import posixpath
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from builder.formats import layer_reader, untar
from builder.formats.deb import relation_names
from builder.formats.places import canonical
from builder.make.dpkg_status import Stanza, parse
from builder.model.image import Image
from builder.model.lock import Lock

ADMIN = "var/lib/dpkg"
_READ = re.compile(
    r"var/lib/dpkg/(status$|info/.*\.(list|preinst|postinst|triggers|conffiles)$|diversions$|alternatives/)"
    r"|var/lib/ucf/hashfile$|var/cache/debconf/|etc/(passwd|group|ld\.so\.cache|sgml/|xml/|ssl/certs/java/)"
    r"|usr/lib/sysusers\.d/"
)
"""What is read of an image."""
_BASE_PASSWD = range(1, 100)
_BINNMU = re.compile(r"\+b[0-9]+$")


@dataclass(frozen=True, slots=True)
class Entry:
    """A path of an image."""

    mode: int
    uid: int
    gid: int
    capability: bool


@dataclass(frozen=True)
class Installed:
    """An image's paths, and what dpkg says of the packages that one definition adds to it.

    Attributes:
        paths: relative, without whited-out ones.
        texts: of those that prove something.
        lock: of the definition.
    """

    paths: Mapping[str, Entry] = field(repr=False)
    texts: Mapping[str, str] = field(repr=False)
    lock: Lock

    @classmethod
    def read(cls, image: Image, lock: Lock) -> Installed:
        """From the layers, as a runtime puts them together."""
        paths: dict[str, Entry] = {}
        texts: dict[str, str] = {}
        for layer in image.layers:
            hidden: list[str] = []
            found: dict[str, Entry] = {}
            with image.blobs.open(layer.digest) as file:
                for info, data in untar.entries(untar.opened(file, layer.media_type)):
                    path = layer_reader.clean(info.name)
                    folder, name = posixpath.split(path)
                    if name.startswith(".wh."):
                        hidden.append(posixpath.join(folder, "" if name == ".wh..wh..opq" else name[4:]))
                        continue
                    kind = stat.S_IFDIR if info.isdir() else stat.S_IFLNK if info.issym() else stat.S_IFREG
                    capability = "SCHILY.xattr.security.capability" in info.pax_headers
                    found[path] = Entry(kind | info.mode, info.uid, info.gid, capability)
                    if data is not None and _READ.match(path):
                        texts[path] = data.read().decode(errors="surrogateescape")
            for gone in hidden:
                for path in [one for one in paths if one == gone or one.startswith(f"{gone.rstrip('/')}/")]:
                    del paths[path]
            paths |= found
        return cls(paths, {path: text for path, text in texts.items() if path in paths}, lock)

    @cached_property
    def packages(self) -> Mapping[str, Stanza]:
        """All packages, by name."""
        return {stanza.package: stanza for stanza in parse(self.texts[f"{ADMIN}/status"])}

    @cached_property
    def own(self) -> tuple[Stanza, ...]:
        """Those that the definition adds."""
        return tuple(self.packages[package.name] for package in self.lock.packages)

    @cached_property
    def names(self) -> frozenset[str]:
        """Of the definition's users and groups."""
        return frozenset((*(user.name for user in self.lock.users), *(group.name for group in self.lock.groups)))

    def member(self, stanza: Stanza, name: str) -> str:
        """A control member of a package."""
        return self.texts.get(f"{ADMIN}/info/{stanza.info_name}.{name}", "")

    def scripts(self, *names: str) -> Iterator[str]:
        """The definition's packages' scripts."""
        return (self.member(stanza, name) for stanza in self.own for name in names)

    @cached_property
    def owned(self) -> Mapping[str, Stanza]:
        """The definition's packages by the paths that they bring."""
        return {
            canonical(line): stanza
            for stanza in self.own
            for line in self.member(stanza, "list").splitlines()
            if canonical(line)
        }

    def relations(self, name: str) -> Iterator[tuple[Stanza, tuple[str, ...]]]:
        """What the definition's packages say in a field: each clause's names."""
        return (
            (stanza, relation_names(clause)) for stanza in self.own for clause in stanza.get(name).split(",") if clause
        )

    def triggers(self, *directives: str) -> Iterator[tuple[Stanza, str]]:
        """What all packages say in their ``triggers`` (deb-triggers(5))."""
        for stanza in self.packages.values():
            for line in self.member(stanza, "triggers").splitlines():
                words = line.partition("#")[0].split()
                if len(words) == 2 and words[0] in directives:
                    yield stanza, words[1]


def alternatives(found: Installed) -> bool:
    """A name of update-alternatives stands for a program of its own."""
    return any(
        path.startswith(f"{ADMIN}/alternatives/")
        and f"etc/alternatives/{posixpath.basename(path)}" in found.paths
        and any(line.startswith("/") and canonical(line) in found.owned for line in text.splitlines())
        for path, text in found.texts.items()
    )


def _diverters(found: Installed) -> Iterator[str]:
    lines = found.texts.get(f"{ADMIN}/diversions", "").splitlines()
    own = {stanza.package for stanza in found.own}
    for original, away, package in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        if package in own and {canonical(original), canonical(away)} & found.paths.keys():
            yield package


def diversions(found: Installed) -> bool:
    """A file of another package has moved away."""
    return any(_diverters(found))


def capabilities(found: Installed) -> bool:
    """A program has a file capability."""
    return any(entry.capability for path, entry in found.paths.items() if path in found.owned)


def setuid(found: Installed) -> bool:
    """A program runs as another user or group than who starts it."""
    return any(
        stat.S_ISREG(entry.mode) and entry.mode & (stat.S_ISUID | stat.S_ISGID)
        for path, entry in found.paths.items()
        if path in found.owned
    )


def conffiles(found: Installed) -> bool:
    """dpkg keeps sums of configuration files."""
    return any("\n" in stanza.get("Conffiles") for stanza in found.own)


def ucf(found: Installed) -> bool:
    """ucf put configuration there and keeps its sum."""
    lines = found.texts.get("var/lib/ucf/hashfile", "").splitlines()
    return any(canonical(line.split()[-1]) in found.paths for line in lines)


def ldconfig(found: Installed) -> bool:
    """A library is in the linker's cache."""
    cache = found.texts["etc/ld.so.cache"]
    own = (posixpath.basename(path) for path in found.owned if re.fullmatch(r"usr/lib/[^/]+/[^/]+\.so\.[0-9.]+", path))
    return any(f"/{name}\0" in cache for name in own)


def ca_certificates(found: Installed) -> bool:
    """Something is made of the certificates that ca-certificates knows."""
    return any(
        "ca-certificates" in name for stanza, name in found.triggers(*_AWAITED, *_NOT_AWAITED) if stanza in found.own
    )


def mime(found: Installed) -> bool:
    """The database of media types is made."""
    return "usr/share/mime/mime.cache" in found.paths


def glib_schemas(found: Installed) -> bool:
    """The schemas are compiled."""
    return "usr/share/glib-2.0/schemas/gschemas.compiled" in found.paths


def fontconfig(found: Installed) -> bool:
    """Fonts lie where fontconfig's trigger looks."""
    return _triggered(found, "/usr/share/fonts")


def hwdb(found: Installed) -> bool:
    """Hardware descriptions lie where udev's trigger looks."""
    return _triggered(found, "/usr/lib/udev/hwdb.d")


def sgml(found: Installed) -> bool:
    """A catalog of documents' types names one of its own."""
    return any(
        canonical(path) in found.owned
        for name, text in found.texts.items()
        if name.startswith(("etc/sgml/", "etc/xml/"))
        for path in re.findall(r"/[^\s\"<>]+", text)
    )


def _triggered(found: Installed, path: str) -> bool:
    interested = {stanza.package for stanza, name in found.triggers(*_INTERESTS) if f"/{canonical(name)}" == path}
    return bool(interested) and any(one.startswith(f"{path[1:]}/") for one in found.owned)


_AWAITED = ("activate", "activate-await")
_NOT_AWAITED = ("activate-noawait", "interest", "interest-await", "interest-noawait")
_INTERESTS = ("interest", "interest-await", "interest-noawait")


def activate_await(found: Installed) -> bool:
    """A package is not installed before another's trigger has run."""
    interests = {(name, stanza.package) for stanza, name in found.triggers("interest", "interest-await")}
    names = {name: package for name, package in interests if not name.startswith("/")}
    named = any(
        names.get(name, stanza.package) != stanza.package
        for stanza, name in found.triggers(*_AWAITED)
        if stanza in found.own
    )
    return named or any(
        path.startswith(f"{canonical(name)}/") and stanza.package != package
        for name, package in interests
        if name.startswith("/")
        for path, stanza in found.owned.items()
    )


def adduser(found: Installed) -> bool:
    """A script makes a user with adduser, or with what adduser calls."""
    return _names_in(found, r"\b(adduser|addgroup|useradd|groupadd)\b", "preinst", "postinst")


def sysusers(found: Installed) -> bool:
    """systemd-sysusers makes a user."""
    return any(
        posixpath.basename(path) in script
        for path in found.owned
        if path.startswith("usr/lib/sysusers.d/")
        for script in found.scripts("postinst")
        if "systemd-sysusers" in script
    )


def base_passwd(found: Installed) -> bool:
    """Something belongs to a user or group that each Debian has."""
    return any({entry.uid, entry.gid} & set(_BASE_PASSWD) for path, entry in found.paths.items() if path in found.owned)


def debconf(found: Installed) -> bool:
    """Each of the definition's answers is in debconf's database."""
    told = {
        stanza.get("Name"): stanza.get("Value")
        for name in ("config", "passwords")
        for stanza in parse(found.texts.get(f"var/cache/debconf/{name}.dat", ""))
    }
    return bool(found.lock.answers) and all(told.get(one.question) == one.value for one in found.lock.answers)


def preinst_diverts(found: Installed) -> bool:
    """A preinst moves another package's file away before its own is there."""
    diverters = set(_diverters(found))
    return any("dpkg-divert" in found.member(stanza, "preinst") for stanza in found.own if stanza.package in diverters)


def preinst_users(found: Installed) -> bool:
    """A preinst makes a user before there are files."""
    return _names_in(found, r"\b(adduser|addgroup|useradd|groupadd)\b", "preinst")


def _names_in(found: Installed, program: str, *members: str) -> bool:
    return any(
        re.search(program, script) and any(re.search(rf"\b{re.escape(name)}\b", script) for name in found.names)
        for script in found.scripts(*members)
    )


def pre_depends(found: Installed) -> bool:
    """A package is to be unpacked after another of its own is configured."""
    own = {stanza.package for stanza in found.own}
    return any(own.intersection(names) for _, names in found.relations("Pre-Depends"))


def replaces(found: Installed) -> bool:
    """A package may take files of another that is there."""
    return any(found.packages.keys() & names for _, names in found.relations("Replaces"))


def virtual(found: Installed) -> bool:
    """A dependency is met by the name that a package provides alone."""
    provided = {name for stanza in found.packages.values() for name in relation_names(stanza.get("Provides"))}
    return any(
        provided.intersection(names) and not found.packages.keys() & names for _, names in found.relations("Depends")
    )


def multi_arch_same(found: Installed) -> bool:
    """dpkg keeps a package's records under its architecture."""
    return any(f":{found.lock.architecture}" in stanza.info_name for stanza in found.own)


def binnmu(found: Installed) -> bool:
    """A package was built again from an unchanged source."""
    return any(_BINNMU.search(p.version) and not _BINNMU.search(p.source_version) for p in found.lock.packages)


ITEMS: Mapping[str, Callable[[Installed], bool]] = {
    item.__name__.replace("_", "-"): item
    for item in (
        alternatives, diversions, capabilities, setuid, conffiles, ucf, ldconfig, ca_certificates, mime, glib_schemas,
        fontconfig, hwdb, sgml, activate_await, adduser, sysusers, base_passwd, debconf, preinst_diverts,
        preinst_users, pre_depends, replaces, virtual, multi_arch_same, binnmu,
    )
}  # fmt: skip
"""What the sample covers, and how it shows."""
