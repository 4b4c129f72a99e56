"""The same input becomes the same bytes, or the machine is refused."""

from __future__ import annotations

import gzip
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
