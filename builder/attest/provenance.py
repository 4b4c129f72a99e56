"""How an image came to be → SLSA provenance v1 (https://slsa.dev/spec/v1.0/provenance), an in-toto statement v1.

The statement is plain JSON of a dozen fields; the library for it (in-toto-attestation) gives protocol buffers and checks
less than our tests do by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from builder import __version__
from builder.attest import URI
from builder.model.digest import Digest
from builder.model.lock import RULES

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = f"{URI}/build/v1"
BUILDER = f"{URI}/builder"


@dataclass(frozen=True, slots=True)
class Material:
    """Something that a build was made from (in-toto, ResourceDescriptor).

    Attributes:
        uri: where it is known; empty if it is a file of this machine.
        digest: by the name of the algorithm: ``sha256``, ``gitCommit``.
        notes: what else is to be told of it.
    """

    name: str
    uri: str
    digest: Mapping[str, str]
    notes: Mapping[str, Any]

    def data(self) -> dict[str, Any]:
        """As the statement has it."""
        found = {"name": self.name, "uri": self.uri, "digest": dict(self.digest), "annotations": dict(self.notes)}
        return {key: value for key, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a build.

    Attributes:
        id: no other run has it.
        started, finished: RFC 3339.
    """

    id: str
    started: str
    finished: str


def statement(
    name: str,
    digest: Digest,
    asked: Mapping[str, Any],
    settings: Mapping[str, Any],
    materials: Iterable[Material],
    run: Run,
) -> bytes:
    """The statement.

    Args:
        name: of the image: ``nova-api:31.0.0-r3``.
        digest: of its manifest.
        asked: what who started the build decided: workspace, target, definitions, overlay.
        settings: what the rest decided: architecture, compression.
    """
    return (
        json.dumps(
            {
                "_type": STATEMENT,
                "subject": [{"name": name, "digest": {"sha256": digest.hex}}],
                "predicateType": PREDICATE,
                "predicate": {
                    "buildDefinition": {
                        "buildType": BUILD_TYPE,
                        "externalParameters": dict(asked),
                        "internalParameters": {"rules": RULES, **settings},
                        "resolvedDependencies": [material.data() for material in materials],
                    },
                    "runDetails": {
                        "builder": {"id": BUILDER, "version": {"imgbuild": __version__}},
                        "metadata": {"invocationId": run.id, "startedOn": run.started, "finishedOn": run.finished},
                    },
                },
            },
            indent=1,
            ensure_ascii=False,
        )
        + "\n"
    ).encode()
