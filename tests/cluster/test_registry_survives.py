"""What core_orchestrator has acknowledged is there again after its process was killed."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from actors.core_orchestrator import CoreOrchestratorActor
from actors.place import ServiceOptions, start_service
from tests.cluster.eventually import eventually
from tests.cluster.system import System
from zejzl_ray.cluster.actor_caller import ActorCaller
from zejzl_ray.cluster.core_orchestrator import CoreOrchestratorClient
from zejzl_ray.cluster.topology import PLACES
from zejzl_ray.contracts.health import GetHealth
from zejzl_ray.contracts.orchestrator import GetAgent, ListAgents, RegisterAgent
from zejzl_ray.errors import AgentNotFound, Unavailable
from zejzl_ray.settings import Settings
from zejzl_ray.testing.redis_server import RedisServer

AGENTS = 1000
SENDERS = 8


@pytest.fixture(params=["sqlite", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite://{tmp_path / 'store'}"
        return
    with RedisServer() as server:
        yield server.url


def start_orchestrator(namespace: str, store_url: str) -> CoreOrchestratorClient:
    # Alone in its namespace, without a gateway: that is for a developer's machine.
    settings = Settings(store_url=store_url, namespace=namespace, environment="dev", require_auth=False)
    options = ServiceOptions(settings, SecretStr("unused"))
    start_service(CoreOrchestratorActor, PLACES["core_orchestrator"], options, namespace=namespace)
    return CoreOrchestratorClient(ActorCaller(namespace, timeout_s=60))


async def test_killing_the_process_amid_a_thousand_registrations_loses_none_that_was_acknowledged(
    ray_cluster: System, namespace: str, store_url: str
) -> None:
    client = start_orchestrator(namespace, store_url)
    before = await client.health(GetHealth())
    waiting = [f"Agent{number}" for number in range(AGENTS)]
    acknowledged: list[str] = []

    async def register() -> None:
        while waiting:
            name = waiting.pop()
            await client.register_agent(RegisterAgent(name=name, port=1024 + int(name[5:])))
            acknowledged.append(name)

    async def kill_in_the_middle() -> None:
        await eventually(_more_than(acknowledged, AGENTS // 3), within_s=60, what="a third is registered")
        os.kill(before.pid, signal.SIGKILL)

    async with asyncio.TaskGroup() as group:
        group.create_task(kill_in_the_middle())
        for _ in range(SENDERS):
            group.create_task(register())

    after = await client.health(GetHealth())
    assert after.pid != before.pid
    assert after.epoch > before.epoch
    assert len(acknowledged) == AGENTS
    found: set[str] = set()
    cursor = ""
    while True:
        page = await client.list_agents(ListAgents(cursor=cursor, limit=500))
        found.update(agent.name for agent in page.agents)
        cursor = page.next_cursor
        if not cursor:
            break
    assert found == set(acknowledged)


def _more_than(names: list[str], count: int):  # type: ignore[no-untyped-def]  # a closure for one call
    async def check() -> bool:
        return len(names) > count

    return check


async def test_a_service_whose_store_is_away_says_so_and_recovers_when_it_is_back(
    ray_cluster: System, namespace: str
) -> None:
    with RedisServer() as server:
        client = start_orchestrator(namespace, server.url)
        await client.register_agent(RegisterAgent(name="Before"))
        server.kill()
        with pytest.raises(Unavailable):
            await client.register_agent(RegisterAgent(name="During"))
        assert (await client.get_agent(GetAgent(name="Before"))).name == "Before"  # reads go on
        server.start()

        async def is_back() -> bool:
            try:
                await client.register_agent(RegisterAgent(name="After"))
            except Unavailable:
                return False
            return True

        await eventually(is_back, within_s=60, what="registrations work again")
        assert (await client.get_agent(GetAgent(name="Before"))).name == "Before"


async def test_an_error_of_the_service_arrives_as_the_projects_own_exception(
    ray_cluster: System, namespace: str, tmp_path: Path
) -> None:
    client = start_orchestrator(namespace, f"sqlite://{tmp_path / 'store'}")
    await client.register_agent(RegisterAgent(name="NLUAgent"))
    with pytest.raises(AgentNotFound, match="NLUAgent") as caught:
        await client.get_agent(GetAgent(name="NLUAgnt"))
    assert caught.value.remedy
