"""What lies between a client and a registry, and does what networks and servers do: resets, 429, 500, other bytes, tokens."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import re
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

_PIECE = 1 << 16


@dataclass(frozen=True)
class Fault:
    """What is done in place of handing a request on and its answer back.

    Attributes:
        status: answered at once, with these headers.
        reset_after: the connection is reset after so many bytes of the request's body have come, which are handed on.
        cut: the answer ends after so many bytes of its body.
        spoil: one byte of the answer's body is another.
        spoil_request: one byte of the request's body is another.
        lose_answer: the request is handed on, its answer is not.
        pause: seconds before.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    reset_after: int | None = None
    cut: int | None = None
    spoil: bool = False
    spoil_request: bool = False
    lose_answer: bool = False
    pause: float = 0.0


@dataclass(frozen=True)
class Tokens:
    """Tokens that the proxy wants, and gives for a password.

    Attributes:
        lives: how many requests each is good for, whatever it says.
        said: seconds that it says it lives.
    """

    user: str
    password: str
    lives: int = 1_000_000
    said: int = 300


@dataclass(frozen=True)
class Asked:
    """A request: the size is that of its body."""

    method: str
    path: str
    size: int
    headers: Mapping[str, str] = field(repr=False)


class FaultyProxy:
    """A proxy in front of a registry without TLS while the ``with`` block runs.

    Attributes:
        asked: the requests, in order.
        scopes: what tokens were asked for.
        referrers: if it is a list, it plays the API of that name, which docker-registry does not have, and remembers
            manifests with a subject; each page has one.
    """

    def __init__(self, port: int, tokens: Tokens | None = None) -> None:
        self.asked: list[Asked] = []
        self.scopes: list[tuple[str, ...]] = []
        self.referrers: list[dict[str, Any]] | None = None
        self._behind, self._tokens = port, tokens
        self._lives: dict[str, int] = {}
        self._faults: list[tuple[str, re.Pattern[str], Fault, list[int]]] = []
        self._mutex = Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def host(self) -> str:
        """What it is called."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def spoil(self, method: str, pattern: str, *faults: Fault, times: int = 1) -> None:
        """Do something wrong with requests whose path a regular expression finds, each fault so many times, in order."""
        self._faults += [(method, re.compile(pattern), fault, [times]) for fault in faults]

    def mend(self) -> None:
        """Do nothing wrong any more, and forget what was asked."""
        self._faults.clear()
        self.asked.clear()

    def count(self, method: str, pattern: str = "") -> int:
        """How many such requests there were."""
        return sum(one.method == method and bool(re.search(pattern, one.path)) for one in self.asked)

    def __enter__(self) -> FaultyProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _fault(self, method: str, path: str) -> Fault:
        with self._mutex:
            for wanted, pattern, fault, left in self._faults:
                if left[0] and wanted in (method, "*") and pattern.search(path):
                    left[0] -= 1
                    return fault
        return Fault()

    def _allowed(self, authorization: str) -> bool:
        if self._tokens is None:
            return True
        with self._mutex:
            token = authorization.removeprefix("Bearer ")
            self._lives[token] = self._lives.get(token, 0) - 1
            return self._lives[token] >= 0

    def _give_token(self, authorization: str, query: str) -> str | None:
        assert self._tokens
        wanted = base64.b64encode(f"{self._tokens.user}:{self._tokens.password}".encode()).decode()
        if authorization != f"Basic {wanted}":
            return None
        with self._mutex:
            self.scopes.append(tuple(parse_qs(query).get("scope", ())))
            token = f"token-{len(self._lives)}"
            self._lives[token] = self._tokens.lives
        return token


def _handler(owner: FaultyProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            if self.path.startswith("http://"):
                # We are a proxy that somebody has been told of.
                self.path = "/" + self.path.removeprefix("http://").partition("/")[2]
            parts = urlsplit(self.path)
            size = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            owner.asked.append(Asked(self.command, self.path, size, headers))
            if parts.path == "/token":
                self._token(parts.query)
                return
            if owner.referrers is not None and "/referrers/" in parts.path:
                self._referrers(parts.path.rpartition("/")[2], parts.query)
                return
            fault = owner._fault(self.command, self.path)
            time.sleep(fault.pause)
            if fault.reset_after is None and not owner._allowed(self.headers.get("Authorization", "")):
                self.rfile.read(size)
                realm = f'Bearer realm="http://{owner.host}/token",service="test",scope="repository:x:pull"'
                self._answer(401, {"WWW-Authenticate": realm}, b'{"errors":[{"code":"UNAUTHORIZED","message":"who?"}]}')
            elif fault.status:
                self.rfile.read(size)
                self._answer(fault.status, fault.headers, b"")
            else:
                with contextlib.suppress(ConnectionError, http.client.HTTPException):
                    self._hand_on(fault, size)

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = do

        def _hand_on(self, fault: Fault, size: int) -> None:
            behind = http.client.HTTPConnection("127.0.0.1", owner._behind, timeout=30)
            with contextlib.closing(behind):
                behind.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("connection", "authorization"):
                        behind.putheader(name, value)
                behind.endheaders()
                left = size if fault.reset_after is None else min(size, fault.reset_after)
                spoil, sent = fault.spoil_request, bytearray()
                while left:
                    piece = self.rfile.read(min(_PIECE, left))
                    if not piece:
                        return
                    left -= len(piece)
                    if spoil:
                        piece, spoil = bytes([piece[0] ^ 1]) + piece[1:], False
                    behind.send(piece)
                    if "/manifests/" in self.path:
                        sent += piece
                if fault.reset_after is not None:
                    self._reset()
                    return
                answer = behind.getresponse()
                body = answer.read()
                if fault.lose_answer:
                    self._reset()
                    return
                if fault.spoil and body:
                    body = bytes([body[0] ^ 1]) + body[1:]
                more = self._subject(bytes(sent)) if answer.status == 201 and sent else {}
                if self.command == "DELETE" and owner.referrers is not None:
                    digest = self.path.rpartition("/")[2]
                    owner.referrers = [one for one in owner.referrers if one["digest"] != digest]
                self._answer(answer.status, {**dict(answer.getheaders()), **more}, body, fault.cut)

        def _subject(self, manifest: bytes) -> dict[str, str]:
            subject = json.loads(manifest).get("subject")
            if owner.referrers is None or not subject:
                return {}
            owner.referrers.append(json.loads(manifest) | {"digest": f"sha256:{hashlib.sha256(manifest).hexdigest()}"})
            return {"OCI-Subject": subject["digest"]}

        def _referrers(self, digest: str, query: str) -> None:
            assert owner.referrers is not None
            fit = [one for one in owner.referrers if one["subject"]["digest"] == digest]
            page = int(query.partition("page=")[2] or 0)
            index = {"schemaVersion": 2, "manifests": fit[page : page + 1]}
            following = (
                {"Link": f'<{urlsplit(self.path).path}?page={page + 1}>; rel="next"'} if page + 1 < len(fit) else {}
            )
            self._answer(200, following, json.dumps(index).encode())

        def _token(self, query: str) -> None:
            token = owner._give_token(self.headers.get("Authorization", ""), query)
            assert owner._tokens
            if token is None:
                self._answer(401, {}, b"{}")
            else:
                data = {"token": token, "expires_in": owner._tokens.said}
                self._answer(200, {"Content-Type": "application/json"}, json.dumps(data).encode())

        def _answer(self, status: int, headers: Mapping[str, str], body: bytes, cut: int | None = None) -> None:
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                length = headers.get("Content-Length") if self.command == "HEAD" else str(len(body))
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                        self.send_header(name, value)
                self.send_header("Content-Length", length or "0")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body if cut is None else body[:cut])
                self.close_connection = self.close_connection or cut is not None

        def _reset(self) -> None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
