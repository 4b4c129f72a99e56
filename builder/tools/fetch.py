"""Bytes from HTTP, folders and stores into the local store: in parallel, resumed, verified."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from threading import Lock as Mutex
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from builder.errors import FetchError, IntegrityError
from builder.model.digest import Digest
from builder.report import Reporter
from builder.tools import credentials
from builder.tools.credentials import Login
from builder.tools.store import Store

if TYPE_CHECKING:
    import httpx

_CONNECTIONS = 8
_READERS = 2
_TRIES = 4
_PIECE = 1 << 18
_SLOWEST = 1024
"""Bytes a second below which a server counts as one that does not answer."""
GONE = (404, 410)
"""The answers that say: there is no such file here."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Bytes of a known digest.

    Attributes:
        title: for messages.
        size: in bytes; None if unknown.
        places: addresses, tried in order: http(s) and file URLs, or paths.
    """

    title: str
    digest: Digest
    size: int | None
    places: tuple[str, ...]


def fetch(
    wanted: Iterable[Wanted],
    store: Store,
    reporter: Reporter,
    logins: tuple[Login, ...] = (),
    patience: float = 30,
) -> tuple[Wanted, ...]:
    """See to it that the store has some bytes; what it has is read, and fetched again if it is damaged.

    Args:
        patience: seconds after which a server counts as one that does not answer; pauses go by it.

    Returns:
        What none of its places has any more.

    Raises:
        FetchError: a place did not answer, or the store cannot be written.
        IntegrityError: what came is something else.
    """
    # A build that makes nothing does without it.
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    every = tuple({one.digest: one for one in wanted}.values())
    with ThreadPoolExecutor(_READERS) as readers:
        sound = list(readers.map(store.sound, (one.digest for one in every)))
    missing = tuple(one for one, is_sound in zip(every, sound, strict=True) if not is_sound)
    if not missing:
        return ()
    reporter.step(f"downloading {len(missing)} files")
    progress = _Progress(reporter, missing)
    with _client(logins, patience) as client:
        pool, patient = ThreadPoolExecutor(_CONNECTIONS), True
        fetcher = _Fetcher(store, client, progress, reporter, patience)
        try:
            futures = {pool.submit(fetcher.fetch, one): one for one in missing}
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            gone = tuple(one for future, one in futures.items() if future in done and not future.result())
        except OSError as error:
            hint = "make room (`imgbuild cache` shows what is kept); what has come so far is kept"
            raise FetchError(f"{store.root}: cannot be written: {error.strerror or error}", "", hint=hint) from None
        except BaseException as error:
            patient = isinstance(error, Exception)
            raise
        finally:
            progress.stopped.set()
            # Who interrupts us does not wait for a read that is stuck.
            pool.shutdown(wait=patient, cancel_futures=True)
    progress.end(gone)
    return gone


def problem(url: str, logins: tuple[Login, ...] = (), patience: float = 30) -> str:
    """Why an address cannot be had; empty if it can. Nothing is fetched."""
    import httpx

    if url.startswith("file:"):
        return "" if Path(unquote(urlsplit(url).path)).exists() else "it is not there"
    try:
        with _client(logins, patience) as client:
            answer = client.head(url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return str(error) or type(error).__name__
    return "" if answer.is_success else f"{answer.status_code} {answer.reason_phrase}"


def document(
    url: str, etag: str, logins: tuple[Login, ...] = (), patience: float = 30, most: int = 1 << 30
) -> tuple[bytes | None, str]:
    """What lies at an address now, and its ETag; None if it is still what the given tag stands for (RFC 9110, 13.1.2).

    Args:
        etag: of what one has; empty for nothing.
        most: bytes above which it is refused.

    Raises:
        FetchError: it cannot be had.
    """
    import httpx

    headers = {"If-None-Match": etag} if etag else {}
    try:
        with _client(logins, patience) as client, client.stream("GET", url, headers=headers) as answer:
            if answer.status_code == 304 and etag:
                return None, etag
            if not answer.is_success:
                said = f"{answer.status_code} {answer.reason_phrase}"
                raise FetchError(f"{url}: the server says {said}", url, answer.status_code)
            data = bytearray()
            for piece in answer.iter_bytes(_PIECE):
                data += piece
                if len(data) > most:
                    raise FetchError(f"{url}: it is larger than {most // 1024 // 1024} MiB", url)
            return bytes(data), answer.headers.get("ETag", "")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FetchError(f"{url}: {str(error) or type(error).__name__}", url) from None


def _client(logins: tuple[Login, ...], patience: float) -> httpx.Client:
    import httpx

    def with_login(request: httpx.Request) -> None:
        # for redirects, too: httpx takes the header away when they lead to another host
        if found := credentials.login(logins, str(request.url)):
            token = base64.b64encode(f"{found.user}:{found.password}".encode()).decode()
            request.headers["Authorization"] = f"Basic {token}"

    limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
    return httpx.Client(
        limits=limits, timeout=patience, follow_redirects=True, event_hooks={"request": [with_login]},
        headers={"Accept-Encoding": "identity", "User-Agent": "imgbuild"},
    )  # fmt: skip


class _Progress:
    """How far all downloads are together; raises in them once they are to stop."""

    def __init__(self, reporter: Reporter, wanted: tuple[Wanted, ...]) -> None:
        self._reporter, self._total = reporter, sum(one.size or 0 for one in wanted)
        self._done: dict[Digest, int] = {}
        self._mutex = Mutex()
        self.stopped = Event()

    def at(self, digest: Digest, count: int) -> None:
        self.require_going_on()
        with self._mutex:
            self._done[digest] = count
            done = sum(self._done.values())
            if done < self._total:
                self._reporter.progress("download", done, self._total, "B")

    def require_going_on(self) -> None:
        if self.stopped.is_set():
            raise KeyboardInterrupt

    def end(self, gone: tuple[Wanted, ...]) -> None:
        total = self._total - sum(one.size or 0 for one in gone)
        if total:
            self._reporter.progress("download", total, total, "B")


class _Fetcher:
    def __init__(
        self, store: Store, client: httpx.Client, progress: _Progress, reporter: Reporter, patience: float
    ) -> None:
        self._store, self._client, self._progress, self._reporter = store, client, progress, reporter
        self._patience = patience
        self._silent: set[str] = set()

    def fetch(self, wanted: Wanted) -> bool:
        """Fetch one; whether it was there at all."""
        errors: list[FetchError | IntegrityError] = []
        with self._partial(wanted) as file:
            if file is None:
                return True
            # hosts that did not answer come last: no need to wait for them again if others have it
            for place in sorted(wanted.places, key=lambda place: _host(place) in self._silent):
                try:
                    if place.startswith(("http://", "https://")):
                        self._from_http(wanted, place, file)
                    else:
                        self._from_file(wanted, place, file)
                    self._keep(wanted, place, file)
                    return True
                except (FetchError, IntegrityError) as error:
                    errors.append(error)
        # What is elsewhere is not gone because it is not here: another fault goes before a 404.
        worse = [e for e in errors if not (isinstance(e, FetchError) and e.status in GONE)]
        if worse:
            raise next((e for e in worse if isinstance(e, IntegrityError)), worse[0])
        return False

    @contextlib.contextmanager
    def _partial(self, wanted: Wanted) -> Iterator[BinaryIO | None]:
        """The file of what has come so far, ours alone; None if meanwhile another process has fetched it."""
        path = self._store.folder("partial") / wanted.digest.hex
        while True:
            with path.open("a+b") as file:
                self._lock(file, wanted)
                # whoever had it may have moved it into the store, or thrown it away
                if self._store.has(wanted.digest):
                    if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                        path.unlink()
                    yield None
                    return
                if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    try:
                        yield file
                    finally:
                        if path.exists() and file.seek(0, os.SEEK_END) == 0:
                            path.unlink()
                    return

    def _lock(self, file: BinaryIO, wanted: Wanted) -> None:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if not told:
                    self._reporter.detail(f"another process fetches {wanted.title}")
                    told = True
                self._progress.at(wanted.digest, 0)
                time.sleep(0.1)

    def _keep(self, wanted: Wanted, place: str, file: BinaryIO) -> None:
        found = _digest(file)
        if found != wanted.digest:
            _emptied(file)
            raise _wrong(wanted, place, found)
        os.fchmod(file.fileno(), 0o644)
        target = self._store.path(wanted.digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file.name, target)

    def _from_file(self, wanted: Wanted, place: str, file: BinaryIO) -> None:
        path = Path(unquote(urlsplit(place).path) if place.startswith("file:") else place)
        try:
            with path.open("rb") as source:
                _emptied(file)
                while piece := source.read(_PIECE):
                    file.write(piece)
                    self._progress.at(wanted.digest, file.tell())
        except (FileNotFoundError, NotADirectoryError):
            raise FetchError(f"{wanted.title}: there is no file {path}", str(path), 404) from None
        except (PermissionError, IsADirectoryError) as error:
            raise FetchError(f"{wanted.title}: {path}: {error.strerror}", str(path)) from None

    def _from_http(self, wanted: Wanted, url: str, file: BinaryIO) -> None:
        import httpx

        shown = _public(url)
        pause = self._patience / 60
        for attempt in range(1, _TRIES + 1):
            resumed = file.seek(0, os.SEEK_END) > 0
            try:
                self._request(wanted, url, file)
                if resumed and _digest(file) != wanted.digest:
                    # what had come before was wrong: from the start, once, before the server is blamed
                    _emptied(file)
                    self._request(wanted, url, file)
                return
            except (httpx.TransportError, _Unfinished) as error:
                problem = str(error) or type(error).__name__
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise FetchError(f"{wanted.title}: {shown}: {error}", shown) from None
            self._progress.require_going_on()
            if attempt < _TRIES:
                self._reporter.note(f"{wanted.title}: {shown}: {problem}; again in {pause:g} s ({attempt} of {_TRIES})")
                self._progress.stopped.wait(pause)
                self._progress.require_going_on()
                pause *= 2
        self._silent.add(_host(url))
        raise FetchError(
            f"{wanted.title}: {shown}: {problem}", shown, hint=f"it was tried {_TRIES} times: is the mirror reachable?"
        )

    def _request(self, wanted: Wanted, url: str, file: BinaryIO) -> None:
        have = file.seek(0, os.SEEK_END)
        if wanted.size is not None and have >= wanted.size:
            if have == wanted.size:
                self._progress.at(wanted.digest, have)
                return
            have = _emptied(file)
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self._client.stream("GET", url, headers=headers) as response:
            status = response.status_code
            if status == 416 or (
                status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            ):
                _emptied(file)
                raise _Unfinished("the server cannot resume")
            if status >= 500 or status == 429:
                raise _Unfinished(f"answers {status} {response.reason_phrase}")
            if status not in (200, 206):
                raise _refused(wanted, _public(url), status, response.reason_phrase)
            if status == 200:
                _emptied(file)
            self._take(wanted, url, file, response)
        size = file.tell()
        if wanted.size is not None and size < wanted.size:
            raise _Unfinished(f"ended after {size} of {wanted.size} bytes")

    def _take(self, wanted: Wanted, url: str, file: BinaryIO, response: httpx.Response) -> None:
        since, before = time.monotonic(), 0
        for piece in response.iter_raw():  # as it comes: what were collected would be lost with the connection
            file.write(piece)
            size = file.tell()
            self._progress.at(wanted.digest, size)
            if wanted.size is not None and size > wanted.size:
                _emptied(file)
                message = f"{wanted.title}: {_public(url)} gives more than the {wanted.size} bytes that are locked"
                raise IntegrityError(message, wanted.digest, "", "the mirror is broken, or the file was replaced")
            before += len(piece)
            if (passed := time.monotonic() - since) > self._patience:
                if before < _SLOWEST * passed:
                    raise _Unfinished(f"gives less than {_SLOWEST} bytes a second")
                since, before = time.monotonic(), 0


class _Unfinished(Exception):
    """A server did not do what it should: it may do so the next time."""


def _emptied(file: BinaryIO) -> int:
    # Where it stands counts, too: what is written next is told by it until it reaches the disk.
    file.seek(0)
    return file.truncate(0)


def _digest(file: BinaryIO) -> Digest:
    file.flush()
    file.seek(0)
    return Digest.of_stream(file)


def _refused(wanted: Wanted, shown: str, status: int, reason: str) -> FetchError:
    hint = "credentials are in the file that the workspace names by `netrc`" if status in (401, 403) else ""
    return FetchError(f"{wanted.title}: {shown} answers {status} {reason}", shown, status, hint)


def _wrong(wanted: Wanted, place: str, found: Digest) -> IntegrityError:
    return IntegrityError(
        f"{wanted.title}: what {_public(place)} gives has the wrong checksum: {found}, not {wanted.digest}",
        wanted.digest, found, "the mirror is broken, or the file was replaced",
    )  # fmt: skip


def _host(place: str) -> str:
    return urlsplit(place).netloc if "://" in place else ""


def _public(url: str) -> str:
    return re.sub(r"(?<=://)[^/@]*@", "", url)
