"""Bytes from HTTP, folders and stores into the local store: in parallel, resumed, verified."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Lock as Mutex
from typing import TYPE_CHECKING

from builder.errors import FetchError, IntegrityError
from builder.model.digest import Digest
from builder.report import Reporter
from builder.tools.store import Store

if TYPE_CHECKING:
    import httpx

_CONNECTIONS = 8
_TRIES = 4
_PIECE = 1 << 18


@dataclass(frozen=True, slots=True)
class Wanted:
    """Bytes of a known digest.

    Attributes:
        title: for messages.
        size: in bytes; None if unknown.
        places: addresses, tried in order: http(s) URLs or paths.
    """

    title: str
    digest: Digest
    size: int | None
    places: tuple[str, ...]


def fetch(wanted: Iterable[Wanted], store: Store, reporter: Reporter) -> None:
    """See to it that the store has some bytes.

    Raises:
        FetchError: none of the places has them.
        IntegrityError: what came is something else.
    """
    missing = tuple({one.digest: one for one in wanted if not store.has(one.digest)}.values())
    if not missing:
        return
    import httpx

    total = sum(one.size or 0 for one in missing)
    reporter.step(f"downloading {len(missing)} files")
    progress = _Progress(reporter, total)
    limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
    timeout = httpx.Timeout(30)
    with httpx.Client(limits=limits, timeout=timeout, follow_redirects=True) as client:
        pool = ThreadPoolExecutor(_CONNECTIONS)
        patient = True
        try:
            futures = [pool.submit(_one, one, store, client, progress) for one in missing]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException as error:
            patient = isinstance(error, Exception)
            raise
        finally:
            progress.stopped = True
            # Who interrupts us does not wait for a read that is stuck.
            pool.shutdown(wait=patient, cancel_futures=True)
    reporter.progress("download", total, total, "B")


class _Progress:
    def __init__(self, reporter: Reporter, total: int) -> None:
        self._reporter, self._total = reporter, total
        self._done = 0
        self._mutex = Mutex()
        self.stopped = False

    def add(self, count: int) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        with self._mutex:
            self._done += count
            if self._done < self._total:
                self._reporter.progress("download", self._done, self._total, "B")


def _one(wanted: Wanted, store: Store, client: httpx.Client, progress: _Progress) -> None:
    last: FetchError | IntegrityError | None = None
    for place in wanted.places:
        try:
            if "://" in place and not place.startswith("file://"):
                _http(wanted, place, store, client, progress)
            else:
                _file(wanted, Path(place.removeprefix("file://")), store)
            return
        except (FetchError, IntegrityError) as error:
            last = error
    raise last or FetchError(f"{wanted.title}: no place is known for it", "")


def _file(wanted: Wanted, path: Path, store: Store) -> None:
    try:
        with path.open("rb") as file, store.writing() as writer:
            shutil.copyfileobj(file, writer)
            if writer.digest != wanted.digest:
                raise IntegrityError(f"{path}: its checksum is wrong", wanted.digest, writer.digest)
    except FileNotFoundError:
        raise FetchError(f"{wanted.title}: there is no file {path}", str(path), 404) from None


def _http(wanted: Wanted, url: str, store: Store, client: httpx.Client, progress: _Progress) -> None:
    import httpx

    partial = store.folder("partial") / wanted.digest.hex
    pause = 0.5
    for attempt in range(1, _TRIES + 1):
        try:
            _request(wanted, url, partial, client, progress)
            break
        except (httpx.TransportError, FetchError) as error:
            status = error.status if isinstance(error, FetchError) else None
            final = status is not None and status < 500 and status != 429
            if final or attempt == _TRIES:
                if isinstance(error, FetchError):
                    raise
                raise FetchError(f"{wanted.title}: {url}: {error}", url, hint="is the mirror reachable?") from None
            time.sleep(pause)
            pause *= 2
    with partial.open("rb") as file:
        found = Digest.from_hex(hashlib.file_digest(file, "sha256").hexdigest())
    if found != wanted.digest:
        partial.unlink()
        raise IntegrityError(
            f"{wanted.title}: what {url} gives has the wrong checksum", wanted.digest, found,
            "the mirror is broken, or the file was replaced",
        )  # fmt: skip
    target = store.path(wanted.digest)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.replace(target)


def _request(wanted: Wanted, url: str, partial: Path, client: httpx.Client, progress: _Progress) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    if wanted.size is not None and have >= wanted.size:
        if have == wanted.size:
            progress.add(have)
            return
        partial.unlink()
        have = 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == 416:
            with contextlib.suppress(FileNotFoundError):
                partial.unlink()
            raise FetchError(f"{wanted.title}: {url}: the server refused to resume", url, 503)
        if response.status_code >= 400:
            message = f"{wanted.title}: {url} answers {response.status_code} {response.reason_phrase}"
            raise FetchError(message, url, response.status_code)
        resumed = response.status_code == 206
        with partial.open("ab" if resumed else "wb") as file:
            for piece in response.iter_bytes(_PIECE):
                file.write(piece)
                progress.add(len(piece))
                if wanted.size is not None and file.tell() > wanted.size:
                    break
    size = partial.stat().st_size
    if wanted.size is not None and size < wanted.size:
        raise FetchError(f"{wanted.title}: {url} ended after {size} of {wanted.size} bytes", url, 503)
