"""What git says of a workspace."""

from __future__ import annotations

from pathlib import Path

from builder.tools import git, process


def repository(folder: Path) -> Path:
    """A repository with one file committed."""
    folder.mkdir()
    (folder / "component.yaml").write_text("dsl: 1\n")
    who = ("-c", "user.name=T", "-c", "user.email=t@localhost")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "x")):
        process.run(["git", "-C", folder, *words])
    process.run(["git", "-C", folder, "remote", "add", "origin", "https://user:secret@example.org/x.git"])
    return folder


def test_the_commit_of_a_folder(tmp_path: Path) -> None:
    folder = repository(tmp_path / "site")
    file = folder / "component.yaml"
    found = git.origin(folder, (file, tmp_path / "elsewhere"))
    assert found is not None
    assert (len(found.commit), found.dirty) == (40, False)
    (folder / "out").mkdir()
    (folder / "out/index.json").write_text("{}")
    assert git.origin(folder, (file,)) == found, "what is built does not count"
    file.write_text("dsl: 2\n")
    changed = git.origin(folder, (file,))
    assert changed is not None
    assert (changed.commit, changed.dirty) == (found.commit, True)


def test_a_new_definition_is_not_in_the_commit(tmp_path: Path) -> None:
    folder = repository(tmp_path / "site")
    (folder / "layer.yaml").write_text("dsl: 1\n")
    found = git.origin(folder, (folder / "layer.yaml",))
    assert found is not None
    assert found.dirty


def test_a_folder_of_no_repository_has_no_commit(tmp_path: Path) -> None:
    assert git.origin(tmp_path, ()) is None
    (tmp_path / "empty").mkdir()
    process.run(["git", "-C", tmp_path / "empty", "init", "-q"])
    assert git.origin(tmp_path / "empty", ()) is None


def commit(folder: Path, *words: str) -> None:
    """Commit all that has changed."""
    who = ("-c", "user.name=T", "-c", "user.email=t@localhost")
    process.run(["git", "-C", folder, "add", "-A"])
    process.run(["git", "-C", folder, *who, *(words or ("commit", "-qm", "x"))])


def test_what_was_committed_to_files(tmp_path: Path) -> None:
    folder = repository(tmp_path / "site")
    place = folder / "repos/nova\nä"
    place.mkdir(parents=True)
    for text in ("1", "2"):
        (place / "lock.yaml").write_text(text)
        commit(folder)
    (place / "other.yaml").write_text("3")
    commit(folder)
    (place / "lock.yaml").unlink()
    commit(folder)

    found = git.history(place, (":(top,glob)**/lock.yaml",))
    assert found is not None
    assert [(one.file, bool(one.blob)) for one in found] == [("repos/nova\nä/lock.yaml", there) for there in (1, 1, 0)]
    held = dict(git.texts(folder, [one.blob for one in found if one.blob] + ["0" * 40]))
    assert [held.get(one.blob) for one in found] == ["1", "2", None]
    assert git.history(folder, (":(glob)**/lock.yaml",), since=found[0].commit) == found[1:]
    assert git.history(folder, (":(glob)**/lock.yaml",), since="f" * 40) == found
    assert [git.text_at(place / "lock.yaml", one.commit) for one in found] == ["1", "2", None]
    assert git.text_at(place / "lock.yaml", "f" * 40) is None
    assert git.history(tmp_path, ("lock.yaml",)) is None
    assert tuple(git.texts(folder, ())) == ()


def test_a_merge_is_one_change(tmp_path: Path) -> None:
    folder = repository(tmp_path / "site")
    process.run(["git", "-C", folder, "checkout", "-qb", "fix"])
    for text in ("1", "2"):
        (folder / "lock.yaml").write_text(text)
        commit(folder)
    process.run(["git", "-C", folder, "checkout", "-q", "-"])
    commit(folder, "merge", "-q", "--no-ff", "-m", "m", "fix")
    (change,) = git.history(folder, ("lock.yaml",)) or ()
    assert dict(git.texts(folder, [change.blob])) == {change.blob: "2"}
