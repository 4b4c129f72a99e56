"""A small signed apt repository in a folder, driven as its publisher would."""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

from builder.tools import process

EXECUTABLE_MEMBERS = frozenset({"preinst", "postinst", "prerm", "postrm", "config"})
MEMBERS = EXECUTABLE_MEMBERS | {"conffiles", "templates", "triggers"}
TIME = 1_000_000_000
"""Of every file of a package, so that the same package always has the same bytes."""


class AptRepo:
    """A repository of some suites with a key of its own.

    Attributes:
        by_hash: whether indexes are kept by their hashes too, the old ones beside the new (Acquire-By-Hash).
        compressed: whether the indexes are there compressed alone, though the Release files name both, as Debian's do.
    """

    def __init__(
        self,
        folder: Path,
        suites: tuple[str, ...] = ("stable",),
        *,
        signed_like: AptRepo | None = None,
        architectures: tuple[str, ...] = ("amd64",),
        label: str = "test",
    ) -> None:
        self.folder = folder
        self.suites = suites
        self.architectures = architectures
        self.label = label
        self.by_hash = self.compressed = False
        self.keyring = folder / "key.gpg"
        for suite in suites:
            for architecture in architectures:
                (folder / "dists" / suite / f"main/binary-{architecture}").mkdir(parents=True)
            (folder / "pool" / suite).mkdir(parents=True)
        self._stanzas: dict[tuple[str, int, int], str] = {}
        self._home: Path = signed_like._home if signed_like else folder / "gnupg"
        if signed_like:
            shutil.copy(signed_like.keyring, self.keyring)
            return
        self._home.mkdir(mode=0o700)
        self._gpg("--quick-generate-key", "--passphrase", "", "test@localhost", "ed25519", "sign", "0")
        self._gpg("--output", str(self.keyring), "--export")

    @property
    def uri(self) -> str:
        """The address for sources."""
        return f"file://{self.folder}"

    def add(
        self,
        name: str,
        version: str = "1",
        *,
        suite: str = "stable",
        files: Mapping[str, str | Path] | None = None,
        links: Mapping[str, str] | None = None,
        modes: Mapping[str, int] | None = None,
        **told: str,
    ) -> Path:
        """Make a package; wants ``publish``.

        Args:
            files: text, or a file to copy, by path in the root, a folder if it ends with a slash; what is in a ``bin``
                is executable.
            links: targets by path.
            modes: of files and folders that differ from this.
            told: members of the control archive (``postinst``, ``triggers`` …), and fields by name, with _ for -.
        """
        tree = self.folder / "build" / f"{name}_{version}"
        shutil.rmtree(tree, ignore_errors=True)
        (tree / "DEBIAN").mkdir(parents=True)
        members = {key: told.pop(key) for key in MEMBERS & told.keys()}
        stated = {
            "Package": name,
            "Version": version,
            "Architecture": "all",
            "Maintainer": "T <t@localhost>",
            "Description": name,
        }
        stated |= {key.title().replace("_", "-"): value for key, value in told.items()}
        (tree / "DEBIAN/control").write_text("".join(f"{key}: {value}\n" for key, value in stated.items()))
        sums = []
        for path_text, content in sorted((files or {}).items()):
            path = _place(tree, path_text)
            if path_text.endswith("/"):
                path.mkdir(exist_ok=True)
                continue
            if isinstance(content, Path):
                shutil.copy(content, path)
            else:
                path.write_text(content)
                path.chmod(0o755 if path.parent.name in ("bin", "sbin") else 0o644)
            if not path_text.startswith("etc/") and path.name != ".keep":
                sums.append(f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path_text}\n")
        for path_text, target in (links or {}).items():
            _place(tree, path_text).symlink_to(target)
        for path_text, mode in (modes or {}).items():
            (tree / path_text).chmod(mode)
        if sums:
            members["md5sums"] = "".join(sums)
        for member, text in members.items():
            (tree / "DEBIAN" / member).write_text(text)
            (tree / "DEBIAN" / member).chmod(0o755 if member in EXECUTABLE_MEMBERS else 0o644)
        for place, _, names in os.walk(tree, topdown=False):
            for one in names:
                os.utime(Path(place, one), (TIME, TIME), follow_symlinks=False)
            os.utime(place, (TIME, TIME))
        tree.chmod(0o755)
        made = self._file(name, version, suite, stated["Architecture"])
        process.run(
            ["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, made],
            env={"SOURCE_DATE_EPOCH": str(TIME)},
        )
        shutil.rmtree(tree)
        return made

    def take_over(self, other: AptRepo) -> None:
        """Have all packages of another repository as well, without copying them."""
        for suite in other.suites:
            for path in (other.folder / "pool" / suite).iterdir():
                os.link(path, self.folder / "pool" / suite / path.name)
        self._stanzas |= other._stanzas

    def vanish(self, name: str, version: str, suite: str = "stable") -> None:
        """Drop a package, as mirrors do; wants ``publish``."""
        self._file(name, version, suite).unlink()

    def move(self, name: str, version: str, old: str, new: str) -> None:
        """Move a package to another suite, and so to another place; wants ``publish``."""
        self._file(name, version, old).rename(self._file(name, version, new))

    def corrupt(self, name: str, version: str, suite: str = "stable") -> None:
        """Change a byte of a package's file, but not the index."""
        path = self._file(name, version, suite)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.unlink()
        path.write_bytes(data)

    def publish(self, age: timedelta = timedelta(), valid: timedelta = timedelta(days=7)) -> None:
        """Write the indexes and sign them."""
        for suite in self.suites:
            self._publish(suite, age, valid)

    def _publish(self, suite: str, age: timedelta, valid: timedelta) -> None:
        folder = self.folder / "dists" / suite
        sums = []
        for architecture in self.architectures:
            fitting = (f"_{architecture}.deb", "_all.deb")
            paths = [path for path in sorted((self.folder / "pool" / suite).iterdir()) if path.name.endswith(fitting)]
            index = "\n".join(map(self._stanza, paths)).encode()
            where = f"main/binary-{architecture}/Packages"
            (folder / where).write_bytes(index)
            if self.compressed:
                packed = lzma.compress(index)
                (folder / f"{where}.xz").write_bytes(packed)
                (folder / where).unlink()
                sums.append(f" {hashlib.sha256(packed).hexdigest()} {len(packed)} {where}.xz\n")
            if self.by_hash:
                kept = (folder / where).parent / "by-hash/SHA256" / hashlib.sha256(index).hexdigest()
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(index)
            sums.append(f" {hashlib.sha256(index).hexdigest()} {len(index)} {where}\n")
        date = datetime.now(UTC) - age
        release = (
            f"Origin: test\nLabel: {self.label}\nSuite: {suite}\nCodename: {suite}\nDate: {format_datetime(date, usegmt=True)}\n"
            f"Valid-Until: {format_datetime(date + valid, usegmt=True)}\n"
            f"Architectures: {' '.join(self.architectures)}\nComponents: main\n"
            f"{'Acquire-By-Hash: yes' + chr(10) if self.by_hash else ''}SHA256:\n{''.join(sums)}"
        )
        (folder / "Release").write_text(release)
        self._gpg("--yes", "--output", str(folder / "InRelease"), "--clearsign", str(folder / "Release"))

    def _stanza(self, path: Path) -> str:
        found = path.stat()
        known = (path.name, found.st_mtime_ns, found.st_size)
        if known not in self._stanzas:
            control = process.run(["dpkg-deb", "-f", path]).text.strip()
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._stanzas[known] = f"{control}\nSize: {found.st_size}\nSHA256: {digest}\n"
        return f"{self._stanzas[known]}Filename: {path.relative_to(self.folder)}\n"

    def unsign(self, suite: str = "stable") -> None:
        """Publish without a signature."""
        (self.folder / "dists" / suite / "InRelease").unlink()

    def tamper(self, suite: str = "stable") -> None:
        """Change what was signed."""
        path = self.folder / "dists" / suite / "InRelease"
        path.write_text(path.read_text().replace("Origin: test", "Origin: evil"))

    @property
    def fingerprint(self) -> str:
        """Of the key that signs, or of its primary key."""
        listed = self._gpg("--with-colons", "--list-keys").splitlines()
        return next(line.split(":")[9] for line in listed if line.startswith("fpr:"))

    def add_subkey(self) -> None:
        """Sign with a subkey from now on; the keyring has it."""
        self._gpg("--passphrase", "", "--quick-add-key", self.fingerprint, "ed25519", "sign", "0")
        self._gpg("--yes", "--output", str(self.keyring), "--export")

    def armored_keyring(self) -> Path:
        """The same keyring as text."""
        path = self.folder / "key.asc"
        self._gpg("--yes", "--armor", "--output", str(path), "--export")
        return path

    def close(self) -> None:
        """End what gpg left running; nothing can be published afterwards."""
        process.run(["gpgconf", "--homedir", self._home, "--kill", "all"])

    def _file(self, name: str, version: str, suite: str, architecture: str = "all") -> Path:
        return self.folder / "pool" / suite / f"{name}_{version}_{architecture}.deb"

    def _gpg(self, *argv: str) -> str:
        words: list[str | Path] = [
            "gpg",
            "--homedir",
            self._home,
            "--batch",
            "--quiet",
            "--pinentry-mode",
            "loopback",
            *argv,
        ]
        return process.run(words).text


def _place(tree: Path, path: str) -> Path:
    place = tree / path
    missing = [parent for parent in place.parents if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir()
        parent.chmod(0o755)
    return place
