"""Popular services and runtimes of Debian become images, and what is in them is what apt would have installed."""

from __future__ import annotations

import pytest

from builder import validate
from builder.formats import lockfile
from builder.transports import oci_layout
from tests.kit.fleet import Fleet
from tests.kit.installed import ITEMS, Installed
from tests.kit.sample import Row, Sample, rows

ROWS = rows()


@pytest.fixture(scope="module")
def sample(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The workspace of all rows; packages and layers are shared with the other images of a run."""
    return Sample(tmp_path_factory.mktemp("sample"), fleet.cache)


@pytest.mark.e2e
@pytest.mark.sampled
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_service_is_as_apt_installs_it(row: Row, sample: Sample) -> None:
    sample.add(row)
    sample.works("build", row.name, "--to", f"oci:out/{row.name}")
    image = oci_layout.read(sample.folder / "out" / row.name)
    assert validate.image(image) == ()
    lock = lockfile.read(sample.folder / "repos" / row.name / "lock.yaml").get(row.name, "amd64")
    assert lock
    found = Installed.read(image, lock)
    assert [item for item in row.covers if not ITEMS[item](found)] == []
    compared = sample.run("compare", f"oci:out/{row.name}:{row.name}")
    assert compared.code == 0, compared.output + compared.errors
    sample.remove(row)


def test_the_sample_is_broad() -> None:
    assert len([row for row in ROWS if row.debian == 13]) >= 60
    assert len([row for row in ROWS if row.debian == 12]) >= 12
    covered = {item for row in ROWS for item in row.covers}
    assert covered == ITEMS.keys()
