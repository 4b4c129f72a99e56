"""Wheels that tests make, in a folder or in a small index (PEP 503) of files."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

TIME = (2020, 2, 2, 2, 2, 2)
"""Of every file of a wheel, so that the same wheel always has the same bytes."""


def wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    files: Mapping[str, str] | None = None,
    *,
    needs: Iterable[str] = (),
    scripts: Mapping[str, str] | None = None,
    tag: str = "py3-none-any",
    executable: Iterable[str] = (),
    **metadata: str,
) -> Path:
    """Make a wheel.

    Args:
        files: text by path; a module of the wheel's name if not given.
        needs: its Requires-Dist.
        scripts: console scripts: ``module:function`` by name.
        executable: which of the files are.
        metadata: further fields, with _ for -.
    """
    word = name.replace("-", "_")
    info = f"{word}-{version}.dist-info"
    pure = "true" if tag.endswith("-any") else "false"
    fields = {"Metadata-Version": "2.1", "Name": name, "Version": version}
    fields |= {key.replace("_", "-"): value for key, value in metadata.items()}
    lines = [f"{key}: {value}\n" for key, value in fields.items()] + [f"Requires-Dist: {need}\n" for need in needs]
    whole = dict(files if files is not None else {f"{word}.py": f"VERSION = {version!r}\n"})
    whole[f"{info}/METADATA"] = "".join(lines)
    whole[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: {pure}\nTag: {tag}\n"
    if scripts:
        rows = "".join(f"{script} = {where}\n" for script, where in scripts.items())
        whole[f"{info}/entry_points.txt"] = f"[console_scripts]\n{rows}"
    record = "".join(f"{path},sha256={_hash(text)},{len(text.encode())}\n" for path, text in whole.items())
    whole[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"{word}-{version}-{tag}.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for path, text in whole.items():
            entry = zipfile.ZipInfo(path, TIME)
            entry.external_attr = (0o100755 if path in executable else 0o100644) << 16
            archive.writestr(entry, text)
    return made


def _hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


class Index:
    """An index of wheels in a folder, as PyPI has its files: by paths that only they have."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "simple").mkdir(parents=True)

    @property
    def url(self) -> str:
        """Its address."""
        return f"file://{self.folder}/simple"

    def add(self, made: Path) -> str:
        """Take a file into the index; where PyPI would have it."""
        data = made.read_bytes()
        hex_ = hashlib.blake2b(data, digest_size=32).hexdigest()
        path = f"packages/{hex_[:2]}/{hex_[2:4]}/{hex_[4:]}/{made.name}"
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(data)
        name = made.name.split("-")[0].replace("_", "-").lower()
        page = self.folder / "simple" / name / "index.html"
        page.parent.mkdir(exist_ok=True)
        sha256 = hashlib.sha256(data).hexdigest()
        with page.open("a") as file:
            file.write(f'<a href="../../{path}#sha256={sha256}">{made.name}</a><br>\n')
        return path
