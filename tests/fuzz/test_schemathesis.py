"""Schemathesis reads the OpenAPI document and tries the routes; it is no part of the `dev` extra: pip install schemathesis."""

import os

import pytest

pytest.importorskip("fastapi", reason="piza[serve] is not installed")
pytest.importorskip("schemathesis", reason="schemathesis is not installed")

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import load_all_checks
from tests.server.fake_model import FakeModel

from piza.server.app import ServeConfig, create_app

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "30"))

load_all_checks()
CHECKS = [
    schemathesis.checks.CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    )
]
CONFIG = ServeConfig(megabytes=1.0, allowed_hosts=("testserver",))
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", create_app({"quick": FakeModel()}, CONFIG))


@SCHEMA.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_the_document_says(case):
    case.call_and_validate(checks=CHECKS)
