"""A real HTTP server for a folder, whose faults a test chooses: slow, cut off, wrong, missing, behind a password."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

_PIECE = 4096


@dataclass(frozen=True, slots=True)
class Fault:
    """What a server does in place of giving a file as it is.

    Attributes:
        status: answered without the file, unless it is 200.
        location: where a redirect leads.
        body: in place of the file's bytes.
        more: bytes that follow the file.
        cut: the connection ends after so many bytes, though all were promised.
        pause: seconds before each 4096 bytes.
        ranges: whether a part may be asked for.
        offset: how far from what was asked a part begins.
    """

    status: int = 200
    location: str = ""
    body: bytes | None = None
    more: bytes = b""
    cut: int | None = None
    pause: float = 0.0
    ranges: bool = True
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked: ``headers`` by name in lower case."""

    path: str
    headers: Mapping[str, str]


class HttpServer:
    """A folder at an address of the loopback interface, while the ``with`` block runs.

    Attributes:
        requests: what was asked so far, in order.
        unchanged: how often the answer was that nothing has changed.
        otherwise: the address where whoever asks for what is not in the folder is sent; it is missing if that is empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[Request] = []
        self.unchanged = 0
        self.otherwise = ""
        self._faults: list[tuple[re.Pattern[str], Fault, list[int]]] = []
        self._passwords: dict[str, str] = {}
        self._mutex = Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def uri(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def spoil(self, pattern: str, *faults: Fault, times: int = 1_000_000) -> None:
        """Do something wrong with the paths that a regular expression finds, each fault so many times, in order."""
        self._faults += [(re.compile(pattern), fault, [times]) for fault in faults]

    def mend(self) -> None:
        """Do nothing wrong any more."""
        self._faults.clear()

    def require(self, user: str, password: str, prefix: str = "/") -> None:
        """Want a password for paths that begin so."""
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._passwords[prefix] = f"Basic {token}"

    def asked(self, pattern: str) -> int:
        """How many requests were for paths that a regular expression finds."""
        return sum(bool(re.search(pattern, request.path)) for request in self.requests)

    def __enter__(self) -> HttpServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _fault(self, path: str) -> Fault:
        with self._mutex:
            for pattern, fault, left in self._faults:
                if left[0] and pattern.search(path):
                    left[0] -= 1
                    return fault
        return Fault()

    def _allowed(self, request: Request) -> bool:
        wanted = [token for prefix, token in self._passwords.items() if request.path.startswith(prefix)]
        return not wanted or request.headers.get("authorization") in wanted


def _handler(owner: HttpServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            request = Request(path, {name.lower(): value for name, value in self.headers.items()})
            owner.requests.append(request)
            if not owner._allowed(request):
                self._short(401, {"WWW-Authenticate": 'Basic realm="test"'})
                return
            fault = owner._fault(path)
            file = owner.folder / path.lstrip("/")
            if fault.status != 200:
                self._short(fault.status, {"Location": fault.location} if fault.location else {})
            elif fault.body is None and not file.is_file():
                self._short(302, {"Location": owner.otherwise + self.path}) if owner.otherwise else self._short(404, {})
            else:
                self._give(fault, (file.read_bytes() if fault.body is None else fault.body) + fault.more)

        def do_HEAD(self) -> None:
            self.do_GET()

        def _give(self, fault: Fault, data: bytes) -> None:
            asked = re.match(r"bytes=(\d+)-$", self.headers.get("Range", ""))
            first = int(asked[1]) + fault.offset if asked and fault.ranges else 0
            if first >= len(data) > 0:
                self._short(416, {"Content-Range": f"bytes */{len(data)}"})
                return
            etag = f'"{hashlib.sha256(data).hexdigest()}"'
            if self.headers.get("If-None-Match") == etag:
                owner.unchanged += 1
                self._short(304, {"ETag": etag})
                return
            part = asked is not None and fault.ranges
            self.send_response(206 if part else 200)
            self.send_header("Content-Length", str(len(data) - first))
            self.send_header("ETag", etag)
            if part:
                self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if self.command == "HEAD":
                return
            given = data[first:] if fault.cut is None else data[first : first + fault.cut]
            with contextlib.suppress(ConnectionError):
                for begin in range(0, len(given), _PIECE):
                    if fault.pause:
                        time.sleep(fault.pause)
                    self.wfile.write(given[begin : begin + _PIECE])
            self.close_connection = fault.cut is not None

        def _short(self, status: int, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": "0"}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
