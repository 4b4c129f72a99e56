"""What uv finds in small indexes, for a Python, a machine and a C library that need not be this machine's."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import ResolveError, Unsatisfiable
from builder.resolve import python
from builder.tools.store import Store
from dsl.requirements import Wanted
from tests.kit.wheels import Index, wheel

TRIXIE = python.Target("3.13.5", 41, "amd64")
BOOKWORM = python.Target("3.11.2", 36, "amd64")


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "index")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def found(
    index: Index,
    store: Store,
    *asked: str,
    target: python.Target = TRIXIE,
    kept: tuple[tuple[str, str], ...] = (),
    fixed: tuple[tuple[str, str], ...] = (),
    folder: Path | None = None,
) -> dict[str, str]:
    """File names by package."""
    folders = (python.Index("own", folder=folder),) if folder else ()
    there = (*folders, python.Index("pypi", python.PYPI, index.url))
    wanted = [Wanted(text.split(" ")[0].lower(), text) for text in asked]
    wheels = python.resolve(target, wanted, fixed, kept, there, ("base", "web"), store)
    return {one.name: one.filename for one in wheels}


def test_what_is_needed_comes_along(index: Index, store: Store, tmp_path: Path) -> None:
    index.add(wheel(tmp_path, "Web_App", needs=["needed >= 1", "windows; sys_platform == 'win32'"]))
    index.add(wheel(tmp_path, "needed"))
    assert found(index, store, "Web-App").keys() == {"web-app", "needed"}


def test_the_wheel_is_the_targets_not_this_machines(index: Index, store: Store, tmp_path: Path) -> None:
    tags = ["cp313-cp313-manylinux_2_40_x86_64", "cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-manylinux_2_40_x86_64",
            "cp313-cp313-manylinux_2_17_aarch64", "cp313-cp313-musllinux_1_2_x86_64"]  # fmt: skip
    for tag in tags:
        index.add(wheel(tmp_path, "fast", tag=tag))
    names = {tag: f"fast-1.0-{tag}.whl" for tag in tags}
    assert found(index, store, "fast") == {"fast": names[tags[0]]}
    assert found(index, store, "fast", target=BOOKWORM) == {"fast": names[tags[1]]}  # its glibc is 2.36
    assert found(index, store, "fast", target=python.Target("3.13.5", 41, "arm64")) == {"fast": names[tags[3]]}


def test_markers_are_the_targets(index: Index, store: Store, tmp_path: Path) -> None:
    index.add(wheel(tmp_path, "web", needs=["old; python_version < '3.12'", "new; python_version >= '3.12'"]))
    index.add(wheel(tmp_path, "old"))
    index.add(wheel(tmp_path, "new"))
    assert found(index, store, "web").keys() == {"web", "new"}
    assert found(index, store, "web", target=BOOKWORM).keys() == {"web", "old"}


def test_what_is_locked_stays_where_it_fits(index: Index, store: Store, tmp_path: Path) -> None:
    for version in ("1.0", "2.0"):
        index.add(wheel(tmp_path, "web", version))
    assert found(index, store, "web") == {"web": "web-2.0-py3-none-any.whl"}
    assert found(index, store, "web", kept=(("web", "1.0"),)) == {"web": "web-1.0-py3-none-any.whl"}
    assert found(index, store, "web > 1", kept=(("web", "1.0"),)) == {"web": "web-2.0-py3-none-any.whl"}


def test_what_lies_below_does_not_move(index: Index, store: Store, tmp_path: Path) -> None:
    for version in ("1.0", "2.0"):
        index.add(wheel(tmp_path, "web", version))
    assert found(index, store, "web", fixed=(("web", "1.0"),)) == {"web": "web-1.0-py3-none-any.whl"}
    with pytest.raises(Unsatisfiable, match=r"^base → web: .*web"):
        found(index, store, "web > 1", fixed=(("web", "1.0"),))


def test_a_package_of_a_folder_is_taken_from_nowhere_else(index: Index, store: Store, tmp_path: Path) -> None:
    index.add(wheel(tmp_path / "evil", "own", "99"))
    wheel(tmp_path / "folder", "own", "1.0")
    assert found(index, store, "own", folder=tmp_path / "folder") == {"own": "own-1.0-py3-none-any.whl"}


def test_a_package_without_wheels_names_the_way_out(index: Index, store: Store, tmp_path: Path) -> None:
    source = tmp_path / "built-1.0.tar.gz"
    source.write_bytes(b"never read")
    index.add(source)
    with pytest.raises(ResolveError, match=r"^base → web: .*built.* no .*wheels") as raised:
        found(index, store, "built")
    assert "only wheels are installed" in raised.value.hint
    assert "{wheels: wheels}" in raised.value.hint


def test_a_wheel_for_others_alone_names_the_way_out(index: Index, store: Store, tmp_path: Path) -> None:
    index.add(wheel(tmp_path, "fast", tag="cp313-cp313-win_amd64"))
    with pytest.raises(ResolveError, match=r"^base → web: .*fast") as raised:
        found(index, store, "fast")
    assert "only wheels are installed" in raised.value.hint


def test_what_is_not_there_is_told(index: Index, store: Store, tmp_path: Path) -> None:
    with pytest.raises(Unsatisfiable, match=r"^base → web: .*nowhere was not found"):
        found(index, store, "nowhere")
    silent = (python.Index("pypi", python.PYPI, f"file://{tmp_path}/nothing"),)
    with pytest.raises(ResolveError) as raised:
        python.resolve(TRIXIE, [Wanted("web", "web")], (), (), silent, ("web",), store)
    assert str(tmp_path) not in raised.value.hint


def test_addresses_of_a_site_are_never_told(index: Index, tmp_path: Path) -> None:
    site = (python.Index("pypi", python.PYPI, "https://user:secret@mirror.example/pypi/simple"),)
    path = index.add(wheel(tmp_path, "web"))
    known = f"https://files.pythonhosted.org/{path}"
    assert python.public(f"https://user:secret@mirror.example/pypi/{path}#sha256=0", site) == known
    assert python.public("https://mirror.example/files/web-1.0-py3-none-any.whl", site) == ""
    assert python.public("file:///srv/web-1.0-py3-none-any.whl", site) == ""
    own = (python.Index("own", "https://pypi.example/simple", "https://u:p@pypi.example/simple"),)
    plain = (python.Index("own", "https://pypi.example/simple", "https://pypi.example/simple"),)
    assert python.public("https://u:p@pypi.example/files/web.whl", own) == "https://pypi.example/files/web.whl"
    assert python.public("https://pypi.example/files/web.whl?x#y", plain) == "https://pypi.example/files/web.whl"


def test_where_files_lie_now(index: Index, store: Store, tmp_path: Path) -> None:
    made = wheel(tmp_path, "web")
    path = index.add(made)
    index.add(wheel(tmp_path, "web", tag="cp313-cp313-manylinux_2_17_x86_64"))
    there = python.places([("web", "1.0"), ("gone", "1")], (python.Index("pypi", python.PYPI, index.url),), store)
    assert f"{index.folder.as_uri()}/{path}" in there.values()
    assert len(there) == 2


def test_libraries_of_the_system_are_known(tmp_path: Path) -> None:
    linked = "\x7fELF\0libstdc++.so.6\0libc.so.6\0"
    files = {
        "fast/core.so": linked,
        "fast/notes.txt": "\0libGL.so.1\0",
        "fast.libs/libz-1a2b.so.1": "\x7fELF\0libm.so.6\0",
    }
    made = wheel(tmp_path, "fast", files=files)
    assert python.about(made, made.name, TRIXIE).libraries == ("libstdc++.so.6",)


def test_what_a_wheel_says_of_itself(tmp_path: Path) -> None:
    made = wheel(
        tmp_path,
        "web",
        needs=["Need_It >= 1", "windows; sys_platform == 'win32'", "more[x]; extra == 'all'", "=broken"],
    )
    about = python.about(made, made.name, TRIXIE)
    assert about.needs == {"need-it", "more"}
    assert "web.py" in about.files
    made.write_bytes(b"no zip")
    with pytest.raises(ResolveError, match=r"web-1\.0-py3-none-any\.whl is no wheel"):
        python.about(made, made.name, TRIXIE)
