from __future__ import annotations

import json

import pytest

from builder.formats import offline_manifest

ROWS = {f"{digit:x}" * 64: f'<script src="/x/output.{digit}.js" title="a,\\n\u00e9"></script>' for digit in (11, 3, 7)}


def written(rows: dict[str, str]) -> bytes:
    """As django-compressor writes it."""
    return json.dumps(rows, indent=2).encode()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_order_gives_the_same_bytes_of_the_same_manifest(count: int) -> None:
    rows = dict([*ROWS.items()][:count])
    turned = dict(reversed(rows.items()))
    one, two = (offline_manifest.in_order(written(some)) for some in (rows, turned))
    assert one == two == written(dict(sorted(rows.items())))
    assert json.loads(one) == rows


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{\n  "name": "x",\n  "a": "y"\n}', written({"f" * 64: "x"})[:-1], b"\xff\n"]
)
def test_other_files_stay_as_they_are(data: bytes) -> None:
    assert offline_manifest.in_order(data) == data
