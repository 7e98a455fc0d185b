import asyncio

import pytest

from tests.unit.orchestrator.bench import Bench
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.orchestrator import (
    DeregisterAgent,
    GetHistory,
    GetSnapshot,
    Heartbeat,
    RegisterAgent,
    RegisterAgents,
    UpdateAgent,
    WatchAgents,
)
from zejzl_ray.errors import Overloaded, RevisionCompacted
from zejzl_ray.orchestrator import CoreOrchestrator

CALL = CallContext()


def process(name: str, **fields: object) -> RegisterAgent:
    return RegisterAgent.model_validate({"name": name, "kind": "process", **fields})


async def test_a_watcher_sees_every_change_once_and_in_order(service: CoreOrchestrator) -> None:
    seen: list[tuple[int, str, str]] = []

    async def follow() -> None:
        revision = 0
        while revision < 5:
            batch = await service.watch_agents(WatchAgents(from_revision=revision, limit=2), CALL)
            seen.extend((event.revision, event.kind, event.name) for event in batch.events)
            revision = batch.revision

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)
    await service.register_agents(RegisterAgents(agents=(process("A"), process("B"))), CALL)
    await service.heartbeat(Heartbeat(name="A"), CALL)
    await service.update_agent(UpdateAgent(name="A", port=1), CALL)
    await service.deregister_agent(DeregisterAgent(name="B"), CALL)
    await asyncio.wait_for(following, 5)
    assert seen == [
        (1, "agent_registered", "A"),
        (2, "agent_registered", "B"),
        (3, "agent_state_changed", "A"),
        (4, "agent_updated", "A"),
        (5, "agent_deregistered", "B"),
    ]


async def test_an_event_names_the_command_that_caused_it(bench: Bench, service: CoreOrchestrator) -> None:
    await service.register_agent(process("A", request_id="cause-1"), CALL)
    batch = await service.watch_agents(WatchAgents(), CALL)
    assert batch.events[0].caused_by == "cause-1"
    assert batch.events[0].agent == service.registry.agent("A")
    assert batch.events[0].at_s == bench.clock.now_s()


async def test_a_watch_without_news_ends_in_time(service: CoreOrchestrator) -> None:
    await service.register_agent(process("A"), CALL)
    for timeout_s in (0, 0.001):
        batch = await service.watch_agents(WatchAgents(from_revision=1, timeout_s=timeout_s), CALL)
        assert (batch.events, batch.revision) == ((), 1)


async def test_the_number_of_watchers_is_bounded(bench: Bench) -> None:
    service = await bench.start(max_watchers=1)
    first = asyncio.create_task(service.watch_agents(WatchAgents(), CALL))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="1 callers wait for changes"):
        await service.watch_agents(WatchAgents(), CALL)
    await service.register_agent(process("A"), CALL)
    assert len((await first).events) == 1


async def test_what_is_no_longer_kept_cannot_be_watched(bench: Bench) -> None:
    service = await bench.start(history_length=5)
    for number in range(12):
        await service.register_agent(process(f"A{number}"), CALL)
    with pytest.raises(RevisionCompacted):
        await service.watch_agents(WatchAgents(from_revision=2), CALL)
    history = await service.get_history(GetHistory(), CALL)
    assert history.oldest_kept_revision == 8
    again = await bench.start(history_length=5)
    assert await again.get_history(GetHistory(), CALL) == history, "the store forgets what memory forgets"


async def test_a_snapshot_is_where_a_watch_begins(bench: Bench, service: CoreOrchestrator) -> None:
    await service.register_agents(RegisterAgents(agents=(process("B"), process("A"))), CALL)
    snapshot = await service.get_snapshot(GetSnapshot(), CALL)
    assert [agent.name for agent in snapshot.agents] == ["A", "B"]
    assert (snapshot.revision, snapshot.machines) == (2, ())
    await service.register_agent(process("C"), CALL)
    batch = await service.watch_agents(WatchAgents(from_revision=snapshot.revision), CALL)
    assert [event.name for event in batch.events] == ["C"]
    other = await (await bench.start()).get_snapshot(GetSnapshot(), CALL)
    assert other.boot != snapshot.boot


async def test_history_is_read_by_agent_alias_and_revision(service: CoreOrchestrator) -> None:
    await service.register_agents(RegisterAgents(agents=(process("A", aliases=("Old",)), process("B"))), CALL)
    await service.update_agent(UpdateAgent(name="A", port=1), CALL)

    async def revisions(**fields: object) -> list[int]:
        history = await service.get_history(GetHistory.model_validate(fields), CALL)
        return [event.revision for event in history.events]

    assert await revisions() == [3, 2, 1]
    assert await revisions(name="Old") == [3, 1]
    assert await revisions(name="A", before_revision=3) == [1]
    assert await revisions(limit=1) == [3]


async def test_publishers_get_committed_events_in_order(bench: Bench, service: CoreOrchestrator) -> None:
    await service.register_agents(RegisterAgents(agents=(process("A"), process("B"))), CALL)
    await service.deregister_agent(DeregisterAgent(name="A"), CALL)
    assert [(event.revision, event.name) for event in bench.published] == [(1, "A"), (2, "B"), (3, "A")]
