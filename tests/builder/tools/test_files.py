"""Several files are written whole, all of them or none, wherever it is ended."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builder.tools import files

OLD, NEW = b"old", b"new"


def _ended(folder: Path, paths: list[Path], step: int) -> bool:
    """Write in a process of its own that ends at its so-many-th step on disk: whether it came to its end."""
    child = os.fork()
    if child == 0:
        left = [step]

        def before(name: str) -> None:
            real = getattr(os, name)

            def counted(*words: object, **more: object) -> object:
                if left[0] == 0:
                    os._exit(1)
                left[0] -= 1
                return real(*words, **more)

            setattr(os, name, counted)

        for name in ("replace", "fsync", "chmod"):
            before(name)
        files.write_all(folder, dict.fromkeys(paths, NEW))
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_ended_anywhere_all_or_none_is_written(count: int, tmp_path: Path) -> None:
    seen = set()
    for step in range(100):
        folder = tmp_path / str(step)
        paths = [folder / f"{number}/lock.yaml" for number in range(count)]
        for path in paths:
            path.parent.mkdir(parents=True)
            path.write_bytes(OLD)
        ended_well = _ended(folder, paths, step)
        files.finish(folder)
        found = {path.read_bytes() for path in paths}
        assert len(found) == 1, f"half of it, at step {step}"
        seen |= found
        assert not files.finish(folder)
        if ended_well:
            assert found == {NEW}
            assert not [path for path in folder.rglob(".*") if path.is_file()]
            break
    else:
        pytest.fail("it never ended")
    assert seen == {OLD, NEW}


@pytest.mark.parametrize(
    "note",
    ["", "{", "3", '{"a": "b"}', '[3, "", ".", "x", "/"]', '["PATH/secret", "PATH/.secret.", "PATH/.secret.A1234567"]'],
)
def test_a_note_of_somebody_else_moves_nothing(note: str, tmp_path: Path) -> None:
    for name in ("secret", ".secret.A1234567"):
        (tmp_path / name).write_text(name)
    (tmp_path / ".imgbuild-x.unfinished").write_text(note.replace("PATH", str(tmp_path)))
    assert files.finish(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        name: name for name in ("secret", ".secret.A1234567")
    }


def test_what_cannot_be_written_leaves_all_as_it_was(tmp_path: Path) -> None:
    first = tmp_path / "lock.yaml"
    first.write_bytes(OLD)
    with pytest.raises(FileNotFoundError):
        files.write_all(tmp_path, {first: NEW, tmp_path / "nowhere/lock.yaml": NEW})
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("lock.yaml", OLD)]
