"""What images do not need of packages: kinds of files by path, as dpkg's ``path-exclude`` does it."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from builder.model.plan import LeaveOutRules

KINDS: dict[str, tuple[str, ...]] = {
    "docs": ("/usr/share/doc/*", "/usr/share/doc-base/*", "/usr/share/gtk-doc/*"),
    "man": ("/usr/share/man/*",),
    "info": ("/usr/share/info/*",),
    "locales": ("/usr/share/locale/*/LC_*/*", "/usr/share/i18n/locales/*", "/usr/share/help/*"),
    "tests": ("/usr/lib/python3/dist-packages/*/tests/*", "/usr/lib/python3/dist-packages/*/test/*"),
    "units": (
        "/usr/lib/systemd/system/*",
        "/usr/lib/systemd/user/*",
        "/usr/lib/systemd/system-preset/*",
        "/usr/lib/systemd/catalog/*",
        "/usr/lib/udev/hwdb.d/*",
    ),
    "init-scripts": ("/etc/init.d/*", "/etc/rc?.d/*", "/etc/init/*"),
    "bash-completion": (
        "/usr/share/bash-completion/*",
        "/etc/bash_completion.d/*",
        "/usr/share/zsh/*",
        "/usr/share/fish/*",
    ),
    "lintian": ("/usr/share/lintian/*", "/usr/share/bug/*"),
    "headers": ("/usr/include/*",),
    "static-libraries": ("/usr/lib/*.a",),
    "examples": ("/usr/share/doc/*/examples/*",),
    "icons": ("/usr/share/icons/*", "/usr/share/pixmaps/*"),
    "sudoers": ("/etc/sudoers.d/*",),
}
"""Shell patterns by kind; ``*`` matches ``/`` too, as dpkg's do (dpkg(1), --path-exclude)."""

ALWAYS_KEPT = ("/usr/share/doc/*/copyright",)
"""Licenses travel with what they are for."""

KEPT_BY_DPKG = frozenset({"init-scripts", "sudoers", "tests"})
"""Kinds that dpkg itself must not leave out: scripts fail without them (update-rc.d; py3compile, without a module that its
package lists), and a conffile that dpkg leaves out has no checksum in its records."""

_WILDCARD = re.compile(r"[*?\[\\]")
_UNMERGED = re.compile(r"/usr/(?:bin|sbin|lib)/(?!python3)")


def left_out(path: str, rules: LeaveOutRules, *, leads_on: bool = False) -> bool:
    """Whether a path stays out of the layer, as dpkg decides it (src/main/filters.c, filter_should_skip).

    Args:
        path: without a leading ``/``, merged.
        leads_on: whether it is a folder or a symbolic link: what stays may lie behind it.
    """
    excluded, kept, before = _patterns(rules)
    whole = "/" + path
    if not (excluded and excluded.match(whole)) or kept.match(whole):
        return False
    return not (leads_on and whole.startswith(before))


def dpkg_cfg(rules: LeaveOutRules) -> str:
    """The rules for ``/etc/dpkg/dpkg.cfg.d``: dpkg in the image leaves out the same."""
    excludes, includes = _lists(for_dpkg(rules))
    lines = [f"path-exclude={spelt}\n" for pattern in excludes for spelt in _spellings(pattern)]
    lines += [f"path-include={spelt}\n" for pattern in includes for spelt in _spellings(pattern)] if excludes else []
    # Told all the same: layers lack them.
    wanted = [pattern for kind in rules.kinds if kind in KEPT_BY_DPKG for pattern in KINDS[kind]]
    return "".join((*lines, *(f"# path-exclude={pattern}\n" for pattern in wanted)))


def for_dpkg(rules: LeaveOutRules) -> LeaveOutRules:
    """The rules that dpkg can hold, too."""
    return replace(rules, kinds=tuple(kind for kind in rules.kinds if kind not in KEPT_BY_DPKG))


def _spellings(pattern: str) -> tuple[str, ...]:
    # dpkg compares with what the package says, and packages of before merged /usr say /lib.
    return (pattern, pattern.removeprefix("/usr")) if _UNMERGED.match(pattern) else (pattern,)


def _lists(rules: LeaveOutRules) -> tuple[list[str], list[str]]:
    excludes = [pattern for kind in rules.kinds for pattern in KINDS[kind]]
    includes = [*ALWAYS_KEPT, *rules.keep]
    if excludes:
        # dpkg cannot unpack what is kept into a folder that it leaves out.
        excluded = _compiled(excludes)
        folders = {folder for pattern in rules.keep for folder in _above(pattern) if excluded.match(folder)}
        includes += sorted(folders - set(includes))
    return excludes, includes


def _above(pattern: str) -> Iterator[str]:
    folder = _WILDCARD.split(pattern)[0].rpartition("/")[0]
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]


@lru_cache(maxsize=32)
def _patterns(rules: LeaveOutRules) -> tuple[re.Pattern[str] | None, re.Pattern[str], tuple[str, ...]]:
    excludes, includes = _lists(rules)
    before = tuple(_WILDCARD.split(pattern)[0].rstrip("/") for pattern in includes)
    return (_compiled(excludes) if excludes else None), _compiled(includes), before


def _compiled(patterns: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))
