import re
from typing import Any

import pytest
from starlette.routing import Route

from serve_apps.app import GET_FLEET
from serve_apps.config import IngressConfig
from tests.unit.serve_apps.fake_registry import FakeRegistry
from tests.unit.serve_apps.running import QUICK, TOKEN, Ingress, StartIngress
from zejzl_ray.contracts.machines import MachineSnapshot, ReportMachine
from zejzl_ray.contracts.orchestrator import Agent, AgentPage
from zejzl_ray.contracts.problems import PROBLEM_MEDIA_TYPE, Problem
from zejzl_ray.contracts.services import OPERATIONS
from zejzl_ray.errors import DeadlineExceeded, Overloaded, ServiceUnavailable
from zejzl_ray.testing import ManualClock

SNAPSHOT = MachineSnapshot(
    machine="mainpc", cpu_count=2, cpu_busy_ratio=0.5, ram_total_mib=1, ram_used_mib=1, disk_total_mib=1,
    disk_used_mib=1, net_sent_bytes=1, net_received_bytes=1, taken_at_s=1.0,
)  # fmt: skip


def problem_of(response: Any, status: int) -> Problem:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM_MEDIA_TYPE
    problem = Problem.model_validate_json(response.content)
    assert problem.status == status
    assert problem.request_id == response.headers["x-request-id"]
    assert problem.detail
    return problem


async def test_an_agent_goes_through_its_whole_life_over_http(ingress: Ingress) -> None:
    client = ingress.client
    created = await client.post("/v1/agents", json={"name": "Coder", "port": 8001, "capabilities": ["chat"]})
    assert created.status_code == 201
    revision = created.headers["x-registry-revision"]
    assert Agent.model_validate_json(created.content).revision == int(revision)

    read = await client.get(f"/v1/agents/Coder?min_revision={revision}")
    assert Agent.model_validate_json(read.content) == Agent.model_validate_json(created.content)
    assert (await client.get("/v1/agents/Coder")).content == read.content

    changed = await client.patch("/v1/agents/Coder", json={"port": 8002, "expected_revision": int(revision)})
    assert changed.json()["port"] == 8002
    beat = await client.post("/v1/agents/Coder/heartbeat", json={"status": "healthy"})
    assert beat.json()["state"] == "healthy"
    told = await client.get("/v1/agents/Coder/explanation")
    assert told.json()["name"] == "Coder"

    gone = await client.delete("/v1/agents/Coder", params={"reason": "done"})
    assert gone.json()["was_known"] is True
    missing = await client.get(
        "/v1/agents/Coder", params={"min_revision": gone.headers["x-registry-revision"]}
    )
    assert problem_of(missing, 404).code == "agent_not_found"


async def test_lists_are_filtered_and_paged(ingress: Ingress) -> None:
    for number in range(5):
        ingress.registry.put(f"A{number}", machine="mainpc" if number % 2 else "pc2")
    await ingress.settle()
    first = await ingress.client.get("/v1/agents", params={"machine": "pc2", "limit": 2})
    page = AgentPage.model_validate_json(first.content)
    assert [agent.name for agent in page.agents] == ["A0", "A2"]
    second = await ingress.client.get("/v1/agents", params={"machine": "pc2", "cursor": page.next_cursor})
    assert [agent["name"] for agent in second.json()["agents"]] == ["A4"]
    assert first.headers["x-registry-revision"] == "5"
    assert float(first.headers["x-registry-age-s"]) < QUICK.max_staleness_s


async def test_machines_and_the_fleet_are_read_from_the_copy(start_ingress: StartIngress) -> None:
    registry = FakeRegistry()
    registry.on_report_machine(ReportMachine(request_id="r", snapshot=SNAPSHOT))
    registry.put("Coder", machine="mainpc", vram_mib=100)
    registry.put("Tester", machine="mainpc", vram_mib=20)
    registry.put("Elsewhere")
    ingress = await start_ingress(registry=registry)
    await ingress.settle()
    assert [one["name"] for one in (await ingress.client.get("/v1/machines")).json()["machines"]] == [
        "mainpc"
    ]
    assert (await ingress.client.get("/v1/machines/mainpc")).json()["snapshot"]["cpu_count"] == 2
    assert problem_of(await ingress.client.get("/v1/machines/pc9"), 404).code == "machine_not_found"
    fleet = (await ingress.client.get("/v1/fleet")).json()
    assert fleet == {
        "agents": 3,
        "by_state": {"healthy": 3},
        "machines": [
            {"machine": "", "is_alive": None, "agents": 1, "by_state": {"healthy": 1}, "vram_mib": 0},
            {"machine": "mainpc", "is_alive": True, "agents": 2, "by_state": {"healthy": 2}, "vram_mib": 120},
        ],
        "revision": 3,
    }


async def test_reads_do_not_call_the_service(ingress: Ingress) -> None:
    ingress.registry.put("Coder")
    await ingress.settle()
    for path in ("/v1/agents/Coder", "/v1/agents", "/v1/machines", "/v1/fleet"):
        assert (await ingress.client.get(path)).status_code == 200
    called = {name for name, _, _ in ingress.registry.calls}
    assert called == {"get_snapshot", "watch_agents", "list_machines"}


async def test_a_stale_copy_is_answered_with_503_and_when_to_try_again(start_ingress: StartIngress) -> None:
    clock = ManualClock()
    ingress = await start_ingress(clock=clock)
    ingress.registry.put("Coder")
    await ingress.settle()
    ingress.registry.failure = ServiceUnavailable("core_orchestrator is away.")
    clock.advance(QUICK.max_staleness_s + 60)
    for path in ("/v1/agents/Coder", "/v1/agents", "/v1/machines/mainpc", "/v1/fleet", "/v1/watch/agents"):
        answer = await ingress.client.get(path)
        assert problem_of(answer, 503).code == "service_unavailable"
        assert answer.headers["retry-after"] == "1"


async def test_a_write_carries_who_asks_and_until_when(start_ingress: StartIngress) -> None:
    clock = ManualClock()
    ingress = await start_ingress(clock=clock)
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {
        "x-request-id": "mine-7",
        "traceparent": traceparent,
        "x-request-timeout-s": "2.5",
        "x-caused-by": "older-1",
    }
    answer = await ingress.client.post("/v1/agents", json={"name": "Coder"}, headers=headers)
    assert (answer.headers["x-request-id"], answer.headers["traceparent"]) == ("mine-7", traceparent)
    ((request, call),) = ingress.registry.calls_of("register_agent")
    assert request.model_dump()["request_id"] == "mine-7"
    assert (call.request_id, call.traceparent, call.caused_by) == ("mine-7", traceparent, "older-1")
    assert call.deadline_at_s == clock.now_s() + 2.5
    assert call.token is not None
    assert call.token.get_secret_value() == TOKEN


@pytest.mark.parametrize("request_id", ["bad id", "-x", "x" * 129, ""])
async def test_a_request_id_in_the_wrong_form_is_replaced(ingress: Ingress, request_id: str) -> None:
    answer = await ingress.client.get("/healthz", headers={"x-request-id": request_id, "traceparent": "00-x"})
    assert answer.headers["x-request-id"] not in ("", request_id)
    assert "traceparent" not in answer.headers


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "x", "121"])
async def test_a_time_limit_out_of_range_is_refused(ingress: Ingress, timeout: str) -> None:
    answer = await ingress.client.get("/v1/registry", headers={"x-request-timeout-s": timeout})
    assert "header.X-Request-Timeout-S" in problem_of(answer, 422).detail


# Written down by hand: what anybody may ask of the ingress.
OPEN_ROUTES = {
    ("get", "/healthz"), ("get", "/.well-known/jwks.json"), ("post", "/v1/auth/token"),
    ("post", "/v1/auth/refresh"), ("post", "/v1/auth/enrolments"),
}  # fmt: skip


async def test_every_route_but_the_open_ones_wants_the_token(ingress: Ingress) -> None:
    routes = [route for route in ingress.app.router.routes if isinstance(route, Route)]
    asked = {(verb.lower(), route.path) for route in routes for verb in route.methods or ()}
    assert asked > OPEN_ROUTES
    asked |= {("get", "/nowhere"), ("get", "/docs"), ("put", "/v1/auth/token"), ("get", "/v1/auth/token/")}
    for authorization in ("", "Bearer wrong", f"Basic {TOKEN}"):
        for verb, path in asked - OPEN_ROUTES:
            answer = await ingress.client.request(
                verb, re.sub("{.*?}", "Coder", path), headers={"authorization": authorization}
            )
            if verb == "head":
                assert answer.status_code == 401
                continue
            assert problem_of(answer, 401).code == "unauthenticated"
            assert answer.headers["www-authenticate"] == 'Bearer realm="zejzl"'
            assert TOKEN not in answer.text
    assert {name for name, _, _ in ingress.registry.calls} == {
        "get_snapshot",
        "watch_agents",
        "list_machines",
    }


async def test_the_document_has_every_operation_with_its_scope(ingress: Ingress) -> None:
    document = (await ingress.client.get("/openapi.json")).json()
    for operation in (*OPERATIONS, GET_FLEET):
        if not operation.path:
            continue
        entry = document["paths"][operation.path][operation.verb.lower()]
        assert entry["operationId"] == operation.key
        assert entry["x-scope"] == operation.scope
        assert entry.get("x-own-scope", "") == operation.own_scope
        assert entry.get("security") == ([] if operation.is_public else None)
        assert str(operation.status) in entry["responses"]
        reply = entry["responses"][str(operation.status)]["content"]["application/json"]["schema"]
        assert reply == {"$ref": f"#/components/schemas/{operation.reply.__name__}"}
        in_path = {one["name"] for one in entry.get("parameters", []) if one["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", operation.path))
    assert document["security"] == [{"bearer": []}]
    assert document["paths"]["/healthz"]["get"]["security"] == []
    stops = [path for path in document["paths"] if path.endswith("stop")]
    assert stops == [
        "/v1/hosts/{host}/agents/{name}/stop"
    ]  # agents can be stopped from outside, services not
    assert ingress.app.openapi() is ingress.app.openapi()


async def test_unknown_paths_and_methods_are_problems(ingress: Ingress) -> None:
    assert problem_of(await ingress.client.get("/v1/agents/"), 404).code == "route_not_found"
    refused = await ingress.client.put("/v1/agents/Coder", json={})
    assert problem_of(refused, 405).code == "method_not_allowed"
    assert refused.headers["allow"] == "DELETE, GET, PATCH"
    assert "Use one of: DELETE, GET, PATCH." in refused.text


async def test_errors_of_the_service_keep_their_code(ingress: Ingress) -> None:
    await ingress.client.post("/v1/agents", json={"name": "Coder"})
    again = await ingress.client.post("/v1/agents", json={"name": "Coder", "is_new_required": True})
    assert problem_of(again, 409).code == "agent_exists"
    ingress.registry.failures["register_agent"] = Overloaded("The queue is full.")
    busy = await ingress.client.post("/v1/agents", json={"name": "Coder"})
    assert problem_of(busy, 503).code == "overloaded"
    assert busy.headers["retry-after"] == "1"
    ingress.registry.failures["register_agent"] = DeadlineExceeded("Too late.")
    late = await ingress.client.post("/v1/agents", json={"name": "Coder"})
    assert problem_of(late, 504).code == "deadline_exceeded"


async def test_an_unexpected_error_shows_no_details(
    ingress: Ingress, caplog: pytest.LogCaptureFixture
) -> None:
    ingress.registry.failures["get_registry_status"] = RuntimeError("SECRET")
    answer = await ingress.client.get("/v1/registry", headers={"x-request-id": "find-me"})
    assert problem_of(answer, 500).code == "internal"
    assert "SECRET" not in answer.text
    assert "find-me" in caplog.text


async def test_a_body_above_the_limit_is_refused_announced_or_not(start_ingress: StartIngress) -> None:
    ingress = await start_ingress(config=IngressConfig(max_body_bytes=1024))
    body = b'{"name": "Coder", "metadata": {"a": "' + b"x" * 2000 + b'"}}'
    headers = {"content-type": "application/json"}
    announced = await ingress.client.post("/v1/agents", content=body, headers=headers)
    assert problem_of(announced, 413).code == "payload_too_large"

    async def pieces() -> Any:
        for start in range(0, len(body), 500):
            yield body[start : start + 500]

    streamed = await ingress.client.post("/v1/agents", content=pieces(), headers=headers)
    assert problem_of(streamed, 413).code == "payload_too_large"
    strange = await ingress.client.post("/v1/agents", content=b"", headers={"content-length": "many"})
    assert "header.Content-Length" in problem_of(strange, 422).detail
    assert not ingress.registry.calls_of("register_agent")


async def test_a_malformed_request_gets_one_message_with_place_and_remedy(ingress: Ingress) -> None:
    answer = await ingress.client.post("/v1/agents", json={"name": "Coder", "port": 0, "hots": "x"})
    problem = problem_of(answer, 422)
    assert problem.detail.startswith("body.port: ")
    assert problem.remedy
    assert [one.place for one in problem.errors] == ["body.port", "body.hots"]
    for path in (
        "/v1/agents?limit=2000",
        "/v1/agents?cursor=x",
        "/v1/agents?min_revision=x",
        "/v1/agents/1x",
    ):
        assert problem_of(await ingress.client.get(path), 422).remedy


async def test_the_lifespan_starts_and_stops_the_replica_and_closes_the_caller() -> None:
    registry = FakeRegistry()
    from zejzl_ray.clock import SystemClock

    ingress = Ingress(registry, QUICK, SystemClock())
    async with ingress.app.router.lifespan_context(ingress.app):
        assert ingress.replica.is_following
    assert ingress.replica.is_stopped
    assert registry.is_closed
    await ingress.client.aclose()


async def test_a_websocket_is_closed(ingress: Ingress) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await ingress.app({"type": "websocket", "path": "/v1/agents", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
