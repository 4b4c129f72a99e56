"""``oci_image.py OUT.tar NAME:TAG ROOTFS [ARG...]``: pack a folder as an OCI image that runs ARG, for containerd."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any


def main(out: str, name: str, rootfs: str, *arguments: str) -> None:
    """Write the archive."""
    files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def blob(kind: str, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        files[f"blobs/sha256/{digest}"] = data
        media_type = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(rootfs, arcname=".", filter=_plain)
    tar_layer = blob("layer.v1.tar", layer.getvalue())
    described = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": arguments, "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [tar_layer["digest"]]},
    }
    config = blob("config.v1+json", json.dumps(described).encode())
    manifest = blob(
        "manifest.v1+json", json.dumps({"schemaVersion": 2, "config": config, "layers": [tar_layer]}).encode()
    )
    manifest["annotations"] = {"io.containerd.image.name": name}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [manifest]}).encode()
    write(Path(out), files)


def write(out: Path, files: dict[str, bytes]) -> None:
    """An archive of some files."""
    with tarfile.open(out, "w") as tar:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return info


if __name__ == "__main__":
    main(*sys.argv[1:])
