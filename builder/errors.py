"""What can go wrong, as a tree; only the command line prints or exits.

ImgbuildError (dsl.errors)
├── DefinitionError           a definition is wrong (exit code 2)
├── UsageError                a command was asked for something that is not there (2)
├── ResolveError              packages cannot be resolved
│   ├── Unsatisfiable         the solver found no answer; carries the chain
│   │   └── PackageHeld       what it would need is held back by a decision
│   └── SourceError           a source is unsigned, expired, tampered with or broken
├── StaleLock                 a lock does not fit its definition any more
├── FetchError                bytes could not be had
├── IntegrityError            bytes are not what their checksum says
├── MakeError                 a layer could not be made
│   └── ConfigureError        a package's script failed; carries its output
├── SandboxError              this machine does not allow what making layers needs
├── ImageError                an image, layout or archive is broken
├── FeedError                 a document of advisories is none
├── RecordError               the record cannot be had, or is not one of ours
├── BranchError               a branch of git cannot be made
├── CompareError              the ordinary way of installing failed, or is not there
├── RegistryError             a registry cannot be reached, or refused
├── ClusterError              a Kubernetes cluster cannot be reached, or refused
│   └── RolloutError          what was applied does not come up; carries what it said
└── EngineError               docker or podman is missing or refused
"""

from __future__ import annotations

import errno
import os

from builder.model.lock import LockedPackage
from dsl.errors import ImgbuildError


class UsageError(ImgbuildError):
    code = "usage"
    exit_code = 2


class ResolveError(ImgbuildError):
    code = "resolve"


class Unsatisfiable(ResolveError):
    """The solver found no set of packages.

    Args:
        chain: the definitions from the bottom to the one that asked.
    """

    code = "unsatisfiable"

    def __init__(self, message: str, chain: tuple[str, ...], hint: str = "") -> None:
        super().__init__(message, hint)
        self.chain = chain


class PackageHeld(Unsatisfiable):
    code = "held"


class SourceError(ResolveError):
    code = "source"


class StaleLock(ImgbuildError):
    code = "stale-lock"


class FetchError(ImgbuildError):
    """Bytes could not be had.

    Args:
        url: the last address asked.
        status: the HTTP status, None if there was no answer.
        gone: locked packages that are nowhere any more, all of them.
    """

    code = "fetch"

    def __init__(
        self, message: str, url: str, status: int | None = None, hint: str = "", gone: tuple[LockedPackage, ...] = ()
    ) -> None:
        super().__init__(message, hint)
        self.url = url
        self.status = status
        self.gone = gone


class IntegrityError(ImgbuildError):
    """Bytes are not what their checksum says."""

    code = "integrity"

    def __init__(self, message: str, expected: str, found: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.expected = expected
        self.found = found


class MakeError(ImgbuildError):
    code = "make"


class ConfigureError(MakeError):
    """A package's script failed.

    Args:
        package: the package.
        script: ``preinst``, ``postinst`` or ``triggers``.
        output: what it printed.
    """

    code = "configure"

    def __init__(self, message: str, package: str, script: str, output: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.package = package
        self.script = script
        self.output = output


class SandboxError(ImgbuildError):
    code = "sandbox"


class ImageError(ImgbuildError):
    code = "image"


class FeedError(ImgbuildError):
    code = "feed"


class RecordError(ImgbuildError):
    code = "record"


class BranchError(ImgbuildError):
    code = "branch"


class CompareError(ImgbuildError):
    code = "compare"


class RegistryError(ImgbuildError):
    """A registry cannot be reached, or refused.

    Args:
        url: the last address asked, without what may be secret.
        status: the HTTP status, None if there was no answer.
        codes: of its error (distribution-spec, "Error Codes").
    """

    code = "registry"

    def __init__(
        self, message: str, url: str = "", status: int | None = None, hint: str = "", codes: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, hint)
        self.url = url
        self.status = status
        self.codes = codes


class ClusterError(ImgbuildError):
    """A cluster cannot be reached, or refused.

    Args:
        status: the HTTP status, 0 if there was no answer.
    """

    code = "cluster"

    def __init__(self, message: str, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint)
        self.status = status


class RolloutError(ClusterError):
    """What was applied does not come up.

    Args:
        output: what it said at last.
    """

    code = "rollout"

    def __init__(self, message: str, output: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.output = output


class EngineError(ImgbuildError):
    code = "engine"


_WAYS_OUT = {
    errno.ENOSPC: "free some space; the store lies in $XDG_CACHE_HOME/imgbuild: `imgbuild cache clean` empties it",
    errno.EDQUOT: "your quota is used up; `imgbuild cache clean` empties the store",
    errno.EROFS: "the store lies in $XDG_CACHE_HOME/imgbuild, locks beside their definitions, images where --to says",
    errno.EACCES: "run it as who owns the file, or choose another place",
    errno.EMFILE: "raise the limit of open files: `ulimit -n`",
    errno.ENOTDIR: "a file lies where a folder is wanted: move it away, or choose another place",
    errno.EEXIST: "a file lies where a folder is wanted: move it away, or choose another place",
}


def of_system(error: OSError, doing: str = "", place: str = "") -> MakeError:
    """What the system refused, with the place and a way out.

    Args:
        doing: what was done.
        place: where, if the error does not say.
    """
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    said = error.strerror or str(error) or type(error).__name__
    parts = (doing, names[0] if names else place, said)
    return MakeError(": ".join(part for part in parts if part), _WAYS_OUT.get(error.errno or 0, ""))
