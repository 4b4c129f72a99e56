"""Real engines: only what they lack is sent, what they refuse is told, and nothing is held in memory."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from builder.errors import EngineError
from builder.formats import compress
from builder.model.digest import Digest
from builder.model.image import Image
from builder.report import Silent
from builder.tools.store import Store
from builder.transports import engine
from builder.transports.engine import Engine, Kind
from tests.kit.images import make_image, random_image
from tests.kit.project import ROOT

VARIABLES = {"docker": "DOCKER_HOST", "podman": "CONTAINER_HOST"}


class Told(Silent):
    """Remembers how many bytes of layers were sent, and notes."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.notes: list[str] = []

    def progress(self, task: str, done: int, total: int, unit: str = "") -> None:
        if done == total:
            self.sent.append(total)

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Where images are made."""
    return Store(tmp_path / "store")


@pytest.fixture(params=get_args(Kind))
def connected(request: pytest.FixtureRequest, store: Store, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine."""
    monkeypatch.setenv(VARIABLES[request.param], request.getfixturevalue(request.param).host)
    return engine.connect(request.param, store)


def load(connected: Engine, image: Image, reference: str) -> Told:
    """Load an image; what was told."""
    told = Told()
    connected.load(image, reference, told)
    assert connected.read(reference).config == image.config
    return told


def size(image: Image, *numbers: int) -> int:
    """Of some of its layers."""
    return sum(image.layers[number].size for number in numbers)


@pytest.mark.e2e
def test_only_what_is_new_is_sent(connected: Engine, store: Store) -> None:
    three, four = (random_image(store, layers=layers, seed=70, compression="gzip") for layers in (3, 4))
    assert load(connected, three, "sent:1").sent == [size(three, 0, 1, 2)]
    assert load(connected, four, "sent:2").sent == [size(four, 3)]
    assert load(connected, four, "sent:3").sent == [0]
    other = random_image(store, layers=3, seed=71, compression="gzip")
    mixed = make_image(store, [three.layers[0], other.layers[1], three.layers[2]])
    # docker knows a layer by all that lie below it, podman by itself.
    expected = size(mixed, 1, 2) if connected.kind == "docker" else size(mixed, 1)
    told = load(connected, mixed, "sent:4")
    assert (told.sent, told.notes) == ([expected], [])


@pytest.mark.e2e
def test_an_engine_that_wants_all_gets_all(connected: Engine, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one whose image is removed while another is being loaded."""
    image = random_image(store, layers=3, seed=72, compression="gzip")
    everything = frozenset(layer.digest for layer in image.layers)
    monkeypatch.setattr(Engine, "_known", lambda *_: everything)
    told = load(connected, image, "all:1")
    assert told.sent == [size(image, 0, 1, 2)]
    (note,) = told.notes
    assert note.startswith(f"{connected.kind} wants all layers of all:1: ")


@pytest.mark.e2e
def test_what_an_engine_refuses_is_told(connected: Engine, store: Store) -> None:
    """docker answers with 200 and an error in what follows."""
    image = random_image(store, layers=2, seed=73, compression="gzip")
    data, packed = b"no tar" * 500, compress.compressor("gzip")
    broken = packed.compress(data) + packed.flush()
    layer = replace(image.layers[1], digest=store.add(broken), diff_id=Digest.of(data), size=len(broken))
    wrong = make_image(store, [image.layers[0], layer])
    with pytest.raises(EngineError) as caught:
        connected.load(wrong, "refused:1", Silent())
    assert caught.value.message.startswith(f"{connected.kind} refuses refused:1: ")
    assert "tar" in caught.value.message.removeprefix(f"{connected.kind} refuses refused:1: ")
    assert "refused:1" not in " ".join(connected.names())


@pytest.mark.e2e
def test_an_image_of_an_id(connected: Engine, store: Store) -> None:
    image = random_image(store, layers=1, seed=74, compression="gzip")
    load(connected, image, "by-id:1")
    assert connected.read(image.config_digest.hex[:12]).config == image.config


MEASURE = """
import os, random, sys
from pathlib import Path
from builder.formats.tar import Entry, layer_writer
from builder.report import Silent
from builder.tools.store import Store
from builder.transports import engine
from tests.kit.images import make_image

class Zeros:
    left = 400_000_000
    def read(self, size):
        data = random.randbytes(min(size, self.left))
        self.left -= len(data)
        return data

store = Store(Path(sys.argv[2]))
with layer_writer(store, "gzip") as writer:
    writer.add(Entry("large", "file", 0o644, size=Zeros.left), Zeros())
image = make_image(store, [writer.layer])
connected = engine.connect(sys.argv[1], store)
connected.load(image, "large:1", Silent())
found = connected.read("large:1")
assert found.config == image.config
"""


@pytest.mark.e2e
@pytest.mark.full
def test_memory_does_not_grow_with_images(connected: Engine, tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", MEASURE, connected.kind, tmp_path / "large"], cwd=ROOT)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert used.ru_maxrss < 150_000


@pytest.fixture
def other_server() -> Iterator[str]:
    """An HTTP server that is no engine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"tcp://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", get_args(Kind))
def test_what_answers_is_no_engine(
    kind: Kind, other_server: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLES[kind], other_server)
    with pytest.raises(EngineError, match=f"^{kind} does not answer at {other_server}: "):
        engine.connect(kind, store)


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("host", ["", "nonsense", "ftp://nowhere", "tcp://nowhere.invalid:1"])
def test_addresses_that_are_none(kind: Kind, host: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLES[kind], host)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    monkeypatch.setenv("HOME", "/nowhere")
    if not host and Path("/run", *{"docker": ["docker.sock"], "podman": ["podman", "podman.sock"]}[kind]).exists():
        pytest.skip("this machine has an engine of its own")
    with pytest.raises(EngineError) as caught:
        engine.connect(kind, store)
    assert caught.value.message.startswith(f"{kind} does not answer at {host or 'its usual sockets'}: ")
    assert caught.value.hint


@pytest.mark.e2e
@pytest.mark.parametrize(("kind", "name"), [("docker", "docker.sock"), ("podman", "podman/podman.sock")])
def test_a_rootless_socket_is_found(
    kind: Kind, name: str, store: Store, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = request.getfixturevalue(kind).host
    socket = tmp_path / "run" / name
    socket.parent.mkdir(parents=True)
    socket.symlink_to(host.removeprefix("unix://"))
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    assert engine.connect(kind, store).names() is not None
