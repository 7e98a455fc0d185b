"""The same client over the real HTTP application and over the service itself: same answers, same errors."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from serve_apps.app import create_app
from serve_apps.config import IngressConfig
from serve_apps.registry_replica import RegistryReplica
from tests.unit.serve_apps.one_token_door import OneTokenDoor
from zejzl_ray import errors
from zejzl_ray.clock import SystemClock
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.orchestrator import AgentState
from zejzl_ray.orchestrator.service import CoreOrchestrator
from zejzl_ray.sdk.async_client import AsyncClient
from zejzl_ray.sdk.http_caller import HttpCaller
from zejzl_ray.store.open import open_store

TOKEN = "t" * 40


class InProcess:
    """Calls the service's own methods, as the actor shell does."""

    def __init__(self, service: CoreOrchestrator) -> None:
        self._service = service

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        reply: Contract = await getattr(self._service, operation.name)(request, call)
        return reply

    async def close(self) -> None: ...


@pytest.fixture(params=["service", "http"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[AsyncClient]:
    clock = SystemClock()
    store = await open_store("memory://", "core_orchestrator", clock=clock, owner="test")
    service = CoreOrchestrator(store, clock)
    await service.start()
    direct = InProcess(service)
    config = IngressConfig(poll_s=0.05)
    app = create_app(direct, RegistryReplica(direct, clock, config), config, clock, OneTokenDoor(TOKEN))
    async with app.router.lifespan_context(app):
        http = HttpCaller("http://ingress", transport=httpx2.ASGITransport(app=app))
        way: Caller = http if request.param == "http" else direct
        async with AsyncClient(way, token=SecretStr(TOKEN)) as client:
            yield client
    await service.stop()
    await store.close()


async def test_what_was_written_is_read_at_once(client: AsyncClient) -> None:
    for number in range(5):
        written = await client.register(f"Scout{number}", capabilities=["ocr"], aliases=[f"S{number}"])
        assert await client.agent(f"S{number}") == written
        assert len(await client.list_agents(capability="ocr")) == number + 1
    removed = await client.deregister("Scout0")
    assert removed.was_known
    assert [agent.name async for agent in client.agents(page_size=2)] == [f"Scout{n}" for n in range(1, 5)]


async def test_a_change_is_watched_and_explained(client: AsyncClient) -> None:
    before = (await client.snapshot()).revision
    await client.register_many([{"name": "A"}, {"name": "B", "kind": "process"}])
    await client.heartbeat("B", "degraded", "queue is long")
    seen = []
    async for event in client.watch(before, timeout_s=20):
        seen.append((event.kind, event.name))
        if event.agent is not None and event.agent.state is AgentState.DEGRADED:
            break
    assert set(seen[:2]) == {("agent_registered", "A"), ("agent_registered", "B")}
    assert (await client.explain("B")).reason == "queue is long"
    assert (await client.history("B", limit=1)).events[0].name == "B"


async def test_a_registration_lives_as_long_as_its_block(client: AsyncClient) -> None:
    async with client.registered("Visitor", agent_type="notebook"):
        assert (await client.agent("Visitor")).lease_s == 30.0
    with pytest.raises(errors.AgentNotFound):
        await client.agent("Visitor")


async def test_status_machines_fleet_and_health_answer(client: AsyncClient) -> None:
    declared = await client.declare_fleet([{"name": "Planned", "machine": "pc2"}], "fleet.yaml")
    assert declared.added == 1
    assert (await client.registry_status()).by_state["declared"] == 1
    assert (await client.accept_losses()).is_protected is False
    assert await client.machines() == []
    assert (await client.service_health()).is_ready


REFUSALS: dict[str, tuple[type[errors.ZejzlError], Any]] = {
    "an unknown agent": (errors.AgentNotFound, lambda client: client.agent("Nobody")),
    "an unknown machine": (errors.MachineNotFound, lambda client: client.machine("nowhere")),
    "a taken name": (errors.AgentExists, lambda client: client.register("Taken", is_new_required=True)),
    "a changed record": (
        errors.VersionConflict,
        lambda client: client.update("Taken", port=1, expected_revision=99),
    ),
    "a heartbeat of a stranger": (errors.AgentNotFound, lambda client: client.heartbeat("Nobody")),
}


@pytest.mark.parametrize("what", REFUSALS)
async def test_a_refusal_is_the_same_exception_on_both_ways(client: AsyncClient, what: str) -> None:
    expected, refused = REFUSALS[what]
    await client.register("Taken")
    with pytest.raises(expected) as caught:
        await refused(client)
    assert type(caught.value) is expected
    assert caught.value.message
    assert caught.value.remedy
