"""A site's secrets: given in a file, made once and kept there, or left out."""

from __future__ import annotations

import contextlib
import secrets as random
from contextlib import ExitStack
from pathlib import Path

import yaml

from builder.errors import UsageError, of_system
from builder.tools import files
from dsl import document
from dsl.errors import DefinitionError

MASK = "MASKED"


class Vault:
    """A site's secrets, in a file that only its owner reads. What is asked for and not there is made once.

    Without a file a secret is a word that says which it is: so what has secrets in it can be told from what has none,
    and has the same name each time.

    Attributes:
        asked: the names of all that were asked for, in order, each as often as it was.
        made: the names of those that were made in this run.
    """

    def __init__(self, file: Path | None, *, masked: bool = False) -> None:
        self.asked: list[str] = []
        self.made: list[str] = []
        self._file = file
        self._masked = masked
        self._lock = ExitStack()
        if file:
            # Two at once would make two of one. Where there is no folder nothing is read or kept: that is told then.
            with contextlib.suppress(OSError):
                self._lock.enter_context(files.exclusive(file.absolute().parent))
        self._known = _read(file) if file else {}

    @property
    def left_out(self) -> tuple[str, ...]:
        """The names of those that were asked for and that no file gives."""
        return () if self._file else tuple(sorted(set(self.asked)))

    def secret(self, name: str) -> str:
        """A secret by its name."""
        self.asked.append(name)
        if self._masked:
            return MASK
        if self._file is None:
            return f"secret-{name}"
        if name not in self._known:
            self.made.append(name)
            # Nothing that an address or a file of settings would take for its own mark.
            self._known[name] = random.token_hex(24)
        return self._known[name]

    def asked_since(self, mark: int) -> tuple[str, ...]:
        """The names of those that were asked for after so many others."""
        return tuple(sorted(set(self.asked[mark:])))

    def require(self) -> None:
        """See that every secret could be given.

        Raises:
            UsageError: there is no file of them.
        """
        if self.left_out:
            raise UsageError(
                f"the configuration of this site wants secrets: {', '.join(self.left_out)}",
                "say --secrets FILE: those that it does not hold are made once and kept there, for its owner alone",
            )

    def keep(self) -> None:
        """Write those that were made beside those that were there.

        Raises:
            ImgbuildError: the file cannot be written.
        """
        try:
            if self.made and self._file:
                files.write(self._file, yaml.safe_dump(self._known).encode(), 0o600)
        except OSError as error:
            raise of_system(error, "the secrets cannot be kept", str(self._file)) from None
        finally:
            self._lock.close()


def _read(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    read = document.read(file)
    if not isinstance(read.data, dict) or not all(isinstance(value, str) for value in read.data.values()):
        message = "a mapping of names to quoted texts is expected here"
        raise DefinitionError((read.problem(read.place(()), "type", message),))
    return dict(read.data)
