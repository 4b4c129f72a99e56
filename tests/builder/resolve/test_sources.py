"""Sources: what is refused and how it is told, keys, priorities, credentials; and what of this machine stays out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from builder.errors import ResolveError, SourceError, Unsatisfiable
from builder.model.lock import Lock
from builder.resolve import locking
from builder.resolve.apt import AptRoot, Found
from builder.resolve.facts import Facts, PackageSource, fingerprint
from builder.tools import process
from builder.tools.store import Store
from tests.kit.apt_repo import AptRepo
from tests.kit.http_server import Fault, HttpServer

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AptRepo]:
    """Two suites; the second has a newer package. Not to be changed: tests take a copy."""
    repo = AptRepo(tmp_path_factory.mktemp("made") / "repo", ("stable", "new"))
    repo.add("nova")
    repo.add("nova", "2", suite="new")
    repo.publish()
    yield repo
    repo.close()


@pytest.fixture
def repo(made: AptRepo, tmp_path: Path) -> AptRepo:
    copy = AptRepo(tmp_path / "repo_1", made.suites, signed_like=made)
    copy.take_over(made)
    copy.publish()
    return copy


def source(repo: AptRepo, *suites: str, name: str = "test", uri: str = "", **told: Any) -> PackageSource:
    where = uri or repo.uri
    return replace(
        PackageSource(name, where, where, suites or ("stable",), ("main",), repo.keyring, "key.gpg"),
        **told,
    )


def debs(folder: Path, name: str = "own", priority: int | None = None) -> PackageSource:
    return PackageSource(name, debs=folder, priority=priority)


def apt(tmp_path: Path, *sources: PackageSource, architecture: str = "amd64", netrc: Path | None = None) -> AptRoot:
    return AptRoot(Store(tmp_path / "store"), sources, architecture, netrc)


def resolved(root: AptRoot, *wishes: str) -> dict[str, tuple[str, str, str]]:
    root.update()
    found = root.solve(Facts(("base",), "amd64", wishes, False, False, ()), ())
    return {p.name: (p.version, p.source, p.suite) for p in found}


def _sign_nothing(repo: AptRepo) -> None:
    folder = repo.folder / "dists/stable"
    shutil.copy(folder / "Release", folder / "InRelease")


def _change_index(repo: AptRepo) -> None:
    path = repo.folder / "dists/stable/main/binary-amd64/Packages"
    path.write_bytes(path.read_bytes().replace(b"Maintainer: T", b"Maintainer: E"))


FAULTS: Mapping[str, tuple[Callable[[AptRepo], object], dict[str, Any], str, str]] = {
    "unsigned": (AptRepo.unsign, {}, "test: stable: it is not signed", "a source that is signed"),
    "no signed text": (_sign_nothing, {}, "test: stable: its InRelease is no signed text", "login"),
    "tampered": (AptRepo.tamper, {}, "test: stable: it was changed after it was signed", "another"),
    "expired": (lambda repo: repo.publish(timedelta(days=30)), {}, r"stable: its Release file has expired \(inv.* 23d", "clock"),
    "future": (lambda repo: repo.publish(timedelta(days=-2)), {}, "stable: its Release file is from the future", "clock"),
    "index": (_change_index, {}, "test: stable: an index is not what the signed Release file says", "again"),
    "suite": (lambda _: None, {"suites": ("nope",)}, "test: nope: there is no such suite at file://", "suites"),
    "component": (lambda _: None, {"components": ("main", "contrib")}, "stable: it has no component 'contrib'", "components"),
    "fingerprint": (
        lambda _: None, {"fingerprints": ("A" * 40,)},
        "test: stable: no key that `fingerprints` names has signed it", "up to date",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_with_its_source_and_suite(repo: AptRepo, tmp_path: Path, fault: str) -> None:
    spoil, told, message, hint = FAULTS[fault]
    spoil(repo)
    with pytest.raises(SourceError, match=message) as raised:
        apt(tmp_path, source(repo, **told)).update()
    assert hint in raised.value.hint


def test_every_suite_that_is_wrong_is_told(repo: AptRepo, tmp_path: Path) -> None:
    repo.unsign("new")
    with pytest.raises(SourceError) as raised:
        apt(tmp_path, source(repo, "stable", "new", "nope"), source(repo, "nope", name="other")).update()
    lines = [line.partition(" at ")[0] for line in raised.value.message.splitlines()]
    assert lines == [
        "source test: new: it is not signed",
        "source test: nope: there is no such suite",
        "source other: nope: there is no such suite",
    ]


def test_another_key_is_told_also_when_the_index_is_here(repo: AptRepo, tmp_path: Path) -> None:
    other = AptRepo(tmp_path / "other")
    root = apt(tmp_path, source(repo))
    root.update()
    shutil.copy(other.keyring, repo.keyring)
    with pytest.raises(
        SourceError, match=r"test: stable: the keyring key.gpg does not have the key [0-9A-F]{16}"
    ) as raised:
        root.update()
    assert "keyring" in raised.value.hint
    other.close()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(status=500), r"test: stable: 500 .*/InRelease\)"),
        (Fault(status=401), r"test: stable: http://127.0.0.1:\d+ wants credentials"),
        (Fault(status=403), r"test: stable: http://127.0.0.1:\d+ wants credentials"),
    ],
)
def test_what_a_server_refuses_is_told(repo: AptRepo, tmp_path: Path, fault: Fault, message: str) -> None:
    with HttpServer(repo.folder) as server:
        server.spoil("Release", fault)
        with pytest.raises(SourceError, match=message):
            apt(tmp_path, source(repo, uri=server.uri)).update()


INDEX_FAULTS: Mapping[str, tuple[Fault, str]] = {
    "gone": (Fault(status=404), "404"),
    "an error": (Fault(status=500), "500"),
    "cut off": (Fault(cut=20), "test: stable: "),
    "cut off and said to be whole": (Fault(body=b"Package: nova\n"), "an index is not what the signed Release file says"),
    "longer": (Fault(more=b"\nPackage: evil\n"), "an index is not what the signed Release file says"),
    "other bytes": (Fault(body=b"x" * 300), "an index is not what the signed Release file says"),
}  # fmt: skip


@pytest.mark.parametrize(("fault", "message"), INDEX_FAULTS.values(), ids=INDEX_FAULTS)
def test_an_index_that_a_server_gives_wrongly_is_told(
    repo: AptRepo, tmp_path: Path, fault: Fault, message: str
) -> None:
    with HttpServer(repo.folder) as server:
        root = apt(tmp_path, source(repo, uri=server.uri))
        server.spoil("/Packages", fault)
        with pytest.raises(SourceError, match="source test: stable: ") as raised:
            root.update()
        assert message in raised.value.message
        assert raised.value.hint
        server.mend()
        assert resolved(root, "nova") == {"nova": ("1", "test", "stable")}


def test_a_slow_server_is_waited_for(repo: AptRepo, tmp_path: Path) -> None:
    with HttpServer(repo.folder) as server:
        server.spoil("dists", Fault(pause=0.7))
        assert resolved(apt(tmp_path, source(repo, uri=server.uri)), "nova") == {"nova": ("1", "test", "stable")}


@pytest.mark.parametrize("by_hash", [False, True])
def test_a_mirror_that_is_updated_while_it_is_read(repo: AptRepo, tmp_path: Path, by_hash: bool) -> None:
    repo.by_hash = by_hash
    repo.publish()
    old = (repo.folder / "dists/stable/InRelease").read_bytes()
    repo.add("nova", "3")
    repo.publish()
    with HttpServer(repo.folder) as server:
        root = apt(tmp_path, source(repo, uri=server.uri))
        server.spoil("InRelease", Fault(body=old))
        if by_hash:
            # The old index is still there, by its hash.
            assert resolved(root, "nova") == {"nova": ("1", "test", "stable")}
            assert server.asked("/by-hash/SHA256/")
        else:
            with pytest.raises(SourceError, match="an index is not what the signed Release file says") as raised:
                root.update()
            assert "try again" in raised.value.hint
        server.mend()
        assert resolved(root, "nova") == {"nova": ("3", "test", "stable")}


def test_an_archived_mirror_is_held_against_the_time_of_its_archive(repo: AptRepo, tmp_path: Path) -> None:
    repo.publish(timedelta(days=400))
    then = datetime.now(UTC) - timedelta(days=396)
    with pytest.raises(SourceError, match="has expired") as raised:
        apt(tmp_path, source(repo)).update()
    assert "`valid_at`" in raised.value.hint
    for at in (then.strftime("%Y-%m-%d"), then.strftime("%Y-%m-%dT%H:%M:%SZ")):
        assert resolved(apt(tmp_path, source(repo, valid_at=at)), "nova") == {"nova": ("1", "test", "stable")}
    for days in (410, 380):
        at = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d")
        with pytest.raises(SourceError, match=f"test: stable: its Release file was not in force at {at}T.* until"):
            apt(tmp_path, source(repo, valid_at=at)).update()
    repo.tamper()
    with pytest.raises(SourceError, match="was changed after it was signed"):
        apt(tmp_path, source(repo, valid_at=then.strftime("%Y-%m-%d"))).update()


def test_when_an_archive_was_in_force_makes_no_lock_stale(repo: AptRepo) -> None:
    facts = [Facts(("base",), "amd64", (), False, False, (source(repo, valid_at=at),)) for at in ("", "2024-01-31")]
    assert fingerprint(facts[0]) == fingerprint(facts[1])


def test_a_host_that_does_not_answer_is_told(repo: AptRepo, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"test: stable: .*(onnect|resolv).* \(http://.*InRelease\)") as raised:
        apt(tmp_path, source(repo, uri="http://nowhere.invalid")).update()
    assert "IMGBUILD_MIRROR" in raised.value.hint


def test_an_old_state_is_refused_once_a_newer_one_was_locked(repo: AptRepo, tmp_path: Path) -> None:
    root = apt(tmp_path, source(repo))
    root.update()
    seen = root.dates()
    root.update(seen)
    repo.publish(timedelta(hours=5))
    with pytest.raises(SourceError, match=r"source test: stable is of 20\S+Z, but a lock has seen it as of 20"):
        AptRoot(Store(tmp_path / "fresh"), (source(repo),), "amd64", None).update(seen)


def test_a_suite_without_packages_for_an_architecture_is_told(repo: AptRepo, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="test: stable: main has no packages for arm64"):
        apt(tmp_path, source(repo), architecture="arm64").update()


def test_an_empty_suite_is_no_fault(tmp_path: Path) -> None:
    empty = AptRepo(tmp_path / "empty", ("stable", "updates"))
    empty.add("nova")
    empty.publish()
    assert set(resolved(apt(tmp_path, source(empty, "stable", "updates")), "nova")) == {"nova"}
    empty.close()


def test_another_architecture_is_resolved(tmp_path: Path) -> None:
    repo = AptRepo(tmp_path / "arm", architectures=("amd64", "arm64"))
    repo.add("lib", architecture="arm64", multi_arch="same")
    repo.add("lib", architecture="amd64", multi_arch="same")
    repo.add("nova", depends="lib:arm64 | lib:any, lib")
    repo.publish()
    root = AptRoot(Store(tmp_path / "store"), (source(repo),), "arm64", None)
    root.update()
    facts = Facts(("base",), "arm64", ("nova:arm64", "lib (>= 1)"), False, False, ())
    found = root.solve(facts, ())
    assert [(p.name, p.architecture, p.why) for p in found] == [
        ("lib", "arm64", "asked for"),
        ("nova", "all", "asked for"),
    ]
    assert root.solve(facts, found) == ()
    repo.close()


def test_a_full_disk_is_told_and_mended(repo: AptRepo, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    small = tmp_path / "small"
    small.mkdir()
    process.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", small])
    try:
        root = apt(small, source(repo))
        with pytest.raises(ResolveError, match="store: no space is left for package indexes"):
            resolved(root, "nova")
        process.run(["mount", "-o", "remount,size=100m", small])
        assert set(resolved(root, "nova")) == {"nova"}
    finally:
        process.run(["umount", small])


# keys


def test_a_keyring_may_be_text_and_keys_are_chosen_by_fingerprint(tmp_path: Path) -> None:
    repo, other = AptRepo(tmp_path / "repo"), AptRepo(tmp_path / "other")
    repo.add("nova")
    repo.publish()
    both = tmp_path / "both keys.gpg"
    both.write_bytes(other.keyring.read_bytes() + repo.keyring.read_bytes())
    for keyring in (repo.armored_keyring(), both):
        apt(tmp_path, source(repo, keyring=keyring, fingerprints=(other.fingerprint, repo.fingerprint))).update()
        with pytest.raises(SourceError, match="no key that `fingerprints` names has signed it"):
            apt(tmp_path, source(repo, keyring=keyring, fingerprints=(other.fingerprint,))).update()
    repo.close()
    other.close()


def test_a_fingerprint_stands_for_its_subkeys(tmp_path: Path) -> None:
    repo = AptRepo(tmp_path / "repo")
    repo.add_subkey()
    repo.publish()
    apt(tmp_path, source(repo, fingerprints=(repo.fingerprint,))).update()
    repo.close()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "the keyring 'key.gpg' cannot be read: No such file"),
        (b"", "key.gpg holds no OpenPGP keys"),
        (b"hello", "key.gpg holds no OpenPGP keys"),
        (b"\0\0\0\x20\x01\x01\0\x02KBXf", "key.gpg is a keybox"),
    ],
)
def test_what_is_no_keyring_is_told(repo: AptRepo, tmp_path: Path, data: bytes | None, message: str) -> None:
    repo.keyring.unlink()
    if data is not None:
        repo.keyring.write_bytes(data)
    with pytest.raises(SourceError, match=f"source test: .*{message}"):
        apt(tmp_path, source(repo)).update()


# which of several


def test_without_priorities_the_highest_version_wins(repo: AptRepo, tmp_path: Path) -> None:
    root = apt(tmp_path, source(repo, "stable", "new"))
    assert resolved(root, "nova") == {"nova": ("2", "test", "new")}
    assert root.newest(["nova", "none"]) == {"nova": ("2", "new")}


@pytest.mark.parametrize(
    ("wish", "version"),
    [("nova", "2"), ("nova (<< 2)", "1"), ("nova (<= 1)", "1"), ("nova (= 1)", "1"), ("nova:amd64 (= 2)", "2"),
     ("nova (>= 1)", "2"), ("nova (>> 1)", "2")],
)  # fmt: skip
def test_a_wish_may_want_an_older_version(repo: AptRepo, tmp_path: Path, wish: str, version: str) -> None:
    for priority in (None, 1001):
        root = apt(tmp_path, source(repo), source(repo, "new", name="new", priority=priority))
        assert resolved(root, wish)["nova"][0] == version
        assert root.newest(["nova"], [wish])["nova"][0] == version


def test_a_wish_that_nothing_fits_is_told(repo: AptRepo, tmp_path: Path) -> None:
    with pytest.raises(Unsatisfiable, match=r"nova \(> 2\)|nova \(>> 2\)"):
        resolved(apt(tmp_path, source(repo, "stable", "new")), "nova (>> 2)")


@pytest.mark.parametrize("by_http", [False, True])
def test_priorities_tell_suites_of_one_host_apart(repo: AptRepo, tmp_path: Path, by_http: bool) -> None:
    with HttpServer(tmp_path) as server:
        uri = f"{server.uri}/{repo.folder.name}" if by_http else repo.uri
        two = (source(repo, "stable", uri=uri, priority=700), source(repo, "new", name="new", uri=uri))
        root = apt(tmp_path, *two)
        assert resolved(root, "nova") == {"nova": ("1", "test", "stable")}
        assert root.newest(["nova"]) == {"nova": ("1", "stable")}
        two = (source(repo, "stable", uri=uri), source(repo, "new", name="new", uri=uri, priority=-1))
        assert resolved(apt(tmp_path, *two), "nova") == {"nova": ("1", "test", "stable")}


@pytest.mark.parametrize(
    ("priority", "expected"),
    [(None, ("1+own", "own", "./")), (1001, ("1+own", "own", "./")), (100, ("1", "test", "stable"))],
)
def test_a_folder_of_packages_has_a_priority_of_its_own(
    repo: AptRepo, tmp_path: Path, priority: int | None, expected: tuple[str, str, str]
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    shutil.copy(repo.add("nova", "1+own", suite="new"), own)
    other = tmp_path / "other"
    other.mkdir()
    root = apt(tmp_path, source(repo), debs(own, priority=priority), debs(other, "other", 990))
    assert resolved(root, "nova") == {"nova": expected}
    if priority == 1001:
        shutil.copy(next(own.iterdir()), other / "nova_0.deb")
        shutil.copy(repo.add("nova", "0+own", suite="new"), own)
        for path in own.glob("*1+own*"):
            path.unlink()
        assert resolved(root, "nova") == {"nova": ("0+own", "own", "./")}


def test_what_cannot_be_told_apart_is_told(repo: AptRepo, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(repo.folder, copy, ignore=shutil.ignore_patterns("gnupg"))
    same = source(repo, name="copy", uri=f"file://{copy}", priority=100)
    root = apt(tmp_path, source(repo), same)
    root.update()
    with pytest.raises(SourceError, match="source copy: its priority cannot be told to apt"):
        root.solve(Facts(("base",), "amd64", ("nova",), False, False, ()), ())
    # a host of its own does
    with HttpServer(copy) as server:
        same = replace(same, mirrored=server.uri, priority=1001)
        assert (
            resolved(apt(tmp_path, source(repo, "new"), replace(same, suites=("stable",))), "nova")["nova"][1] == "copy"
        )


def test_a_name_of_a_release_may_have_any_characters(tmp_path: Path) -> None:
    odd, plain = AptRepo(tmp_path / "odd", label='A, "B" [c]*/x'), AptRepo(tmp_path / "plain")
    odd.add("nova")
    plain.add("nova", "2")
    for repo in (odd, plain):
        repo.publish()
    assert resolved(apt(tmp_path, source(odd, priority=900), source(plain, name="plain")), "nova")["nova"][1] == "test"
    odd.close()
    plain.close()


# where packages are


def test_a_package_of_two_suites_is_locked_in_the_first(repo: AptRepo, tmp_path: Path) -> None:
    os.link(repo.folder / "pool/new/nova_2_all.deb", repo.folder / "pool/stable/nova_2_all.deb")
    repo.publish()
    for suites in (("stable", "new"), ("new", "stable")):
        assert resolved(apt(tmp_path, source(repo, *suites)), "nova") == {"nova": ("2", "test", suites[0])}


def test_a_package_is_found_by_its_bytes_wherever_it_lies(repo: AptRepo, tmp_path: Path) -> None:
    root = apt(tmp_path, source(repo, "stable", "new"))
    root.update()
    (package,) = root.solve(Facts(("base",), "amd64", ("nova",), False, False, ()), ())
    assert root.places(package.sha256) == (Found("test", "new", "pool/new/nova_2_all.deb"),)
    repo.move("nova", "2", "new", "stable")
    repo.publish()
    root.update()
    assert root.places(package.sha256) == (Found("test", "stable", "pool/stable/nova_2_all.deb"),)
    assert root.places("0" * 64) == ()


def test_two_packages_of_one_version_are_told_apart(repo: AptRepo, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    shutil.copy(repo.add("nova", "2", suite="new", files={"x": "patched"}), own)
    repo.vanish("nova", "2", "new")
    repo.add("nova", "2", suite="new")
    repo.publish()
    for priority, expected in ((1001, "own"), (100, "test")):
        root = apt(tmp_path, source(repo, "stable", "new"), debs(own, priority=priority))
        assert resolved(root, "nova")["nova"][:2] == ("2", expected)


def test_several_may_ask_at_once(repo: AptRepo, tmp_path: Path) -> None:
    root = apt(tmp_path, source(repo, "stable", "new"))
    root.update()
    facts = Facts(("base",), "amd64", ("nova",), False, False, ())
    (newest,) = root.solve(facts, ())
    (locked,) = root.solve(replace(facts, wishes=("nova (<< 2)",)), ())

    def ask(number: int) -> object:
        mine = apt(tmp_path, source(repo, "stable", "new"))
        if number % 3 == 0:
            return mine.solve(facts, (locked,)) == ()
        return mine.newest(["nova"]) == {"nova": ("2", "new")} and mine.solve(facts, ()) == (newest,)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(12))) == [True] * 12


def test_a_package_that_was_built_anew_takes_the_place_of_the_old_one(repo: AptRepo, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    mine = (source(repo), debs(own))
    facts = Facts(("base",), "amd64", ("nova",), False, False, mine)
    locks: list[Lock] = []
    for text in ("first", "other"):
        shutil.copy(repo.add("nova", "3", suite="new", files={"x": text}), own)
        root = apt(tmp_path, *mine)
        root.update()
        found = locking.resolve(facts, (), locks[-1] if locks else None, root)
        locks.append(locking.lock(facts, (), found, root))
    assert locks[0].fingerprint != locks[1].fingerprint
    assert locks[0].packages[0].sha256 != locks[1].packages[0].sha256


def test_odd_names_of_files_and_folders_are_found(repo: AptRepo, tmp_path: Path) -> None:
    own = tmp_path / "own packages%20_~"
    own.mkdir()
    shutil.copy(repo.add("nova", "3", suite="new"), own / "nova_1%3a3+b~1 [x].deb")
    root = AptRoot(Store(tmp_path / "store"), (source(repo), debs(own)), "amd64", None)
    root.update()
    (package,) = root.solve(Facts(("base",), "amd64", ("nova",), False, False, ()), ())
    assert Path(debs(own).address(package.path)).is_file()


def test_a_folder_is_there_at_every_update(repo: AptRepo, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    shutil.copy(repo.add("nova", "3", suite="new"), own)
    root = AptRoot(Store(tmp_path / "store"), (debs(own),), "amd64", None)
    for _ in range(3):
        root.update()
        assert root.newest(["nova"])["nova"][0] == "3"


# this machine


def test_credentials_and_proxies_are_the_sites_own(
    repo: AptRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HttpServer(repo.folder) as server:
        server.require("me", "secret", "/dists")
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine {server.uri}/dists login me password secret\n")
        apt(tmp_path, source(repo, uri=server.uri), netrc=netrc).update()
        with pytest.raises(SourceError, match="wants credentials") as raised:
            apt(tmp_path, source(repo, uri=server.uri + "/"), netrc=tmp_path / "none").update()
        assert "none" in raised.value.hint
    with HttpServer(tmp_path) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.uri)
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(SourceError):
            apt(tmp_path, source(repo, uri="http://nowhere.invalid/debian")).update()
        assert proxy.requests


def test_nothing_of_this_machines_apt_is_read(repo: AptRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = tmp_path / "apt.conf"
    host.write_text('Acquire::http::Proxy "http://127.0.0.1:1";\nAPT::Install-Recommends "true";\n')
    monkeypatch.setenv("APT_CONFIG", str(host))
    root = apt(tmp_path, source(repo))
    assert resolved(root, "nova")["nova"] == ("1", "test", "stable")
    told = root._apt("apt-config", "dump").text
    values = [
        line.partition(" ")[2].strip('";') for line in told.splitlines() if line.startswith(("Dir::Etc", "Dir::State"))
    ]
    assert [value for value in values if value.startswith(("/etc", "/var"))] == []
    assert "127.0.0.1:1" not in told
    assert "Post-Invoke" not in told
    assert "Pre-Install" not in told
