"""The ingress as Serve and HAProxy run it: what only the real thing can show."""

import asyncio
import json
import time

import httpx2
import psutil
import pytest

from tests.cluster.system import System
from zejzl_ray.cluster.local_plan import cluster_id
from zejzl_ray.cluster.node_processes import find_node_processes
from zejzl_ray.errors import AgentNotFound
from zejzl_ray.sdk.connect import connect, connect_async


@pytest.fixture
def http(running_system: System):  # type: ignore[no-untyped-def]  # a generator of the client
    with httpx2.Client(
        base_url=running_system.info["ingress"], headers=running_system.authorization, timeout=20
    ) as client:
        yield client


def test_every_route_but_liveness_wants_the_token(running_system: System) -> None:
    with httpx2.Client(base_url=running_system.info["ingress"], timeout=20) as client:
        assert client.get("/healthz").status_code == 200
        for path in (
            "/readyz",
            "/metrics",
            "/openapi.json",
            "/v1/agents",
            "/v1/machines",
            "/nothing",
            "/docs",
        ):
            answer = client.get(path)
            assert answer.status_code == 401, path
            assert answer.headers["content-type"].startswith("application/problem+json")
        for path in ("/-/routes", "/-/healthz"):
            assert client.get(path).status_code in {401, 404}, path


def test_an_agent_is_created_read_updated_and_deleted_and_reads_see_own_writes(http: httpx2.Client) -> None:
    body = {"name": "Courier", "port": 25001, "capabilities": ["mail"], "metadata": {"team": "blue"}}
    created = http.post("/v1/agents", json=body)
    assert created.status_code == 201, created.text
    revision = created.json()["revision"]
    read = http.get("/v1/agents/Courier", params={"min_revision": revision})
    assert read.json()["capabilities"] == ["mail"]
    changed = http.patch("/v1/agents/Courier", json={"capabilities": ["mail", "parcels"]}).json()
    found = http.get(
        "/v1/agents", params={"capability": "parcels", "min_revision": changed["revision"]}
    ).json()
    assert [agent["name"] for agent in found["agents"]] == ["Courier"]
    gone = http.delete("/v1/agents/Courier").json()
    assert gone["was_known"] is True
    missing = http.get("/v1/agents/Courier", params={"min_revision": gone["revision"]})
    assert (missing.status_code, missing.json()["code"]) == (404, "agent_not_found")


def test_pages_hold_every_agent_once(http: httpx2.Client) -> None:
    names: list[str] = []
    cursor = ""
    while True:
        page = http.get("/v1/agents", params={"limit": 7, "cursor": cursor}).json()
        names += [agent["name"] for agent in page["agents"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert len(names) == len(set(names)) >= 72
    assert names == sorted(names)


def test_readiness_and_metrics_say_what_they_should(http: httpx2.Client) -> None:
    ready = http.get("/readyz")
    assert (ready.status_code, ready.json()["is_ready"]) == (200, True)
    assert "# TYPE" in http.get("/metrics").text


@pytest.mark.parametrize(
    "service", ["resource_manager", "observability_hub", "error_bus", "security_gateway"]
)
def test_the_health_of_every_service_is_reachable(http: httpx2.Client, service: str) -> None:
    answer = http.get(f"/v1/health/{service}")
    assert (answer.status_code, answer.json()["service"]) == (200, service)


def test_a_change_reaches_a_stream_of_events(running_system: System, http: httpx2.Client) -> None:
    since = http.get("/v1/registry").json()["revision"]
    with http.stream(
        "GET", "/v1/watch/agents", params={"from_revision": since}, headers={"Accept": "text/event-stream"}
    ) as stream:
        http.post("/v1/agents", json={"name": "Watched", "port": 25002})
        deadline_s = time.monotonic() + 20
        for line in stream.iter_lines():
            assert time.monotonic() < deadline_s
            if line.startswith("data:") and json.loads(line[5:]).get("name") == "Watched":
                break
    http.delete("/v1/agents/Watched")


async def test_both_ways_of_the_client_give_the_same_answers_and_the_same_errors(ray_cluster: System) -> None:
    over_http = connect_async(ray_cluster.info["ingress"], token_file=ray_cluster.data_dir / "token")
    over_actors = connect_async("ray", token_file=ray_cluster.data_dir / "token")
    async with over_http, over_actors:
        assert (await over_http.agent("NLUAgent")).port == (await over_actors.agent("NLUAgent")).port == 5709
        raised = []
        for client in (over_http, over_actors):
            with pytest.raises(AgentNotFound) as caught:
                await client.agent("NLUAgnt")
            raised.append(caught.value.code)
        assert raised == ["agent_not_found"] * 2


async def test_a_read_is_at_most_as_stale_as_stated(running_system: System) -> None:
    """A change made over one way is read over the other within the stated bound, with slack for a busy machine."""
    client = connect_async(running_system.info["ingress"], token_file=running_system.data_dir / "token")
    async with client:
        await client.register("Fresh", port=25003)
        async with asyncio.timeout(15):
            while True:
                try:
                    await client.agent("Fresh")
                    break
                except AgentNotFound:
                    await asyncio.sleep(0.02)
        await client.deregister("Fresh")


def test_the_proxy_listens_on_loopback_only(running_system: System) -> None:
    proxies = [
        process
        for process in find_node_processes(cluster_id(running_system.data_dir))
        if "haproxy" in process.name()
    ]
    assert proxies
    addresses = {
        connection.laddr.ip
        for process in proxies
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


def test_the_blocking_client_works_in_a_script(running_system: System) -> None:
    with connect(running_system.info["ingress"], token_file=running_system.data_dir / "token") as client:
        assert {machine.name for machine in client.machines()} == {"mainpc", "pc2"}
        assert client.registry_status().agents >= 72
