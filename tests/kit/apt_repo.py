"""A small signed apt repository in a folder, driven as its publisher would."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

from builder.tools import process


class AptRepo:
    """A repository of one suite, ``stable``, with a key of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pool, self._suite, self._home = folder / "pool", folder / "dists/stable", folder / "gnupg"
        for made in (self._pool, self._suite / "main/binary-amd64", self._home):
            made.mkdir(parents=True)
        self._home.chmod(0o700)
        self.keyring = folder / "key.gpg"
        self._gpg("--quick-generate-key", "--passphrase", "", "test@localhost", "ed25519", "sign", "0")
        self._gpg("--output", str(self.keyring), "--export")

    @property
    def uri(self) -> str:
        """The address for sources."""
        return f"file://{self.folder}"

    def add(self, name: str, version: str = "1", **fields: str) -> Path:
        """Make a package; further fields by name, with _ for -."""
        tree = self.folder / "build" / f"{name}_{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        told = {
            "Package": name,
            "Version": version,
            "Architecture": "all",
            "Maintainer": "T <t@localhost>",
            "Description": name,
        }
        told |= {key.title().replace("_", "-"): value for key, value in fields.items()}
        (tree / "DEBIAN/control").write_text("".join(f"{key}: {value}\n" for key, value in told.items()))
        target = self._pool / f"{name}_{version}_all.deb"
        process.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, target])
        return target

    def vanish(self, name: str, version: str) -> None:
        """Drop a package, as mirrors do; wants ``publish``."""
        (self._pool / f"{name}_{version}_all.deb").unlink()

    def publish(self, age: timedelta = timedelta(), valid: timedelta = timedelta(days=7)) -> None:
        """Write the indexes and sign them."""
        stanzas = []
        for path in sorted(self._pool.iterdir()):
            data, control = path.read_bytes(), process.run(["dpkg-deb", "-f", path]).text.strip()
            stanzas.append(
                f"{control}\nFilename: pool/{path.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
            )
        index = "\n".join(stanzas).encode()
        (self._suite / "main/binary-amd64/Packages").write_bytes(index)
        date = datetime.now(UTC) - age
        release = (
            f"Origin: test\nSuite: stable\nCodename: stable\nDate: {format_datetime(date, usegmt=True)}\n"
            f"Valid-Until: {format_datetime(date + valid, usegmt=True)}\nArchitectures: amd64\nComponents: main\n"
            f"SHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} main/binary-amd64/Packages\n"
        )
        (self._suite / "Release").write_text(release)
        self._gpg("--yes", "--output", str(self._suite / "InRelease"), "--clearsign", str(self._suite / "Release"))

    def unsign(self) -> None:
        """Publish without a signature."""
        (self._suite / "InRelease").unlink()

    def tamper(self) -> None:
        """Change what was signed."""
        path = self._suite / "InRelease"
        path.write_text(path.read_text().replace("Origin: test", "Origin: evil"))

    def _gpg(self, *argv: str) -> None:
        process.run(["gpg", "--homedir", self._home, "--batch", "--quiet", "--pinentry-mode", "loopback", *argv])
