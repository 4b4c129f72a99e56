"""What images do not need of packages: kinds of files by path, as dpkg's ``path-exclude`` does it."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from functools import lru_cache

from builder.model.plan import LeaveOutRules

KINDS: dict[str, tuple[str, ...]] = {
    "docs": ("/usr/share/doc/*", "/usr/share/doc-base/*", "/usr/share/gtk-doc/*"),
    "man": ("/usr/share/man/*",),
    "info": ("/usr/share/info/*",),
    "locales": ("/usr/share/locale/*/LC_MESSAGES/*", "/usr/share/i18n/locales/*", "/usr/share/help/*"),
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
}
"""Shell patterns by kind; ``*`` matches ``/`` too, as dpkg's do (dpkg(1), --path-exclude)."""

ALWAYS_KEPT = ("/usr/share/doc/*/copyright",)
"""Licenses travel with what they are for."""


def left_out(path: str, rules: LeaveOutRules, *, link: bool = False) -> bool:
    """Whether a path stays out of the layer.

    Args:
        path: without a leading ``/``, merged.
        link: whether it is a symbolic link. Those of whole documentation folders stay, as with dpkg: a package
            may have its license in the folder of another one of its source (policy 12.5).
    """
    if link and posixpath.dirname(path) == "usr/share/doc":
        return False
    excluded, kept = _patterns(rules)
    whole = "/" + path
    return bool(excluded and excluded.match(whole)) and not kept.match(whole)


def dpkg_cfg(rules: LeaveOutRules) -> str:
    """The rules for ``/etc/dpkg/dpkg.cfg.d``, so that dpkg in the image knows why paths are missing."""
    excludes = [pattern for kind in rules.kinds for pattern in KINDS[kind]]
    includes = [*ALWAYS_KEPT, *rules.keep] if excludes else []
    return "".join(f"path-exclude={p}\n" for p in excludes) + "".join(f"path-include={p}\n" for p in includes)


@lru_cache(maxsize=32)
def _patterns(rules: LeaveOutRules) -> tuple[re.Pattern[str] | None, re.Pattern[str]]:
    excluded = [pattern for kind in rules.kinds for pattern in KINDS[kind]]
    return (_compiled(excluded) if excluded else None), _compiled([*ALWAYS_KEPT, *rules.keep])


def _compiled(patterns: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))
