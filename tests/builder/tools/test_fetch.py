"""Downloads from a real server that does many things wrong."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from builder.errors import FetchError, IntegrityError
from builder.model.digest import Digest
from builder.report import Silent
from builder.tools import fetch as fetching
from builder.tools.credentials import Login
from builder.tools.fetch import Wanted
from builder.tools.store import Store
from tests.kit.http_server import Fault, HttpServer

DATA = random.Random(7).randbytes(50_000)
DIGEST = Digest.of(DATA)
ROOT = Path(__file__).parent.parent.parent.parent


class Told(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.done: list[tuple[int, int]] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def progress(self, task: str, done: int, total: int, unit: str = "") -> None:
        self.done.append((done, total))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HttpServer]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "a.deb").write_bytes(DATA)
    with HttpServer(folder) as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def wanted(*places: str, size: int | None = len(DATA)) -> Wanted:
    return Wanted("a 1", DIGEST, size, places)


def fetch(one: Wanted, store: Store, told: Silent | None = None, patience: float = 2) -> tuple[Wanted, ...]:
    return fetching.fetch([one], store, told or Silent(), patience=patience)


def partials(store: Store) -> list[Path]:
    return list((store.root / "partial").iterdir())


@pytest.mark.parametrize("size", [len(DATA), None])
def test_bytes_come_and_are_kept(server: HttpServer, store: Store, size: int | None) -> None:
    assert fetch(wanted(f"{server.uri}/a.deb", size=size), store) == ()
    assert store.read(DIGEST) == DATA
    assert store.path(DIGEST).stat().st_mode & 0o777 == 0o644
    assert partials(store) == []
    fetch(wanted(f"{server.uri}/a.deb", size=size), store)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ([Fault(status=500)], "answers 500"),
        ([Fault(status=429)], "answers 429"),
        ([Fault(cut=20_000)], "closed connection|incomplete|peer"),
        ([Fault(cut=0)], "closed connection|disconnected|peer"),
        ([Fault(body=DATA[:30_000])], "ended after 30000 of 50000 bytes"),
        ([Fault(cut=20_000), Fault(offset=-5)], "cannot resume"),
        ([Fault(cut=20_000), Fault(status=416)], "cannot resume"),
        ([Fault(pause=1.5)], "timed out|less than"),
    ],
)
def test_what_may_go_better_is_tried_again_and_told(
    server: HttpServer, store: Store, faults: list[Fault], said: str
) -> None:
    told = Told()
    server.spoil("a.deb", *faults, times=1)
    assert fetch(wanted(f"{server.uri}/a.deb"), store, told, patience=1) == ()
    assert store.read(DIGEST) == DATA
    assert len(told.notes) == len(faults)
    assert re.search(said, told.notes[-1])
    assert "again in" in told.notes[0]
    assert told.done[-1] == (len(DATA), len(DATA))
    assert max(done for done, _ in told.done) == len(DATA)


def test_what_has_come_is_not_asked_for_again(server: HttpServer, store: Store) -> None:
    server.spoil("a.deb", Fault(cut=20_000), times=1)
    fetch(wanted(f"{server.uri}/a.deb"), store)
    assert [request.headers.get("range") for request in server.requests] == [None, "bytes=20000-"]
    assert store.read(DIGEST) == DATA


def test_the_next_run_goes_on_where_one_ended(server: HttpServer, store: Store) -> None:
    server.spoil("a.deb", Fault(cut=20_000), times=1)
    server.spoil("a.deb", Fault(status=503))
    with pytest.raises(FetchError, match="503"):
        fetch(wanted(f"{server.uri}/a.deb"), store)
    server.mend()
    fetch(wanted(f"{server.uri}/a.deb"), store)
    assert server.requests[-1].headers["range"] == "bytes=20000-"
    assert store.read(DIGEST) == DATA


@pytest.mark.parametrize("left", [b"x" * 20_000, b"x" * 50_000, b"x" * 60_000])
def test_a_wrong_beginning_is_thrown_away(server: HttpServer, store: Store, left: bytes) -> None:
    (store.folder("partial") / DIGEST.hex).write_bytes(left)
    fetch(wanted(f"{server.uri}/a.deb"), store)
    assert store.read(DIGEST) == DATA


def test_a_server_that_gives_no_parts_gives_the_whole(server: HttpServer, store: Store) -> None:
    (store.folder("partial") / DIGEST.hex).write_bytes(DATA[:1000])
    server.spoil("a.deb", Fault(ranges=False))
    fetch(wanted(f"{server.uri}/a.deb"), store)
    assert store.read(DIGEST) == DATA


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(cut=0), Fault(pause=60)])
def test_tries_are_bounded(server: HttpServer, store: Store, fault: Fault) -> None:
    told = Told()
    server.spoil("a.deb", fault)
    with pytest.raises(FetchError) as raised:
        fetch(wanted(f"{server.uri}/a.deb"), store, told, patience=0.3)
    assert (raised.value.status, len(server.requests), len(told.notes)) == (None, 4, 3)
    assert f"{server.uri}/a.deb" in raised.value.message
    assert not store.has(DIGEST)


@pytest.mark.parametrize("status", [404, 410])
def test_what_no_place_has_is_gone(server: HttpServer, store: Store, tmp_path: Path, status: int) -> None:
    server.spoil("b.deb", Fault(status=status))
    one = wanted(str(tmp_path / "nowhere/a.deb"), f"file://{tmp_path}/a.deb", f"{server.uri}/b.deb")
    assert fetch(one, store) == (one,)
    assert partials(store) == []


def test_what_another_place_may_have_is_not_gone(server: HttpServer, store: Store) -> None:
    server.spoil("b.deb", Fault(status=500))
    with pytest.raises(FetchError, match="500"):
        fetch(wanted(f"{server.uri}/c.deb", f"{server.uri}/b.deb", f"{server.uri}/d.deb"), store)


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refusal_is_told_at_once(server: HttpServer, store: Store, status: int) -> None:
    server.spoil("a.deb", Fault(status=status))
    with pytest.raises(FetchError, match=f"answers {status}") as raised:
        fetch(wanted(f"{server.uri}/a.deb"), store)
    assert (raised.value.status, len(server.requests)) == (status, 1)


def test_wrong_bytes_are_told_and_not_kept(server: HttpServer, store: Store) -> None:
    server.spoil("a.deb", Fault(body=b"x" * len(DATA)))
    with pytest.raises(IntegrityError) as raised:
        fetch(wanted(f"{server.uri}/a.deb"), store)
    found = Digest.of(b"x" * len(DATA))
    assert all(text in raised.value.message for text in ("a 1", f"{server.uri}/a.deb", DIGEST, found))
    assert (raised.value.expected, raised.value.found) == (DIGEST, found)
    assert not store.has(DIGEST)
    assert not store.has(found)
    assert partials(store) == []


def test_more_than_what_is_locked_is_told(server: HttpServer, store: Store) -> None:
    server.spoil("a.deb", Fault(more=b"x"))
    with pytest.raises(IntegrityError, match="more than the 50000 bytes"):
        fetch(wanted(f"{server.uri}/a.deb"), store)
    assert partials(store) == []


@pytest.mark.parametrize(
    "fault", [Fault(body=b"x" * len(DATA)), Fault(more=b"x"), Fault(status=404), Fault(status=403)]
)
def test_the_next_place_is_tried(server: HttpServer, store: Store, fault: Fault) -> None:
    server.spoil("wrong", fault)
    fetch(wanted(f"{server.uri}/wrong", f"{server.uri}/a.deb"), store)
    assert store.read(DIGEST) == DATA


def test_wrong_bytes_of_a_folder_are_told(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a b.deb").write_bytes(b"x")
    with pytest.raises(IntegrityError, match="wrong checksum"):
        fetch(wanted(f"file://{tmp_path}/a%20b.deb"), store)
    (tmp_path / "a b.deb").write_bytes(DATA)
    fetch(wanted(str(tmp_path / "a b.deb")), store)
    assert store.read(DIGEST) == DATA


def test_a_host_that_does_not_answer_comes_last(server: HttpServer, store: Store, tmp_path: Path) -> None:
    with HttpServer(tmp_path) as other:
        dead = other.uri
    many = []
    for number in range(30):
        (server.folder / f"{number}.deb").write_text(str(number))
        places = (f"{dead}/{number}.deb", f"{server.uri}/{number}.deb")
        many.append(Wanted(str(number), Digest.of(str(number).encode()), None, places))
    told = Told()
    assert fetching.fetch(many, store, told, patience=2) == ()
    assert all(store.has(one.digest) for one in many)
    assert len(told.notes) <= 8 * 3, "those that begin at once try it, the others do not"


def test_redirects_are_followed(server: HttpServer, store: Store) -> None:
    server.spoil("old", Fault(status=302, location=f"{server.uri}/a.deb"))
    fetch(wanted(f"{server.uri}/old"), store)
    assert store.read(DIGEST) == DATA
    server.spoil("circle", Fault(status=302, location=f"{server.uri}/circle"))
    with pytest.raises(FetchError, match="redirect"):
        fetching.fetch([Wanted("b", Digest.of(b""), None, (f"{server.uri}/circle",))], store, Silent())


def test_credentials_go_to_the_hosts_that_they_name_alone(server: HttpServer, store: Store, tmp_path: Path) -> None:
    server.require("me", "geheim:ß")
    logins = (Login(f"http://127.0.0.1:{server.port}/a", "me", "geheim:ß"),)
    with HttpServer(tmp_path) as other:
        other.spoil("moved", Fault(status=302, location=f"{server.uri}/a.deb"))
        other.spoil("else", Fault(status=404))
        server.spoil("away", Fault(status=302, location=f"{other.uri}/else"))
        with pytest.raises(FetchError, match="401"):
            fetching.fetch([wanted(f"{server.uri}/b.deb")], store, Silent(), logins)
        assert fetching.fetch([wanted(f"{server.uri}/away")], store, Silent(), (Login(server.uri, "me", "geheim:ß"),))
        fetching.fetch([wanted(f"{other.uri}/moved")], store, Silent(), logins)
        assert all("authorization" not in request.headers for request in other.requests)
    assert store.read(DIGEST) == DATA


def test_a_password_in_an_address_is_not_told(server: HttpServer, store: Store) -> None:
    server.spoil("a.deb", Fault(status=403))
    with pytest.raises(FetchError) as raised:
        fetch(wanted(f"http://me:secret@127.0.0.1:{server.port}/a.deb"), store)
    assert "secret" not in raised.value.message + raised.value.url


def test_two_at_once_fetch_once(server: HttpServer, tmp_path: Path) -> None:
    server.spoil("a.deb", Fault(pause=0.05), times=1)
    code = (
        "import sys; from builder.tools import fetch; from builder.tools.store import Store; from pathlib import Path\n"
        "from builder.model.digest import Digest; from builder.report import Silent\n"
        "one = fetch.Wanted('a', Digest(sys.argv[1]), int(sys.argv[2]), (sys.argv[3],))\n"
        "assert fetch.fetch([one], Store(Path(sys.argv[4])), Silent()) == ()\n"
    )
    words = [sys.executable, "-c", code, DIGEST, str(len(DATA)), f"{server.uri}/a.deb", str(tmp_path / "store")]
    running = [subprocess.Popen(words, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert server.asked("a.deb") == 1
    assert Store(tmp_path / "store").read(DIGEST) == DATA
    assert partials(Store(tmp_path / "store")) == []


def test_another_goes_on_where_one_gave_up(server: HttpServer, store: Store) -> None:
    server.spoil("a.deb", Fault(status=404, pause=0.2), times=1)
    server.spoil("a.deb", Fault(pause=0.02))
    found: list[object] = []
    runs = [Thread(target=lambda: found.append(fetch(wanted(f"{server.uri}/a.deb"), store))) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert sorted(map(len, found)) == [0, 1]  # type: ignore[arg-type]
    assert store.read(DIGEST) == DATA


def test_a_full_disk_is_told_and_mended(server: HttpServer, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", small], check=True)
    try:
        with pytest.raises(FetchError, match=r"small/store: cannot be written: No space left"):
            fetch(wanted(f"{server.uri}/a.deb"), Store(small / "store"))
        subprocess.run(["mount", "-o", "remount,size=1m", small], check=True)
        fetch(wanted(f"{server.uri}/a.deb"), Store(small / "store"))
        assert Store(small / "store").read(DIGEST) == DATA
    finally:
        subprocess.run(["umount", small], check=True)
