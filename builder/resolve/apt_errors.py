"""What ``apt-get update`` says, in the words of the definition: which source, which suite, what is wrong, the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from builder.errors import SourceError
from builder.resolve.facts import PackageSource

_KEYRING = "`keyring` must have the key that signs this suite: ask the publisher for it, and check its fingerprint"
_MIRROR = "is the mirror reachable? a site's own is named by `mirror:` in imgbuild.yaml or by IMGBUILD_MIRROR"
_STALE = "the mirror is out of date, or this machine's clock is wrong"
_BEHIND = "this machine's clock is behind, or the mirror's ahead"
_CHANGED = "the mirror is being updated, or it is not to be trusted: try again, then use another one"

_FAULTS = (
    (r"does not have a Release file", "there is no such suite at {uri}", "are `apt` and `suites` spelt as sources.list wants them?"),
    (r" 40[137] ", "{uri} wants credentials", "name them in the file that the workspace names by `netrc`; apt_auth.conf(5) tells its form{netrc}"),
    (r"BADSIG|Message has been manipulated", "it was changed after it was signed", _CHANGED),
    (r"EXPKEYSIG (\S+)|KEYEXPIRED (\S+)", "the key {0} that signs it has expired", "renew the keyring"),
    (r"REVKEYSIG (\S+)", "the key {0} that signs it is revoked", "renew the keyring"),
    (r"Not live until (\S+)", "it is signed at a time that is still to come ({0})", _BEHIND),
    (r"key is not live|Expired on", "a key that signs it has expired", "renew the keyring"),
    (r"not available: GOODSIG|No good signature from required signer", "no key that `fingerprints` names has signed it",
     "is `fingerprints` up to date? it names primary keys, which stand for their subkeys"),
    (r"NO_PUBKEY (\S+)|Missing key (\w+)", "the keyring {keyring} does not have the key {0} that signs it", _KEYRING),
    (r"Clearsigned file isn't valid", "its InRelease is no signed text", "does the network want a login first?"),
    (r"is expired \((.*?)\)", "its Release file has expired ({0})", f"{_STALE}; of an archived mirror, `valid_at` says when it was in force"),
    (r"is not valid yet \((.*?)\)", "its Release file is from the future ({0})", _BEHIND),
    (r"doesn't have the component '(.*?)'", "it has no component {0!r}", "is `components` right? this suite's Release file names those that it has"),
    (r"Hash Sum mismatch|unexpected size|Hashes of expected file", "an index is not what the signed Release file says", _CHANGED),
    (r"Failed to fetch (\S+)\s+(.*)", "{1} ({0})", _MIRROR),
    (r"is not signed", "it is not signed", "take a source that is signed; a folder of .deb files (`debs:`) needs no signature"),
)  # fmt: skip
"""What apt says, with gpgv (Debian 12) or sqv (Debian 13), what we say and the way out; of several the first here is told."""


def update_error(said: str, sources: tuple[PackageSource, ...], netrc: Path | None) -> SourceError | None:
    """The error that an update ended with, if what it said tells of one.

    Args:
        said: on its standard error.
    """
    lines = [line[2:].strip() for line in said.splitlines() if line.startswith(("E:", "W:"))]
    found, hints = [], []
    for source in sources:
        for suite in source.suites:
            mine = [line for line in lines if any(name in line for name in _names(source, suite))]
            for pattern, message, hint in _FAULTS:
                match = next((m for line in mine if (m := re.search(pattern, line))), None)
                if match:
                    told = {"uri": _public(source.mirrored), "keyring": source.keyring_name, "netrc": _missing(netrc)}
                    groups = [_public(group) for group in match.groups() if group]
                    found.append(f"source {source.name}: {suite}: {message.format(*groups, **told)}")
                    hints.append(hint.format(**told))
                    break
    return SourceError("\n".join(found), "\n".join(dict.fromkeys(hints))) if found else None


def unknown_error(said: str) -> SourceError:
    """The error of an update of which nothing better is known."""
    lines = [line[2:].strip() for line in said.splitlines() if line.startswith(("E:", "W:"))]
    return SourceError("the package indexes cannot be read: " + "\n".join(map(_public, lines or [said])), _MIRROR)


def _names(source: PackageSource, suite: str) -> Iterator[str]:
    # as apt writes addresses: a repository and its suite, or a file of it
    if source.mirrored:
        uri = re.sub(r"^file:/+", "file:/", _public(source.mirrored)).rstrip("/")
        for base in (uri, uri + "/"):
            yield f"{base} {suite} "
        yield f"{uri}/{suite}" if suite.endswith("/") else f"{uri}/dists/{suite}/"


def _public(text: str) -> str:
    return re.sub(r"(?<=://)[^/@\s]*@", "", text)


def _missing(netrc: Path | None) -> str:
    return f" (there is no {netrc})" if netrc and not netrc.exists() else ""
