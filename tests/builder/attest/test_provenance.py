"""Statements as in-toto's own types take them."""

from __future__ import annotations

from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2

from builder.attest import provenance
from builder.attest.provenance import Material, Run
from builder.model.digest import Digest


def test_a_statement_is_one_of_in_toto_and_slsa() -> None:
    digest = Digest.of(b"image")
    text = provenance.statement(
        "web:1.0-r1",
        digest,
        {"target": "web"},
        {"architecture": "amd64"},
        [
            Material("a_1_all", "http://x/a.deb", {"sha256": "0" * 64}, {}),
            Material("site", "git+https://x/y", {"gitCommit": "1" * 40}, {"dirty": False}),
        ],
        Run("an-id", "2025-01-01T00:00:00Z", "2025-01-01T00:01:00Z"),
    )
    statement = json_format.Parse(text, statement_pb2.Statement())
    assert statement.type == "https://in-toto.io/Statement/v1"
    assert statement.predicate_type == "https://slsa.dev/provenance/v1"
    assert [(one.name, dict(one.digest)) for one in statement.subject] == [("web:1.0-r1", {"sha256": digest.hex})]
    predicate = json_format.ParseDict(json_format.MessageToDict(statement.predicate), provenance_pb2.Provenance())
    definition, details = predicate.build_definition, predicate.run_details
    assert dict(definition.external_parameters) == {"target": "web"}
    assert [one.uri for one in definition.resolved_dependencies] == ["http://x/a.deb", "git+https://x/y"]
    assert (details.builder.id, details.metadata.invocation_id) == (provenance.BUILDER, "an-id")
    assert details.metadata.finished_on.ToJsonString() == "2025-01-01T00:01:00Z"
