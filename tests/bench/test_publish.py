"""What the benchmark of publishing makes of its results; its steps are tried by hand with ``--only``."""

from __future__ import annotations

from typing import Any

from bench import fleet, publish, race_report

MACHINE = {
    "processors": 2, "processor": "x", "memory": 2**33, "file system": "ext2/ext3", "system": "Debian", "python": "3",
    "docker": "20", "storage driver": "overlay2",
}  # fmt: skip
RESULTS: dict[str, Any] = {
    "machine": MACHINE,
    "first": {"wall": 10.0, "walls": [10.0], "sent": 1_300_000_000, "images": 67, "rss": 90_000_000},
    "skopeo": {"wall": 40.0, "sent": 1_300_000_000},
    "skopeo, several at once": {"wall": 25.0, "sent": 1_310_000_000},
    "push": {"wall": 90.0, "sent": 1_500_000_000},
    "push, several at once": {"wall": 110.0, "sent": 1_500_000_000},
    "fix": {"wall": 3.0, "sent": 9_000_000, "images": 67, "again": 1.34},
}


def test_the_quicker_way_counts() -> None:
    table = race_report.table(RESULTS, publish.CASES).splitlines()[2:]
    assert [row.split(" | ")[3:] for row in table] == [
        ["30×", "≥ 10×", "≥ 50×", "must |"],
        ["0.6 %", "≤ 1 %", "≤ 0.3 %", "must |"],
        ["2.5×", "≥ 1×", "≥ 2×", "aim |"],
        ["0.02 s", "≤ 1 s", "≤ 0.10 s", "aim |"],
    ]
    page = publish.page(RESULTS)
    assert "67 images; of one run." in page
    assert "skopeo 40.0 s and 25.0 s; push 90.0 s and 110.0 s" in page


def test_the_page_has_a_place_for_it() -> None:
    text = (race_report.DOCS / "publish.md").read_text()
    assert text.count(publish.START) == 1
    assert text.partition(publish.START)[2].count(race_report.END) == 1


def test_what_is_built_for_some_components() -> None:
    files = {"base": "FROM bench/debian:13\n", "nova-base": "FROM bench/base\n", "nova-api": "FROM bench/nova-base\n"}
    assert list(publish._standing_on("nova-api", files)) == ["nova-api", "nova-base", "base"]
    catalog, names = publish._catalog(("memcached", "etcd"))
    assert set(names) == {"memcached", "etcd"}
    # What the Dockerfiles cannot install is on neither side.
    chosen = publish.everything()
    assert {one.name for one in catalog.components} - set(chosen) == {"imgbuild"}
    assert set(publish._catalog(chosen)[1]) <= fleet.dockerfiles(catalog).keys()
