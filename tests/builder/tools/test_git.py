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
