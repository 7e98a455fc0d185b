"""Generated requests against the whole HTTP application: only documented answers, and no internal error."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serve_apps.app import GET_FLEET
from serve_apps.config import IngressConfig
from tests.unit.serve_apps.fake_registry import FakeRegistry
from tests.unit.serve_apps.running import TOKEN, Ingress
from tests.unit.serve_apps.whole_system import WholeSystem
from zejzl_ray.clock import SystemClock
from zejzl_ray.contracts.problems import Problem
from zejzl_ray.contracts.services import OPERATIONS

HEADERS = {"Authorization": f"Bearer {TOKEN}", "X-Request-Timeout-S": "1"}
ROUTES = sorted({(one.verb, one.path) for one in (*OPERATIONS, GET_FLEET) if one.path})
ROUTES += [("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/openapi.json")]
LONG_POLLS = {"/v1/watch/agents", "/v1/auth/feed", "/v1/deadlocks/watch"}
CHECKS = (
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    ignored_auth,
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Serve the application over a real socket, with some agents that generated names can meet."""
    registry = FakeRegistry()
    for name in ("A", "Aa", "Coder"):
        registry.put(name, aliases=(f"{name}0",), capabilities=("chat",), metadata={"group": "one"})
    config = IngressConfig(poll_s=0.05, min_revision_wait_s=0.01, max_watchers=4)
    ingress = Ingress(registry, config, SystemClock(), caller=WholeSystem(registry))
    server = uvicorn.Server(uvicorn.Config(ingress.app, port=0, log_level="critical", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    ends_at_s = time.monotonic() + 10
    while not server.started and time.monotonic() < ends_at_s:
        time.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    yield f"http://{host}:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def api(url: str) -> Any:
    return schemathesis.openapi.from_url(f"{url}/openapi.json", headers=HEADERS)


@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value
)
@pytest.mark.parametrize(("verb", "path"), ROUTES)
def test_every_generated_request_gets_a_documented_answer(
    api: Any, verb: str, path: str, mode: GenerationMode
) -> None:
    operation = api[path][verb]

    @settings(max_examples=10, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        if path in LONG_POLLS:
            # a long poll would wait for a change that nobody makes
            case.query = {**(case.query or {}), "timeout_s": 0}
        response = case.call(headers=HEADERS)
        if response.status_code == 503:
            assert "retry-after" in response.headers
        else:
            assert response.status_code < 500, response.text
        if response.status_code >= 400:
            problem = Problem.model_validate_json(response.content)
            assert problem.detail
            assert problem.remedy
        case.validate_response(response, checks=CHECKS, headers=HEADERS)

    try:
        check()
    except Unsatisfiable:
        pytest.skip(f"{verb} {path} has nothing that could be wrong")


@pytest.mark.parametrize(
    "text", ["\x00", "%00", "..%2f..", "a" * 5000, "\u202e", "{name}", "Coder%0d%0aX: y"]
)
def test_strange_names_in_paths_are_answered_without_an_internal_error(url: str, text: str) -> None:
    for path in (f"/v1/agents/{text}", f"/v1/machines/{text}", f"/v1/agents/{text}/explanation"):
        answer = requests.get(url + path, headers=HEADERS, timeout=5)
        assert answer.status_code in (404, 422)
        assert Problem.model_validate_json(answer.content).request_id == answer.headers["x-request-id"]
