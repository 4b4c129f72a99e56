"""A caching HTTP proxy on the loopback interface: what was fetched once is the same for all, and fetched no more."""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.error
import urllib.request
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Self


class Mirror:
    """The proxy, while the ``with`` block runs.

    Attributes:
        fetched: how many files it did not have.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.fetched = 0
        self._locks: dict[str, Lock] = defaultdict(Lock)
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                try:
                    path = mirror._path(folder, self.path)
                except (urllib.error.URLError, OSError, ValueError) as error:
                    code = error.code if isinstance(error, urllib.error.HTTPError) else 502
                    self.send_error(code, str(error))
                    return
                with path.open("rb") as file:
                    self.send_response(200)
                    self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
                    self.end_headers()
                    shutil.copyfileobj(file, self.wfile, 1 << 20)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _path(self, folder: Path, url: str) -> Path:
        """Where a file lies, fetched now if it was not there."""
        path = folder / hashlib.sha256(url.encode()).hexdigest()
        with self._locks[url]:
            if not path.exists():
                part = path.with_suffix(".part")
                with urllib.request.urlopen(url, timeout=60) as answer, part.open("wb") as file:
                    shutil.copyfileobj(answer, file, 1 << 20)
                part.rename(path)
                self.fetched += 1
        return path
