"""Images to and from a real registry, and what may go wrong between."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from builder import transports, validate
from builder.errors import IntegrityError, RegistryError, UsageError
from builder.formats import oci
from builder.model.digest import Digest
from builder.model.image import Image, Layer
from builder.registry import address, content, uploads
from builder.registry.address import Host
from builder.registry.logins import Logins
from builder.registry.session import Session
from builder.report import Reporter, Silent
from builder.tools.store import Store
from builder.transports import oci_layout, shipping
from builder.transports.parcels import Parcel
from builder.transports.shipping import Sent
from tests.conftest import SEED
from tests.kit.faulty_proxy import Fault, FaultyProxy, Tokens
from tests.kit.http_server import HttpServer
from tests.kit.images import make_layer, random_image
from tests.kit.registry import PASSWORD, USER, Registry, registry

pytestmark = [pytest.mark.integration, pytest.mark.sampled(18)]
_numbers = itertools.count()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry without TLS and password."""
    with registry(tmp_path_factory.mktemp("plain")) as made:
        yield made


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with both."""
    with registry(tmp_path_factory.mktemp("secure"), secure=True) as made:
        yield made


@pytest.fixture
def proxy(plain: Registry) -> Iterator[FaultyProxy]:
    """The registry without TLS, behind what does as a test says."""
    with FaultyProxy(plain.port) as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Where images are made."""
    return Store(tmp_path / "store")


@pytest.fixture
def team() -> str:
    """A prefix that no other test has."""
    return f"team-{next(_numbers)}"


def parcel(image: Image, repository: str, tag: str = "1.0-r1", **more: object) -> Parcel:
    return Parcel(image, f"oci:out:{repository}:{tag}", repository, tag, tag, **more)  # type: ignore[arg-type]


def send(
    host: str, *parcels: Parcel, jobs: int = 2, logins: Logins | None = None, dry_run: bool = False
) -> tuple[Sent, ...]:
    with Session(address.Host(host), logins or Logins({}), Silent(), patience=1.5) as session:
        return shipping.send(parcels, session, Silent(), jobs, dry_run=dry_run)


def labelled(store: Store, tag: str, seed: int, layers: int = 2) -> Image:
    """An image that says which release it is, as ours do."""
    image = random_image(store, layers=layers, seed=seed, compression="gzip")
    data = json.loads(image.config)
    data["config"]["Labels"] = {"org.opencontainers.image.version": tag}
    config = oci.dump(data)
    store.add(config)
    return replace(image, config=config, manifest=oci.manifest(config, image.layers))


def skopeo(*words: str) -> str:
    result = subprocess.run(["skopeo", *words], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("seed", range(3))
def test_what_is_sent_reads_back(plain: Registry, store: Store, team: str, tmp_path: Path, seed: int) -> None:
    """By us, and by skopeo, which nobody here has written."""
    image = random_image(store, layers=5, seed=seed)
    (sent,) = send(plain.host, parcel(image, f"{team}/web", floating=("1.0", "1")))
    assert (sent.status, sent.error, sent.tags) == ("published", None, ("1.0-r1", "1.0", "1"))
    assert sent.layers_sent == 5
    assert sent.bytes == sum(layer.size for layer in image.layers) + len(image.config)
    place = f"registry:{plain.host}/{team}/web"
    stored = transports.read_stored(place, other := Store(tmp_path / "other"))
    assert stored.name == f"{place}:1.0-r1"
    assert transports.parsed(stored) == image
    assert [validate.image(one) for one in transports.read_chosen(place, other, anew=True)] == [()]
    assert transports.read(f"{place}:1", other) == image
    assert transports.read(f"{place}@{image.digest}", other) == image
    told = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{plain.host}/{team}/web:1.0-r1"))
    assert told["Digest"] == image.digest
    skopeo("copy", "--src-tls-verify=false", f"docker://{plain.host}/{team}/web:1.0", f"dir:{tmp_path}/copy")
    assert transports.read(f"dir:{tmp_path}/copy", other) == image
    plain.require_whole(f"{team}/web")


def test_what_skopeo_sends_reads_back(plain: Registry, store: Store, team: str, tmp_path: Path) -> None:
    image = random_image(store, layers=3, seed=4)
    oci_layout.write(image, tmp_path / "out", "web:1-r1")
    skopeo("copy", "--dest-tls-verify=false", f"oci:{tmp_path}/out:web:1-r1", f"docker://{plain.host}/{team}/web:x")
    assert transports.read(f"registry:{plain.host}/{team}/web", Store(tmp_path / "other")) == image
    (sent,) = send(plain.host, parcel(image, f"{team}/other"))
    assert sent.layers_sent == 3


def test_a_second_run_asks_little_and_sends_nothing(
    plain: Registry, proxy: FaultyProxy, store: Store, team: str
) -> None:
    image = labelled(store, "1.0-r1", 1, layers=8)
    one = parcel(image, f"{team}/web", floating=("1.0", "1"), beside={oci_layout.LOCK: b"a lock"})
    assert send(proxy.host, one)[0].attached == (oci_layout.LOCK,)
    proxy.mend()
    (sent,) = send(proxy.host, one)
    assert (sent.status, sent.tags, sent.attached, sent.bytes) == ("there", (), (), 0)
    assert {request.method for request in proxy.asked} == {"HEAD", "GET"}
    assert len(proxy.asked) < 8


def test_a_layer_is_sent_once_however_many_images_have_it(proxy: FaultyProxy, store: Store, team: str) -> None:
    images = [random_image(store, layers=count, seed=7) for count in range(1, 7)]
    parcels = [parcel(image, f"{team}/web-{number}") for number, image in enumerate(images)]
    sent = send(proxy.host, *parcels)
    assert [one.status for one in sent] == ["published"] * 6
    different = {layer.digest: layer.size for image in images for layer in image.layers}
    assert len(different) == 6
    uploaded = sum(request.size for request in proxy.asked if "/blobs/uploads/" in request.path)
    assert uploaded == sum(different.values()) + sum(len(image.config) for image in images)
    assert sum(one.layers_sent for one in sent) == 6
    assert sum(one.layers_mounted for one in sent) == 1 + 2 + 3 + 4 + 5


@pytest.mark.parametrize("fault", [Fault(status=403), Fault(status=405)])
def test_without_mounts_every_repository_is_sent_its_own(
    plain: Registry, proxy: FaultyProxy, store: Store, team: str, fault: Fault
) -> None:
    proxy.spoil("POST", "mount=", fault, times=1000)
    image = random_image(store, layers=3, seed=7)
    sent = send(proxy.host, parcel(image, f"{team}/one"), parcel(image, f"{team}/two"))
    assert [(one.error, one.layers_sent) for one in sent] == [(None, 3)] * 2
    plain.require_whole(f"{team}/two")


def test_a_fix_is_told_from_the_release_before(proxy: FaultyProxy, store: Store, team: str) -> None:
    """What r1 has, nobody asks for again; a new image takes over what it shares with another."""
    before = labelled(store, "1.0-r1", 1, layers=20)
    send(proxy.host, parcel(before, f"{team}/web", floating=("1.0", "1")))
    proxy.mend()
    layers = (*before.layers[:-1], make_layer(store, ()))
    after = replace(before, layers=layers, manifest=oci.manifest(before.config, layers))
    first, second = send(
        proxy.host, parcel(after, f"{team}/web", "1.0-r2", floating=("1.0", "1")), parcel(after, f"{team}/new")
    )
    assert (first.layers_sent, first.layers_mounted, first.layers_there) == (0, 1, 19)
    assert (second.layers_sent, second.layers_mounted, second.layers_there) == (1, 19, 0)
    assert proxy.count("HEAD", "/blobs/") <= 2


def test_a_release_never_gets_another_content(plain: Registry, store: Store, team: str) -> None:
    first, second = (random_image(store, layers=2, seed=seed) for seed in (1, 2))
    send(plain.host, parcel(first, f"{team}/web"))
    refused, other = send(plain.host, parcel(second, f"{team}/web"), parcel(second, f"{team}/other"))
    assert refused.status == "failed"
    assert isinstance(refused.error, RegistryError)
    assert refused.error.message == (
        f"{plain.host}/{team}/web:1.0-r1 is there with other content: {first.digest} there, {second.digest} here"
    )
    assert other.status == "published"
    assert plain.tags(f"{team}/web") == {"1.0-r1": first.digest}
    (replaced,) = send(plain.host, parcel(second, f"{team}/web", "1.0-dev", fixed=False))
    assert replaced.status == "published"
    (replaced,) = send(plain.host, parcel(first, f"{team}/web", "1.0-dev", fixed=False))
    assert plain.tags(f"{team}/web") == {"1.0-r1": first.digest, "1.0-dev": first.digest}


def test_floating_tags_only_go_forwards(plain: Registry, store: Store, team: str) -> None:
    tags = ("1.0.0-r9", "1.0.0-r10", "1.1.0-r1", "1.0.0-r11", "2.0.0-r1", "1.1.0-r2")
    images = {tag: labelled(store, tag, seed) for seed, tag in enumerate(tags)}

    def publish(tag: str) -> tuple[str, ...]:
        version = tag.partition("-")[0]
        parts = version.split(".")
        floating = tuple(".".join(parts[:end]) for end in (3, 2, 1))
        (sent,) = send(plain.host, parcel(images[tag], f"{team}/web", tag, floating=floating))
        assert sent.error is None
        return sent.tags[1:]

    assert publish("1.0.0-r10") == ("1.0.0", "1.0", "1")
    assert publish("1.0.0-r9") == ()
    assert publish("1.1.0-r1") == ("1.1.0", "1.1", "1")
    assert publish("1.0.0-r11") == ("1.0.0", "1.0")
    assert publish("2.0.0-r1") == ("2.0.0", "2.0", "2")
    assert publish("1.1.0-r2") == ("1.1.0", "1.1", "1")
    assert plain.tags(f"{team}/web") == {
        **{tag: image.digest for tag, image in images.items()},
        "1.0.0": images["1.0.0-r11"].digest, "1.0": images["1.0.0-r11"].digest, "1.1.0": images["1.1.0-r2"].digest,
        "1.1": images["1.1.0-r2"].digest, "1": images["1.1.0-r2"].digest,
        **dict.fromkeys(("2.0.0", "2.0", "2"), images["2.0.0-r1"].digest),
    }  # fmt: skip
    place = f"registry:{plain.host}/{team}/web"
    assert [name.rpartition(":")[2] for name in transports.releases(place, store)] == [
        "1.0.0-r9", "1.0.0-r10", "1.0.0-r11", "1.1.0-r1", "1.1.0-r2", "2.0.0-r1",
    ]  # fmt: skip
    assert transports.read_stored(f"{place}:1.0", store).digest == images["1.0.0-r11"].digest


def test_a_tag_that_somebody_else_has_set_stays(plain: Registry, store: Store, team: str) -> None:
    foreign = random_image(store, layers=1, seed=1)
    send(plain.host, parcel(foreign, f"{team}/web", "1", fixed=False))
    (sent,) = send(plain.host, parcel(labelled(store, "1.0-r1", 2), f"{team}/web", floating=("1.0", "1")))
    assert sent.tags == ("1.0-r1", "1.0")
    assert plain.tags(f"{team}/web")["1"] == foreign.digest


def test_what_lies_beside_an_image_refers_to_it(plain: Registry, store: Store, team: str, tmp_path: Path) -> None:
    image = random_image(store, layers=1, seed=1)
    beside = {oci_layout.LOCK: b"locks: []\n", oci_layout.SPDX: b"{}", oci_layout.PROVENANCE: b'{"a": 1}'}
    one = parcel(image, f"{team}/web", beside=beside, notes={"org.imgbuild.content-key": "x"})
    assert set(send(plain.host, one)[0].attached) == set(beside)
    stored = transports.read_stored(f"registry:{plain.host}/{team}/web", Store(tmp_path / "other"))
    assert {note: stored.beside(note) for note in beside} == beside
    assert stored.notes["org.imgbuild.content-key"] == "x"
    # docker-registry has no API for it: a list under a tag stands for it.
    with Session(address.Host(plain.host), Logins({}), Silent()) as session:
        listed, by_api = content.referrers(session, f"{team}/web", image.digest)
    assert not by_api
    assert {found.artifact_type for found in listed} == {
        "application/vnd.imgbuild.lock.v1.yaml+gzip", "application/spdx+json", "application/vnd.in-toto+json",
    }  # fmt: skip
    later = replace(one, beside={**beside, oci_layout.PROVENANCE: b'{"a": 2}', oci_layout.CYCLONEDX: b"[]"})
    assert send(plain.host, later)[0].attached == (oci_layout.CYCLONEDX,)
    stored = transports.read_stored(f"registry:{plain.host}/{team}/web", Store(tmp_path / "another"))
    assert stored.beside(oci_layout.PROVENANCE) == b'{"a": 1}'
    assert stored.beside(oci_layout.CYCLONEDX) == b"[]"
    assert transports.releases(f"registry:{plain.host}/{team}/web", store) == (stored.name,)
    plain.require_whole(f"{team}/web")


def test_a_registry_that_lists_what_refers_to_an_image(
    plain: Registry, proxy: FaultyProxy, store: Store, team: str, tmp_path: Path
) -> None:
    proxy.referrers = []
    beside = {oci_layout.LOCK: b"locks: []\n", oci_layout.SPDX: b"{}", oci_layout.PROVENANCE: b"[]"}
    one = parcel(random_image(store, layers=1, seed=1), f"{team}/web", beside=beside)
    assert set(send(proxy.host, one)[0].attached) == set(beside)
    assert list(plain.tags(f"{team}/web")) == ["1.0-r1"]
    stored = transports.read_stored(f"registry:{proxy.host}/{team}/web", Store(tmp_path / "other"))
    assert {note: stored.beside(note) for note in beside} == beside
    assert send(proxy.host, one)[0].attached == ()


def test_lists_are_read_to_their_end(plain: Registry, store: Store, team: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "PAGE", 2)
    image = random_image(store, layers=1, seed=1)
    names = [f"{team}/image-{number}" for number in range(5)]
    send(plain.host, *(parcel(image, name) for name in names), parcel(image, f"{team}x/other"))
    found = transports.releases(f"registry:{plain.host}/{team}/", store)
    assert sorted(found) == [f"registry:{plain.host}/{name}:1.0-r1" for name in names]
    for number in range(1, 6):
        send(plain.host, parcel(image, names[0], f"1.{number}-r1"))
    assert len(transports.releases(f"registry:{plain.host}/{names[0]}", store)) == 6


def test_what_is_not_there_is_told(plain: Registry, store: Store, team: str) -> None:
    send(plain.host, parcel(random_image(store, layers=1, seed=1), f"{team}/web"))
    with pytest.raises(UsageError) as caught:
        transports.read(f"registry:{plain.host}/{team}/web:2", store)
    assert caught.value.hint == "there are: 1.0-r1"
    with pytest.raises(UsageError, match=f"has no repository {team}/none"):
        transports.read(f"registry:{plain.host}/{team}/none:2", store)
    with pytest.raises(UsageError, match="imgbuild publish"):
        transports.parse_target("registry:x.example/y")


BOTHERS = {
    "reset before": ("*", "/v2/team", Fault(reset_after=0), 3),
    "reset within a blob": ("PUT", "/blobs/uploads/", Fault(reset_after=700), 2),
    "reset within a part": ("PATCH", "/blobs/uploads/", Fault(reset_after=700), 2),
    "500 at the start": ("POST", "/blobs/uploads/", Fault(status=500), 3),
    "longer than is waited for": ("POST", "/blobs/uploads/", Fault(pause=2), 2),
    "503 at the end": ("PUT", "/blobs/uploads/", Fault(status=503), 3),
    "429": ("*", "/v2/team", Fault(status=429, headers={"Retry-After": "0"}), 4),
    "other bytes on their way": ("PUT", "/blobs/uploads/", Fault(spoil_request=True), 2),
    "an answer that is lost": ("PUT", "/blobs/uploads/", Fault(lose_answer=True), 2),
    "the manifest's answer is lost": ("PUT", "/manifests/", Fault(lose_answer=True), 2),
    "an upload that is forgotten": ("PUT", "/blobs/uploads/", Fault(status=404), 2),
}


@pytest.mark.parametrize("chunk", [1500, pytest.param(1 << 20, marks=pytest.mark.full)])
@pytest.mark.parametrize("bother", BOTHERS)
def test_what_may_go_better_is_tried_again(
    plain: Registry,
    proxy: FaultyProxy,
    store: Store,
    team: str,
    bother: str,
    chunk: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uploads, "CHUNK", chunk)
    image = random_image(store, layers=4, seed=3)
    method, pattern, fault, times = BOTHERS[bother]
    proxy.spoil(method, pattern, fault, times=times)
    (sent,) = send(proxy.host, parcel(image, f"{team}/web", floating=("1.0", "1")))
    assert sent.error is None
    assert plain.tags(f"{team}/web") == dict.fromkeys(("1.0-r1", "1.0", "1"), image.digest)
    plain.require_whole(f"{team}/web")


LASTING = {
    "reset": ("PUT", "/blobs/uploads/", Fault(reset_after=100)),
    "500": ("PUT", "/blobs/uploads/", Fault(status=500)),
    "403": ("PUT", "/blobs/uploads/", Fault(status=403)),
    "413": ("PUT", "/blobs/uploads/", Fault(status=413)),
    "other bytes": ("PUT", "/blobs/uploads/", Fault(spoil_request=True)),
    "no manifests": ("PUT", "/manifests/sha256:", Fault(status=500)),
    "other manifests": ("PUT", "/manifests/sha256:", Fault(spoil_request=True)),
}


@pytest.mark.parametrize("fault", LASTING)
def test_nothing_broken_is_ever_tagged(
    plain: Registry, proxy: FaultyProxy, store: Store, team: str, fault: str
) -> None:
    """One image fails, the other comes; the next run completes."""
    bad, good = (random_image(store, layers=3, seed=seed) for seed in (3, 4))
    method, pattern, done = LASTING[fault]
    proxy.spoil(method, f"/{team}/bad{pattern}", done, times=1000)
    parcels = parcel(bad, f"{team}/bad", floating=("1",)), parcel(good, f"{team}/good", floating=("1",))
    failed, published = send(proxy.host, *parcels)
    assert failed.status == "failed"
    assert failed.error
    assert proxy.host in failed.error.message
    assert published.status == "published"
    assert plain.tags(f"{team}/bad") == {}
    proxy.mend()
    again, there = send(proxy.host, *parcels)
    assert (again.status, there.status) == ("published", "there")
    plain.require_whole(f"{team}/bad")
    plain.require_whole(f"{team}/good")


def test_a_large_blob_goes_on_where_it_ended(
    plain: Registry, proxy: FaultyProxy, store: Store, team: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second part is lost; the first one is not sent again, if the registry knows of it."""
    monkeypatch.setattr(uploads, "CHUNK", 100_000)
    data = random.Random(1).randbytes(450_000)
    store.add(data)
    layer = Layer(Digest.of(data), Digest.of(data), len(data), "application/vnd.oci.image.layer.v1.tar")
    config = oci.config("amd64", "2025-01-01T00:00:00Z", {}, [layer], ["x"])
    store.add(config)
    image = Image(oci.manifest(config, [layer]), config, (layer,), store)
    proxy.spoil("PATCH", "/blobs/uploads/", Fault(), Fault(status=503))
    (sent,) = send(proxy.host, parcel(image, f"{team}/web"))
    assert sent.error is None
    carried = sum(
        request.size for request in proxy.asked if request.method in ("PATCH", "PUT") and "uploads" in request.path
    )
    assert carried == len(data) + 100_000 + len(config)
    assert plain.blob(layer.digest).read_bytes() == data


def test_a_damaged_layer_is_found_before_the_registry_is_blamed(plain: Registry, store: Store, team: str) -> None:
    image = random_image(store, layers=2, seed=1)
    path = store.path(image.layers[1].digest)
    path.write_bytes(b"x" * image.layers[1].size)
    (sent,) = send(plain.host, parcel(image, f"{team}/web"))
    assert isinstance(sent.error, IntegrityError)
    assert f"oci:out:{team}/web:1.0-r1: {image.layers[1].digest} is damaged" in sent.error.message
    path.write_bytes(b"x")
    (sent,) = send(plain.host, parcel(image, f"{team}/web"))
    assert isinstance(sent.error, IntegrityError)
    path.unlink()
    (sent,) = send(plain.host, parcel(image, f"{team}/web"))
    assert sent.error
    assert f"{image.layers[1].digest} is missing" in sent.error.message
    assert plain.tags(f"{team}/web") == {}


def test_a_registry_that_has_lost_a_blob_gets_it_again(plain: Registry, store: Store, team: str) -> None:
    before = labelled(store, "1.0-r1", 1, layers=3)
    send(plain.host, parcel(before, f"{team}/web", floating=("1",)))
    plain.forget(f"{team}/web", before.layers[1].digest)
    plain.blob(before.layers[1].digest).unlink()
    plain.stop()
    plain.start()
    after = replace(before, layers=before.layers[:2], manifest=oci.manifest(before.config, before.layers[:2]))
    (sent,) = send(plain.host, parcel(after, f"{team}/web", "1.0-r2"))
    assert sent.error is None
    assert plain.blob(before.layers[1].digest).stat().st_size == before.layers[1].size


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [("/blobs/", Fault(cut=100)), ("/blobs/", Fault(reset_after=0)), ("/manifests/", Fault(cut=10)), ("/v2/team", Fault(status=502))],
)  # fmt: skip
def test_reading_goes_on(
    proxy: FaultyProxy, plain: Registry, store: Store, team: str, tmp_path: Path, pattern: str, fault: Fault,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    image = random_image(store, layers=3, seed=1)
    send(plain.host, parcel(image, f"{team}/web"))
    quick(monkeypatch)
    proxy.spoil("GET", pattern, fault, times=3)
    stored = transports.read_stored(f"registry:{proxy.host}/{team}/web", Store(tmp_path / "other"))
    assert validate.image(stored) == ()


def test_other_bytes_are_refused(
    proxy: FaultyProxy, plain: Registry, store: Store, team: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = random_image(store, layers=3, seed=1)
    send(plain.host, parcel(image, f"{team}/web"))
    quick(monkeypatch)
    place, other = f"registry:{proxy.host}/{team}/web", Store(tmp_path / "other")
    proxy.spoil("GET", f"/blobs/{image.layers[1].digest}", Fault(spoil=True), times=1000)
    with pytest.raises(IntegrityError, match="what it gives for"):
        transports.read(place, other).blobs.open(image.layers[1].digest)
    assert not other.has(image.layers[1].digest)
    (stored,) = transports.read_chosen(place, other, anew=True)
    assert [fault.where for fault in validate.image(stored)] == [image.layers[1].digest]
    proxy.spoil("GET", f"/blobs/{image.config_digest}", Fault(spoil=True), times=1000)
    with pytest.raises(IntegrityError):
        transports.read(place, other)
    proxy.spoil("GET", f"/manifests/{image.digest}", Fault(spoil=True), times=1000)
    with pytest.raises(IntegrityError):
        transports.read(f"{place}@{image.digest}", other)


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that do not wait long."""
    made = Session.__init__

    def init(self: Session, host: Host, logins: Logins, reporter: Reporter) -> None:
        made(self, host, logins, reporter, patience=1.5)

    monkeypatch.setattr(Session, "__init__", init)


@pytest.mark.parametrize("lives", [1, 7])
def test_tokens_that_expire_before_they_say(
    plain: Registry, store: Store, team: str, lives: int, tmp_path: Path
) -> None:
    logins = tmp_path / "auth.json"
    with FaultyProxy(plain.port, Tokens(USER, PASSWORD, lives=lives)) as proxy:
        logins.write_text(json.dumps({"auths": {proxy.host: {"username": USER, "password": PASSWORD}}}))
        images = [random_image(store, layers=count, seed=5) for count in (3, 4)]
        parcels = [parcel(image, f"{team}/web-{number}", floating=("1",)) for number, image in enumerate(images)]
        known = Logins({"REGISTRY_AUTH_FILE": str(logins)})
        assert [one.error for one in send(proxy.host, *parcels, logins=known, jobs=1)] == [None, None]
        assert (f"repository:{team}/web-0:pull,push",) in proxy.scopes
        assert any(len(scopes) == 2 for scopes in proxy.scopes)
        logins.write_text(json.dumps({"auths": {proxy.host: {"username": USER, "password": "falsch-0815"}}}))
        (refused,) = send(proxy.host, parcels[0], logins=Logins({"REGISTRY_AUTH_FILE": str(logins)}))
        assert refused.error
        assert "refuses the login" in refused.error.message
        assert "falsch" not in refused.error.message + refused.error.hint


def test_tls_and_a_password(
    secure: Registry, store: Store, team: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = random_image(store, layers=2, seed=1)
    known = Logins(secure.environment)
    (sent,) = send(secure.host, parcel(image, f"{team}/web"), logins=known)
    assert sent.error
    assert "CERTIFICATE_VERIFY_FAILED" in sent.error.message
    # A registry's own certificate, where podman and skopeo look for it, too.
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".config/containers/certs.d" / secure.host
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(secure.certificate.read_bytes())
    (sent,) = send(secure.host, parcel(image, f"{team}/web"), logins=known)
    assert sent.error is None
    (sent,) = send(secure.host, parcel(image, f"{team}/web"))
    assert sent.error
    assert sent.error.message == f"{secure.host} wants a login"
    (folder / "ca.crt").unlink()
    monkeypatch.setenv("SSL_CERT_FILE", str(secure.certificate))
    (sent,) = send(secure.host, parcel(image, f"{team}/web"), logins=known)
    assert sent.status == "there"


def test_a_registry_that_wants_a_certificate_of_ours(
    store: Store, team: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = random_image(store, layers=2, seed=1)
    monkeypatch.setenv("HOME", str(tmp_path))
    with registry(tmp_path / "mutual", secure=True, clients=True) as there:
        folder = tmp_path / ".config/containers/certs.d" / there.host
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes(there.certificate.read_bytes())
        known = Logins(there.environment)
        (sent,) = send(there.host, parcel(image, f"{team}/web"), logins=known)
        assert sent.error
        # It speaks TLS: without is not tried, though it is on this machine.
        assert "400" not in sent.error.message
        shutil.copy(there.folder / "client.crt", folder / "client.cert")
        shutil.copy(there.folder / "client.key", folder)
        (sent,) = send(there.host, parcel(image, f"{team}/web"), logins=known)
        assert (sent.error, sent.status) == (None, "published")


def test_what_is_no_registry_is_told(tmp_path: Path) -> None:
    with HttpServer(tmp_path) as server:
        host = address.Host(f"127.0.0.1:{server.port}")
        with Session(host, Logins({}), Silent()) as session, pytest.raises(RegistryError, match="is no registry"):
            session.ping()


def test_a_registry_that_does_not_answer_is_told() -> None:
    session = Session(address.Host("127.0.0.1:1"), Logins({}), Silent(), patience=0.6)
    with session, pytest.raises(RegistryError, match="Connection refused") as caught:
        session.ping()
    assert "5 times" in caught.value.hint


class _Slow(Store):
    """A store that takes its time, so that there are moments."""

    def open(self, digest: Digest) -> BinaryIO:
        time.sleep(0.005)
        return super().open(digest)


def _send_slowly(host: str, parcels: list[Parcel]) -> None:
    slow = [replace(one, image=replace(one.image, blobs=_Slow(one.image.blobs.root))) for one in parcels]  # type: ignore[attr-defined]
    assert [one.error for one in send(host, *slow)] == [None] * len(slow)


@pytest.mark.parametrize("kills", [12, pytest.param(100, marks=pytest.mark.full)])
def test_killed_at_random_moments(plain: Registry, store: Store, team: str, kills: int) -> None:
    """Whatever tags there are, they lead to whole images; the run that is not killed completes."""
    chance = random.Random(SEED)
    images = [random_image(store, layers=count, seed=11) for count in range(2, 8)]
    fork = multiprocessing.get_context("fork")
    for round_ in range(kills):
        prefix = f"{team}-{round_ // 4}"
        parcels = [
            parcel(image, f"{prefix}/web-{number}", floating=("1.0", "1"), beside={oci_layout.LOCK: b"lock"})
            for number, image in enumerate(images)
        ]
        process = fork.Process(target=_send_slowly, args=(plain.host, parcels))
        process.start()
        time.sleep(chance.uniform(0.01, 0.4))
        process.kill()
        process.join()
        for one in parcels:
            plain.require_whole(one.repository)
        if round_ % 4 == 3:
            assert [one.error for one in send(plain.host, *parcels)] == [None] * len(parcels)
            for one in parcels:
                assert plain.tags(one.repository)["1"] == one.image.digest
                plain.require_whole(one.repository)


def test_a_registry_that_is_killed_meanwhile(plain: Registry, store: Store, team: str) -> None:
    images = [random_image(store, layers=count, seed=13) for count in range(2, 8)]
    parcels = [parcel(image, f"{team}/web-{number}") for number, image in enumerate(images)]
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=_send_slowly, args=(plain.host, parcels))
    process.start()
    time.sleep(0.15)
    plain.stop(kill=True)
    time.sleep(0.05)
    plain.start()
    process.join(60)
    assert process.exitcode == 0
    for one in parcels:
        plain.require_whole(one.repository)
    assert {one.error for one in send(plain.host, *parcels)} == {None}
    for one in parcels:
        assert plain.tags(one.repository) == {"1.0-r1": one.image.digest}
