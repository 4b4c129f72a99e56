"""Preinst, dpkg --configure, triggers: packages whose payload is there already become configured ones."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Sequence

from builder.errors import ConfigureError
from builder.make.dpkg_status import Unpacked, parse
from builder.make.epoch import EPOCH
from builder.make.root import Root
from builder.tools.sandbox import PATIENCE, Outcome, Sandbox, patience

ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "DEBCONF_NOWARNINGS": "yes",
    "SOURCE_DATE_EPOCH": str(EPOCH),
    # What is written in the order of a hash must not differ from run to run.
    "PERL_HASH_SEED": "0",
    "PYTHONHASHSEED": "0",
    # Trees have none, and what is compiled for one script serves the next; this folder stays out of every state.
    "PYTHONPYCACHEPREFIX": "/run/pycache",
}
"""What every script is given."""
DPKG = ("dpkg", "--force-unsafe-io", "--force-confold", "--force-confdef")
TMP_CI = "var/lib/dpkg/tmp.ci"
_FAILED = re.compile(r"^dpkg: error processing package (\S+) \((.*)\):$", re.MULTILINE)
_BEGUN = re.compile(r"^(?:Setting up|(Processing triggers for)) ([^\s:]+)", re.MULTILINE)
_HINT = "mend the package or leave it out; what scripts may do is told in docs/failures.md"
_HINTS = (
    (r"No space left on device|Disk quota exceeded", "a script fills the disk, or it is full: `imgbuild cache` shows what the store takes"),
    (
        r"Network is unreachable|Name or service not known|Temporary failure (?:in name )?resolv|could ?n.t resolve|Connection refused",
        "scripts have no network: what it fetches belongs into a package, or into `files` of the definition",
    ),
    (
        r"Operation not permitted|Permission denied|Read-only file system|must be superuser",
        "scripts may not mount, make devices or change the kernel's settings: such a thing belongs to who runs the image",
    ),
    (
        r": (?:command )?not found$",
        "its package may not depend on what the script calls: name that program's package in `packages` too",
    ),
)  # fmt: skip
"""By what a failing script says, the way out."""
_SCRIPT = re.compile(r"installed (\S+) package (\S+) script")
_SCRIPTS = {"post-installation": "postinst", "pre-installation": "preinst"}


def preinst(sandbox: Sandbox, root: Root, package: Unpacked) -> None:
    """Run a package's preinst as dpkg does when it installs it.

    Args:
        root: the sandbox's.

    Raises:
        ConfigureError: it failed.
        MakeError: a script before it has made a link of dpkg's folder.
    """
    # debconf finds a preinst's templates beside it.
    root.folder(TMP_CI, 0o755, 0, 0)
    for name in sorted(package.members - {"list"}):
        mode = 0o755 if name == "preinst" else stat.S_IMODE(package.member(name).lstat().st_mode)
        root.write(f"{TMP_CI}/{name}", package.member(name).read_bytes(), mode, 0, 0)
    root.write(f"{TMP_CI}/control", str(package.control).encode(errors="surrogateescape"), 0o644, 0, 0)
    environment = {
        "DPKG_MAINTSCRIPT_PACKAGE": package.name,
        "DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT": "1",
        "DPKG_MAINTSCRIPT_ARCH": package.control.get("Architecture"),
        "DPKG_MAINTSCRIPT_NAME": "preinst",
        "DPKG_ADMINDIR": "/var/lib/dpkg",
        "DPKG_ROOT": "",
        "DPKG_COLORS": "never",
    }
    try:
        outcome = sandbox.run([f"/{TMP_CI}/preinst", "install"], env=environment)
    finally:
        root.remove(TMP_CI)
    if outcome.code:
        raise _failed(package.name, "preinst", f"its preinst ended with {outcome.code}", outcome)


def packages(sandbox: Sandbox, names: Sequence[str]) -> None:
    """Configure some packages that are unpacked, before others.

    Raises:
        ConfigureError: a script failed.
    """
    outcome = sandbox.run([*DPKG, "--configure", *names])
    if outcome.code:
        raise _error(outcome)


def all_packages(sandbox: Sandbox, status: Callable[[], str], packages: Sequence[Unpacked]) -> None:
    """Configure every package that is unpacked, and run the triggers.

    Args:
        status: reads dpkg's status.
        packages: that are to be configured.

    Raises:
        ConfigureError: a script failed, or a package is not configured afterwards.
    """
    output = ""
    for action in ("--configure", "--triggers-only"):
        outcome = sandbox.run([*DPKG, action, "-a"])
        output += outcome.text
        if outcome.code:
            raise _error(outcome)
    found = {stanza.package: stanza.get("Status") for stanza in parse(status())}
    for name in sorted({*found, *(package.name for package in packages)}):
        state = found.get(name, "unknown to dpkg")
        if state not in ("install ok installed", "hold ok installed"):
            raise ConfigureError(
                f"{name} is not configured, but {state.removeprefix('install ok ')}", name, "triggers", output, _HINT
            )


def command(sandbox: Sandbox, argv: Sequence[str], what: str, stdin: bytes = b"") -> None:
    """Run a tool of the root.

    Raises:
        ConfigureError: it failed.
    """
    outcome = sandbox.run(argv, stdin=stdin)
    if outcome.code:
        raise _failed(what, argv[0], f"{argv[0]} ended with {outcome.code}", outcome)


def _error(outcome: Outcome) -> ConfigureError:
    output = outcome.text
    failed = [name for name, _ in _FAILED.findall(output)]
    if failed:
        named = _SCRIPT.search(output)
        script = _SCRIPTS.get(named[2], named[2]) if named else "postinst"
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        return _failed(failed[0], script, f"its {script} failed (dpkg ended with {outcome.code}){more}", outcome)
    # dpkg was ended, too: what it was at is said last.
    begun = _BEGUN.findall(output)
    triggers, package = begun[-1] if begun else ("", "dpkg")
    script = "triggers" if triggers else "postinst"
    return _failed(package, script, f"its postinst failed (dpkg ended with {outcome.code})", outcome)


def _failed(what: str, script: str, problem: str, outcome: Outcome) -> ConfigureError:
    output = outcome.text
    if outcome.over:
        return ConfigureError(
            f"{what}: its {script} took too long and was ended after {patience()} seconds", what, script, output,
            f"does it wait for an answer, a service or a network? {PATIENCE} says how many seconds a script may take",
        )  # fmt: skip
    hint = next((hint for pattern, hint in _HINTS if re.search(pattern, output, re.IGNORECASE | re.MULTILINE)), _HINT)
    return ConfigureError(f"{what}: {problem}", what, script, output, hint)
