"""What a private apt is told: settings, sources, keyrings, pins. Nothing of the host's configuration is read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from builder.errors import SourceError
from builder.model.digest import Digest
from builder.resolve.facts import PackageSource
from builder.resolve.indexes import Index

_ARMOR = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"


DEFAULT_PRIORITY = 500


def settings(root: Path, architecture: str, netrc: Path | None, *, plain: bool) -> str:
    """apt.conf(5): every path that apt would read on the host leads into the root, or nowhere.

    Args:
        plain: indexes are to be had uncompressed alone.
    """
    told = {
        "Dir": "/", "Dir::Etc": f"{root}/etc", "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": f"{root}/etc/sources", "Dir::Etc::parts": f"{root}/etc/parts",
        "Dir::Etc::main": "/dev/null", "Dir::Etc::preferences": f"{root}/etc/preferences",
        "Dir::Etc::preferencesparts": "/dev/null", "Dir::Etc::trusted": "/dev/null",
        "Dir::Etc::trustedparts": "/dev/null", "Dir::Etc::netrc": str(netrc or "/dev/null"),
        "Dir::Etc::netrcparts": "/dev/null", "Dir::State": f"{root}/state", "Dir::State::status": f"{root}/status",
        "Dir::State::extended_states": f"{root}/extended", "Dir::Cache": f"{root}/cache", "Dir::Log": f"{root}/log",
        "APT::Architecture": architecture, "APT::Sandbox::User": "root", "APT::Solver": "internal",
        "APT::Get::Always-Include-Phased-Updates": "false", "APT::Get::Never-Include-Phased-Updates": "true",
        "APT::Install-Suggests": "false", "Acquire::Languages": "none", "Acquire::Check-Valid-Until": "true",
        "Acquire::Retries": "3", "Acquire::http::Timeout": "30", "Acquire::https::Timeout": "30",
        "Acquire::GzipIndexes": "false", "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false",
        "Acquire::AllowInsecureRepositories": "false", "APT::Update::Error-Mode": "any", "APT::Get::AllowUnauthenticated": "false",
    }  # fmt: skip
    if plain:
        # apt asks a folder for the smallest that a Release file names, and does not take what is there in its place.
        told["Acquire::IndexTargets::deb::Packages::CompressionTypes"] = "uncompressed"
    lines = [f'{name} "{value}";' for name, value in told.items()]
    lines += ["#clear APT::Architectures;", f'APT::Architectures {{ "{architecture}"; }};']
    return "\n".join(lines) + "\n"


def apt_source(source: PackageSource, keyrings: Path) -> str:
    """sources.list(5) of an apt repository, a stanza a suite; the keyring is copied into a folder.

    Raises:
        SourceError: the keyring is missing or of a form that apt does not read.
    """
    signed_by = " ".join((str(_keyring(source, keyrings)), *source.fingerprints))
    stanzas = []
    for suite in source.suites:
        components = "" if suite.endswith("/") else f"Components: {' '.join(source.components)}\n"
        # apt knows of no other time than now: `AptRoot.update` compares.
        dates = "Check-Date: no\nCheck-Valid-Until: no\n" if source.valid_at else ""
        stanzas.append(
            f"Types: deb\nURIs: {source.mirrored}\nSuites: {suite}\n{components}{dates}Signed-By: {signed_by}\n"
        )
    return "\n".join(stanzas)


def folder_source(folder: Path) -> str:
    """sources.list(5) of a folder with an index of .deb files that we made."""
    uri = "file:" + quote(str(folder), safe="/")
    return f"Types: deb\nURIs: {uri}\nSuites: ./\nTrusted: yes\n"


def release_of_debs(name: str, index: bytes) -> str:
    """The Release file of such a folder: it tells the source from all others, for its pin.

    It names the index: of one that a Release does not name, apt loses sight in every second update.
    """
    names = f"Origin: imgbuild\nLabel: {name}\nSuite: {name}\nCodename: {name}\n"
    return f"{names}SHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n"


def _keyring(source: PackageSource, folder: Path) -> Path:
    try:
        data = source.keyring.read_bytes() if source.keyring else b""
    except OSError as error:
        raise SourceError(
            f"source {source.name}: the keyring {source.keyring_name!r} cannot be read: {error.strerror}",
            "it is one that ships (debian-archive), or a file beside the definition",
        ) from None
    if data[8:12] == b"KBXf":
        raise SourceError(
            f"source {source.name}: {source.keyring_name} is a keybox, which apt does not read",
            "write it anew with `gpg --export`",
        )
    if _ARMOR in data:
        kind = "asc"
    elif data and data[0] & 0x80:
        kind = "gpg"
    else:
        raise SourceError(
            f"source {source.name}: {source.keyring_name} holds no OpenPGP keys",
            "it is what `gpg --export` writes, with or without --armor",
        )
    # by content: sources that share a suite must name the same file
    path = folder / f"{Digest.of(data).hex[:32]}.{kind}"
    if not path.exists() or path.read_bytes() != data:
        path.write_bytes(data)
    return path


def preferences(sources: Iterable[PackageSource], indexes: Sequence[Index]) -> str:
    """apt_preferences(5): a pin for each index of a source with a priority, by what tells it from all others.

    Raises:
        SourceError: an index of another source looks just the same.
    """
    wanted = {source.name: source.priority for source in sources}
    pins = []
    for index in indexes:
        priority = wanted[index.source]
        if priority is None:
            continue
        others = [x for x in indexes if wanted[x.source] != priority]
        twin = next((x for x in others if _fits(x, index)), None)
        host = _host(index)
        if twin is None:
            pin = "release " + ",".join(f"{key}={_pattern(value)}" for key, value in _told(index))
        elif host and all(_host(x) != host for x in others):
            pin = f'origin "{host}"'
        else:
            raise SourceError(
                f"source {index.source}: its priority cannot be told to apt: the Release files of {index.suite} and of "
                f"{twin.suite} of {twin.source} say the same of themselves",
                "give both the same priority, or ask the publisher for a Label that tells them apart",
            )
        pins.append(f"Package: *\nPin: {pin}\nPin-Priority: {priority}\n")
    return "\n".join(dict.fromkeys(pins))


def _told(index: Index) -> tuple[tuple[str, str], ...]:
    pairs = (
        ("o", index.origin), ("l", index.label), ("a", index.archive), ("n", index.codename), ("c", index.component),
    )  # fmt: skip
    return tuple((key, value) for key, value in pairs if value)


def _fits(other: Index, index: Index) -> bool:
    said = dict(_told(other))
    return all(said.get(key) == value for key, value in _told(index))


def _pattern(value: str) -> str:
    # apt splits at commas and reads values as shell patterns
    return re.sub(r"[^A-Za-z0-9 .:+~_()&-]", "?", value)


def _host(index: Index) -> str:
    found = re.match(r"^https?://(?:[^/@]*@)?([^/:]+)", index.uri)
    return found[1] if found else ""
