"""Requests made from /openapi.json: whatever it allows, and what it forbids, gets a status that it names."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.checks import CHECKS

from mfn_e2e.deployment import Deployment, tables

LEFT_OUT = ("grpc.",)
"""Services of the transport's own: one watches for ever, and the other is about files."""
TRIES = 4
MANY_TRIES = 60


@schemathesis.serializer("application/x-ndjson")
def as_lines(context: Any, value: Any) -> bytes:
    """Text as it is: the description has no words for lines of which each is a value."""
    return value.encode("utf-8", "replace") if isinstance(value, str) else json.dumps(value).encode()


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server for everybody, on which no call takes long."""
    configuration = tables(
        transports=["asgi"],
        server={"allow": ["anonymous"], "max_grid": 16, "max_steps": 64, "max_cell_steps": 100_000},
        services={"mfn": {"sessions": 1000, "sessions_per_principal": 1000, "resume_within_seconds": 1}},
    )
    with Deployment(configuration, tmp_path_factory.mktemp("open")) as started:
        yield started


@pytest.fixture(scope="module")
def schema(open_server: Deployment) -> Any:
    return schemathesis.openapi.from_url(f"http://{open_server.address('asgi')}/openapi.json")


def test_the_description_of_a_running_server_is_valid(schema: Any) -> None:
    assert list(OpenAPIV31SpecValidator(schema.raw_schema).iter_errors()) == []
    assert {"/simulate", "/v1/models/{name}", "/health", "/grpc.health.v1.Health/Check"} <= schema.raw_schema[
        "paths"
    ].keys()


def _check(schema: Any, tries: int) -> int:
    checks = CHECKS.get_by_names(["status_code_conformance", "content_type_conformance", "response_schema_conformance"])
    asked = 0
    with requests.Session() as session:
        for found in schema.get_all_operations():
            operation = found.ok()
            if operation.path.startswith(tuple(f"/{name}" for name in LEFT_OUT)):
                continue
            cases = operation.as_strategy()

            @settings(max_examples=tries, deadline=None, suppress_health_check=list(HealthCheck), database=None)
            @given(case=cases)
            def ask(case: Any) -> None:
                response = case.call(timeout=30, session=session)
                assert response.status_code not in (500, 502), (case.as_curl_command(), response.text)
                case.validate_response(response, checks=checks)

            ask()
            asked += 1
    return asked


def test_no_request_that_the_description_allows_finds_a_defect(schema: Any) -> None:
    assert _check(schema, TRIES) > 30


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_request_of_many_that_the_description_allows_finds_a_defect(schema: Any) -> None:
    assert _check(schema, MANY_TRIES) > 30


def test_every_example_is_taken(open_server: Deployment, schema: Any) -> None:
    host, _, port = open_server.address("asgi").rpartition(":")
    for path, item in schema.raw_schema["paths"].items():
        for verb, operation in item.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if "example" not in content:
                continue
            example = {**content["example"]}
            if "grid_size" in example:
                example |= {"grid_size": 8} | ({"steps": 4} if "steps" in example else {})
            if "simulation" in example:
                example["simulation"] = {**example["simulation"], "grid_size": 8}
                example["steps"] = 8
            if "total_steps" in example:
                example["total_steps"] = 4
            with closing(http.client.HTTPConnection(host, int(port), timeout=30)) as connection:
                connection.request(verb.upper(), path, json.dumps(example), {"content-type": "application/json"})
                response = connection.getresponse()
                content = response.read()
            assert response.status == 200, (path, content)
