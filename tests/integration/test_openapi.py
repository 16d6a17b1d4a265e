"""The description of the HTTP API: it is OpenAPI, it tells of every route, and the broker does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from broker_process import Broker
from http_client import request
from wire import Wire

TESTS = Path(__file__).parent.parent
EXAMPLES = 10
"""Made-up requests of each operation, beside those that cover its fields one by one."""

EXCLUDED = "use_after_free"
"""It takes the empty answer of a peek into a deleted or cleared queue for the queue; the conformance suite tests what is gone."""


@pytest.fixture(scope="module")
def document(shared_broker: Broker) -> dict[str, Any]:
    """The description, as served."""
    reply = request(shared_broker.http, "GET", "/openapi.json")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    found: dict[str, Any] = reply.json
    return found


def test_the_description_is_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    problems = [f"{error.instance_path}: {error.message}" for error in OPENAPI_31_VALIDATOR.iter_errors(document)]
    assert not problems, "\n".join(problems)


def test_every_reference_leads_somewhere_and_everything_is_referred_to(document: dict[str, Any]) -> None:
    def references(value: object) -> set[str]:
        if isinstance(value, dict):
            return {value["$ref"]} if "$ref" in value else set().union(*map(references, value.values()))
        return set().union(*map(references, value)) if isinstance(value, list) else set()

    there = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) == there


def test_every_described_path_is_served_with_these_methods_and_no_others(document: dict[str, Any], shared_broker: Broker) -> None:
    for path, operations in document["paths"].items():
        reply = request(shared_broker.http, "OPTIONS", path.replace("{queue}", "q"))
        methods = {name.upper() for name in operations if name != "parameters"}
        assert set(reply.headers["Allow"].split(", ")) == methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set()), path


def test_every_operation_and_parameter_is_explained(document: dict[str, Any]) -> None:
    names: list[str] = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parameters = operation if method == "parameters" else operation.get("parameters", [])
            assert all(parameter["description"] for parameter in parameters), f"{method} {path}"
            if method != "parameters":
                assert operation["summary"], f"{method} {path}"
                names.append(operation["operationId"])
    assert len(names) == len(set(names))


def test_limits_of_the_broker_are_in_the_description(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker({"storage": {"type": "memory"}, "limits": {"message_size": 3000, "queue_messages": 17}})
    schemas = request(broker.http, "GET", "/openapi.json").json["components"]["schemas"]
    assert schemas["Line"]["properties"]["payload"]["anyOf"][0]["maxLength"] == 4000
    assert schemas["QueuePolicy"]["properties"]["max_messages"]["anyOf"][0]["maximum"] == 17


@pytest.mark.parametrize("path", ["/v1/queues/{queue}/take", "/v1/take"])
def test_a_take_beyond_those_that_may_wait_is_answered_as_described(start_broker: Callable[..., Broker], path: str) -> None:
    broker = start_broker({"storage": {"type": "memory"}, "limits": {"waiting": 1}})
    with Wire(broker.host, broker.port) as waiting:
        waiting.send("S", "a", wait=30, tag=1)
        waiting.done("L", "a")  # so the take before waits
        body, query = ('{"queues":["a"],"wait":1}', "") if path == "/v1/take" else (None, "?wait=1")
        reply = request(broker.http, "POST", path.replace("{queue}", "a") + query, body)
        described = request(broker.http, "GET", "/openapi.json").json["paths"][path]["post"]["responses"]
        assert str(reply.status) in described, f"{reply} is none of {sorted(described)}"


def test_every_way_to_say_who_one_is_is_described(start_broker: Callable[..., Broker]) -> None:
    token = "a-token-of-somebody"
    broker = start_broker({"storage": {"type": "memory"}, "users": [{"name": "ann", "password": "secret", "token": token}]})
    document = request(broker.http, "GET", "/openapi.json", headers={"Authorization": f"Bearer {token}"}).json
    schemes = document["components"]["securitySchemes"]
    assert {scheme["scheme"] for scheme in schemes.values()} == {"basic", "bearer"}
    assert [name for one in document["security"] for name in one] == list(schemes), "either of them is enough"


def test_the_page_for_people_tells_of_every_operation_and_loads_nothing_from_elsewhere(
    document: dict[str, Any], shared_broker: Broker
) -> None:
    reply = request(shared_broker.http, "GET", "/docs")
    page = reply.body.decode()
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
    for operations in document["paths"].values():
        for method, operation in operations.items():
            assert method == "parameters" or f'id="{operation["operationId"]}"' in page, operation
    links = set(re.findall(r'(?:href|src)="([^"]*)"', page))
    assert {link for link in links if link[0] != "#"} == {"/docs/style.css", "/openapi.json"}
    assert {link[1:] for link in links if link[0] == "#"} <= set(re.findall(r'id="([^"]*)"', page)), "a link leads nowhere"
    assert "<script" not in page
    assert " style=" not in page
    assert request(shared_broker.http, "GET", "/docs/style.css").headers["Content-Type"].startswith("text/css")


@pytest.mark.timeout(300)
def test_the_broker_does_what_the_description_says(start_broker: Callable[..., Broker]) -> None:
    """Schemathesis makes up requests, right and wrong ones, and sequences of them, with every check but EXCLUDED."""
    broker = start_broker({"storage": {"type": "memory"}, "auth": {"user": "ann", "password": "secret"}})
    program = Path(sys.executable).parent / "schemathesis"
    command = [
        program, "run", "--seed", "1", f"http://{broker.http}/openapi.json", "--auth", "ann:secret",
        "--checks", "all", "--exclude-checks", EXCLUDED, "--max-examples", str(EXAMPLES), "--no-shrink",
        "--continue-on-failure", "--no-color",
    ]  # fmt: skip
    variables = {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(TESTS)}
    run = subprocess.run(command, env=os.environ | variables, cwd=broker.log.parent, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert b"request failed" not in broker.log.read_bytes(), "the broker's log tells of a failure"
