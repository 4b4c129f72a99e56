"""A site's secrets: given in a file, made once and kept there, read from a cluster, or left out."""

from __future__ import annotations

import contextlib
import functools
import secrets as random
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import yaml

from builder.errors import UsageError, of_system
from builder.tools import files, sealed
from dsl import document, model
from dsl.errors import DefinitionError

MASK = "MASKED"


class Vault:
    """A site's secrets, in a file that only its owner reads. What is asked for and not there is made once.

    A secret that is not known is a word that says which it is: so what has secrets in it can be told from what has none,
    and has the same name each time.

    Args:
        file: encrypted, if its ending says so; without one no secret is known but those of the cluster.
        recipients: whom it is encrypted to when it is written.
        kept: those that a cluster has, by name.
        ask: reads one of these; None where no cluster is asked.

    Attributes:
        kept: as given.
        asked: the names of all that were asked for, in order, each as often as it was.
        made: the names of those that were made in this run.
    """

    def __init__(
        self,
        file: Path | None,
        *,
        masked: bool = False,
        recipients: tuple[str, ...] = (),
        kept: Mapping[str, model.KeptSecret] | None = None,
        ask: Callable[[str], str] | None = None,
    ) -> None:
        self.kept = kept or {}
        self.asked: list[str] = []
        self.made: list[str] = []
        self._file = file
        self._masked = masked
        self._recipients = recipients
        self._ask = functools.cache(ask) if ask else None
        self._lock = ExitStack()
        if file:
            # Two at once would make two of one. Where there is no folder nothing is read or kept: that is told then.
            with contextlib.suppress(OSError):
                self._lock.enter_context(files.exclusive(file.absolute().parent))
        self._known = _read(file) if file else {}

    @property
    def left_out(self) -> tuple[str, ...]:
        """The names of those that were asked for and are not known."""
        return tuple(sorted(name for name in set(self.asked) if not self._gives(name)))

    def _gives(self, name: str) -> bool:
        return self._ask is not None if name in self.kept else self._file is not None

    def secret(self, name: str) -> str:
        """A secret by its name."""
        self.asked.append(name)
        if self._masked:
            return MASK
        if not self._gives(name):
            return f"secret-{name}"
        if name in self.kept:
            assert self._ask
            return self._ask(name)
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
            UsageError: there is no file of them, or only a cluster knows them.
        """
        if elsewhere := [name for name in self.left_out if name in self.kept]:
            raise UsageError(
                f"only a cluster has these secrets, and none is asked: {', '.join(elsewhere)}",
                "take them out of the site's `secrets`, so that --secrets FILE gives them",
            )
        if self.left_out:
            raise UsageError(
                f"the configuration of this site wants secrets: {', '.join(self.left_out)}",
                "say --secrets FILE: those that it does not hold are made once and kept there, for its owner alone",
            )

    def keep(self) -> None:
        """Write those that were made beside those that were there.

        Raises:
            UsageError: the file cannot be encrypted.
            ImgbuildError: it cannot be written.
        """
        try:
            if self.made and self._file:
                data = yaml.safe_dump(self._known).encode()
                if sealed.program(self._file):
                    data = sealed.closed(self._file, data, self._recipients)
                files.write(self._file, data, 0o600)
        except OSError as error:
            raise of_system(error, "the secrets cannot be kept", str(self._file)) from None
        finally:
            self._lock.close()


def _read(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    try:
        read = document.parse(_opened(file), file) if sealed.program(file) else document.read(file)
        if not isinstance(read.data, dict) or not all(isinstance(value, str) for value in read.data.values()):
            message = "a mapping of names to quoted texts is expected here"
            raise DefinitionError((read.problem(read.place(()), "type", message),))
    except DefinitionError as error:
        # Its lines are nobody's to see.
        raise DefinitionError(tuple(replace(one, source_line="") for one in error.problems)) from None
    return dict(read.data)


def _opened(file: Path) -> str:
    try:
        return sealed.opened(file).decode()
    except OSError as error:
        raise of_system(error, "the secrets cannot be read", str(file)) from None
    except UnicodeDecodeError:
        raise UsageError(f"what is encrypted in {file} is no text", "names and secrets are expected, as YAML") from None
