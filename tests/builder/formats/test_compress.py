"""The same input becomes the same bytes, or the machine is refused."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator

import pytest
import zstandard

from builder.errors import MakeError
from builder.formats import compress


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    compress._require_known_bytes.cache_clear()
    yield
    compress._require_known_bytes.cache_clear()


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_bytes_come_back(name: str) -> None:
    data = bytes(range(256)) * 1000
    made = compress.compressor(name)
    compressed = made.compress(data) + made.flush()
    if name == "gzip":
        assert gzip.decompress(compressed) == data
        assert compressed[3:8] == bytes(5)  # neither a name nor a time: RFC 1952, 2.3.1
    else:
        assert zstandard.ZstdDecompressor().decompressobj().decompress(compressed) == data


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_bytes_do_not_depend_on_the_pieces_they_come_in(over: int) -> None:
    data = (b"some text, " * (compress.GZIP_MEMBER // 5))[: 2 * compress.GZIP_MEMBER + over]
    made = []
    for size in (len(data), 700_001):
        one = compress.compressor("gzip")
        made.append(b"".join(one.compress(data[at : at + size]) for at in range(0, len(data), size)) + one.flush())
    assert made[0] == made[1]
    assert gzip.decompress(made[0]) == data
    assert compress.decompressed(io.BytesIO(made[0]), "gzip").read() == data


def test_nothing_is_a_file_of_gzip_too() -> None:
    assert gzip.decompress(compress.compressor("gzip").flush()) == b""


def test_a_fault_of_the_moment_is_no_other_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["other", compress._KNOWN["gzip"], compress._KNOWN["gzip"]])
    monkeypatch.setattr(compress, "_sample_digest", lambda name: next(answers))
    compress.compressor("gzip")


@pytest.mark.parametrize("second", ["other", "right"])
def test_another_machine_is_refused_with_what_it_made(second: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["other", {"right": compress._KNOWN["gzip"]}.get(second, second), "other", "other"])
    monkeypatch.setattr(compress, "_sample_digest", lambda name: next(answers))
    with pytest.raises(MakeError) as failed:
        compress.compressor("gzip")
    assert "a sample became other instead of" in (failed.value.hint or "")
