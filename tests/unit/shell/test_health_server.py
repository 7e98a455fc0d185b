"""Health over HTTP: who may see what, and a port that is taken."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator

import httpx2
import pytest
from prometheus_client import CollectorRegistry

from zejzl_ray.auth.bearer_door import bearer_of
from zejzl_ray.contracts.health import Check, CheckStatus, ServiceHealth
from zejzl_ray.errors import Forbidden, RateLimited, Unauthenticated, ZejzlError
from zejzl_ray.shell.health_server import HealthServer, create_health_app

PROOF = {"Authorization": "Bearer the-token"}


class Doorkeeper:
    """Admits the holder of one token; raises for everybody while ``refusal`` is set."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refusal: ZejzlError | None = None

    async def __call__(self, what: str, authorization: bytes | None) -> None:
        self.asked.append(what)
        if self.refusal is not None:
            raise self.refusal
        if bearer_of(authorization) != "the-token":
            raise Unauthenticated("The request carries no valid token.", "Send one.")


DOOR = Doorkeeper()


class Patient:
    """A service whose health the test sets."""

    def __init__(self) -> None:
        self.is_ready = True

    async def health(self) -> ServiceHealth:
        status = CheckStatus.OK if self.is_ready else CheckStatus.FAILED
        checks = (Check(name="store", status=status, reason="" if self.is_ready else "away"),)
        return ServiceHealth(service="error_bus", is_ready=self.is_ready, checks=checks, epoch=3)


@pytest.fixture
def patient() -> Patient:
    return Patient()


@pytest.fixture
def door() -> Doorkeeper:
    return Doorkeeper()


@pytest.fixture
async def client(patient: Patient, door: Doorkeeper) -> AsyncIterator[httpx2.AsyncClient]:
    app = create_health_app(patient.health, admit=door, registry=CollectorRegistry())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as client:
        yield client


async def test_liveness_is_open_to_anybody_and_says_little(
    client: httpx2.AsyncClient, door: Doorkeeper
) -> None:
    reply = await client.get("/healthz")
    assert door.asked == []
    assert (reply.status_code, reply.json()) == (200, {"service": "error_bus", "is_alive": True})


@pytest.mark.parametrize("path", ["/readyz", "/metrics"])
@pytest.mark.parametrize("proof", ["", "Bearer wrong", "Bearer ", "the-token", "Bearer ÿ"])
async def test_everything_else_wants_the_token(client: httpx2.AsyncClient, path: str, proof: str) -> None:
    reply = await client.get(path, headers=[(b"Authorization", proof.encode("latin-1"))] if proof else [])
    assert (reply.status_code, reply.json()["code"]) == (401, "unauthenticated")
    assert reply.headers["www-authenticate"] == 'Bearer realm="zejzl"'
    assert reply.headers["content-type"] == "application/problem+json"
    assert "the-token" not in reply.text


@pytest.mark.parametrize(("path", "what"), [("/readyz", "health"), ("/metrics", "metrics")])
async def test_each_page_wants_what_its_operation_wants(
    client: httpx2.AsyncClient, door: Doorkeeper, path: str, what: str
) -> None:
    door.refusal = Forbidden("user:ada lacks the scope.", "Ask for it.")
    reply = await client.get(path, headers=PROOF)
    assert (reply.status_code, reply.json()["code"]) == (403, "forbidden")
    assert "www-authenticate" not in reply.headers
    assert door.asked == [what]


async def test_who_asks_too_often_is_told_when_to_come_back(
    client: httpx2.AsyncClient, door: Doorkeeper
) -> None:
    door.refusal = RateLimited("Too many calls.", "Slow down.", 2.2)
    reply = await client.get("/metrics", headers=PROOF)
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "3")


async def test_readiness_gives_the_reasons(client: httpx2.AsyncClient, patient: Patient) -> None:
    reply = await client.get("/readyz", headers=PROOF)
    assert (reply.status_code, reply.json()["is_ready"]) == (200, True)
    assert "retry-after" not in reply.headers
    patient.is_ready = False
    reply = await client.get("/readyz", headers=PROOF)
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
    assert reply.json()["checks"] == [{"name": "store", "status": "failed", "reason": "away"}]


async def test_metrics_are_prometheus_text(client: httpx2.AsyncClient, patient: Patient) -> None:
    patient.is_ready = False
    reply = await client.get("/metrics", headers=PROOF)
    assert reply.headers["content-type"].startswith("text/plain")
    assert 'zejzl_service_ready{service="error_bus"} 0.0' in reply.text
    assert 'zejzl_service_epoch{service="error_bus"} 3.0' in reply.text


async def test_other_paths_and_methods_are_problems(client: httpx2.AsyncClient) -> None:
    missing = await client.get("/docs")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    wrong = await client.post("/healthz")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "GET, HEAD"


async def test_a_real_port_is_served_until_stop(patient: Patient) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    server = HealthServer("127.0.0.1", 0, DOOR)
    assert server.check().reason == "not listening yet"
    await server.start(patient.health)
    try:
        assert server.check().status is CheckStatus.OK
        assert signal.getsignal(signal.SIGTERM) is handler
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
            assert (await client.get("/readyz", headers=PROOF)).status_code == 200
    finally:
        await server.stop()
        await server.stop()
    assert server.check().status is CheckStatus.DEGRADED
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", server.port)


async def test_ipv6_is_served(patient: Patient) -> None:
    server = HealthServer("::1", 0, DOOR)
    await server.start(patient.health)
    try:
        assert server.check().status is CheckStatus.OK
    finally:
        await server.stop()


async def test_a_taken_port_is_said_and_served_as_soon_as_it_is_free(patient: Patient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = HealthServer("127.0.0.1", other.getsockname()[1], DOOR, retry_s=0.01)
        await server.start(patient.health)
        taken = server.check()
    try:
        assert taken.status is CheckStatus.DEGRADED
        assert f"127.0.0.1:{server.port}" in taken.reason
        async with asyncio.timeout(10):
            while server.check().status is not CheckStatus.OK:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.01)
    finally:
        await server.stop()


async def test_a_server_that_waits_for_its_port_can_be_stopped(patient: Patient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = HealthServer("127.0.0.1", other.getsockname()[1], DOOR, retry_s=3600)
        await server.start(patient.health)
        await server.stop()
    assert "cannot listen" in server.check().reason


async def test_a_request_that_does_not_end_cannot_hold_the_stop() -> None:
    asked = asyncio.Event()

    async def never() -> ServiceHealth:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    server = HealthServer("127.0.0.1", 0, DOOR, drain_s=0)
    await server.start(never)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.wait_for(asked.wait(), 10)
    await server.stop()
    assert b"200 OK" not in await reader.read()
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", server.port)


async def test_stop_before_start_does_nothing() -> None:
    await HealthServer("127.0.0.1", 0, DOOR).stop()
