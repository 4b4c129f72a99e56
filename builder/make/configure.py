"""Preinst, dpkg --configure, triggers: packages whose payload is there already become configured ones."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence

from builder.errors import ConfigureError
from builder.make.dpkg_status import INFO, Unpacked, parse
from builder.make.epoch import EPOCH
from builder.tools.sandbox import Sandbox

ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "DEBCONF_NOWARNINGS": "yes",
    "SOURCE_DATE_EPOCH": str(EPOCH),
    # What is written in the order of a hash must not differ from run to run.
    "PERL_HASH_SEED": "0",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
}
"""What every script is given."""
DPKG = ("dpkg", "--force-unsafe-io", "--force-confold", "--force-confdef")
TMP_CI = "var/lib/dpkg/tmp.ci"
_FAILED = re.compile(r"^dpkg: error processing package (\S+) \((.*)\):$", re.MULTILINE)
_SCRIPT = re.compile(r"installed (\S+) package (\S+) script")
_SCRIPTS = {"post-installation": "postinst", "pre-installation": "preinst"}


def preinst(sandbox: Sandbox, package: Unpacked) -> None:
    """Run a package's preinst as dpkg does when it installs it.

    Raises:
        ConfigureError: it failed.
    """
    # debconf finds a preinst's templates beside it.
    folder = sandbox.root / TMP_CI
    folder.mkdir(parents=True)
    prefix = package.control.info_name + "."
    for name in sorted(package.members - {"list"}):
        shutil.copy(package.tree / INFO / f"{prefix}{name}", folder / name)
    (folder / "control").write_text(str(package.control))
    (folder / "preinst").chmod(0o755)
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
        shutil.rmtree(folder)
    if outcome.code:
        raise ConfigureError(
            f"{package.name}: its preinst ended with {outcome.code}", package.name, "preinst", outcome.text
        )


def all_packages(sandbox: Sandbox, status: Callable[[], str]) -> None:
    """Configure every package that is unpacked, and run the triggers.

    Args:
        status: reads dpkg's status.

    Raises:
        ConfigureError: a script failed, or a package is not configured afterwards.
    """
    output = ""
    for action in ("--configure", "--triggers-only"):
        outcome = sandbox.run([*DPKG, action, "-a"])
        output += outcome.text
        if outcome.code:
            raise _error(outcome.code, outcome.text)
    for stanza in parse(status()):
        state = stanza.get("Status")
        if state not in ("install ok installed", "hold ok installed"):
            message = f"{stanza.package} is not configured, but {state.split()[-1]}"
            raise ConfigureError(message, stanza.package, "triggers", output)


def command(sandbox: Sandbox, argv: Sequence[str], what: str, stdin: bytes = b"") -> None:
    """Run a tool of the root.

    Raises:
        ConfigureError: it failed.
    """
    outcome = sandbox.run(argv, stdin=stdin)
    if outcome.code:
        raise ConfigureError(f"{what}: {argv[0]} ended with {outcome.code}", what, argv[0], outcome.text)


def _error(code: int, output: str) -> ConfigureError:
    failed = _FAILED.findall(output)
    package = failed[0][0] if failed else "dpkg"
    named = _SCRIPT.search(output)
    script = _SCRIPTS.get(named[2], named[2]) if named else "postinst"
    more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
    return ConfigureError(f"{package}: its {script} failed (dpkg ended with {code}){more}", package, script, output)
