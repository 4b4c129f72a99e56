"""The workspace's definitions, with the git repositories that it uses."""

from __future__ import annotations

import os
from pathlib import Path

from builder.errors import UsageError
from builder.registry import address
from builder.registry.address import Home
from builder.report import Reporter
from builder.tools import carried, files, git
from builder.tools.store import Store
from dsl import loading
from dsl.catalog import Catalog
from dsl.model import Workspace


def load(directory: Path, repos: tuple[Path, ...], store: Store, reporter: Reporter) -> Catalog:
    """Read every definition; what is used from git is fetched at its commit, once.

    Raises:
        DefinitionError: there is no workspace, or its own file is wrong.
        FetchError: a commit cannot be had.
    """
    root = loading.find(directory)
    if files.finish(root.folder):
        reporter.note("locks that a command was ended over while it wrote them are written now")
    used = []
    there = carried.at(mirror(root.workspace))
    for entry in root.workspace.uses:
        if store.tree(f"git-{entry.commit}") is None:
            reporter.step(f"fetching {entry.url} at {entry.commit[:12]}")
        local = root.folder / entry.url
        url = str(local) if local.exists() else entry.url
        if there and there.repository(entry.url).exists():
            url = str(there.repository(entry.url))
        used.append(git.checkout(url, entry.ref, entry.commit, store) / entry.path)
    return loading.load(root, repos=repos, used=tuple(used))


def mirror(workspace: Workspace) -> str | None:
    """What takes the place of addresses at this site."""
    return os.environ.get("IMGBUILD_MIRROR") or workspace.mirror


def home(catalog: Catalog, named: str) -> Home:
    """Where releases lie in the registry that is named, ``HOST[:PORT][/PREFIX]``, else in the workspace's.

    Raises:
        UsageError: there is neither, or it is no such address.
    """
    if where := named or catalog.workspace.registry:
        return address.home(where, catalog.names)
    raise UsageError("no registry is named", "say --registry HOST[:PORT][/PREFIX], or `registry:` in imgbuild.yaml")
