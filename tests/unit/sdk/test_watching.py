from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from zejzl_ray import errors
from zejzl_ray.contracts.orchestrator import Agent, AgentEvent, RegistrySnapshot, WatchBatch
from zejzl_ray.sdk.async_client import AsyncClient
from zejzl_ray.sdk.patience import Patience
from zejzl_ray.sdk.watching import POLL_S, changes_over_gap
from zejzl_ray.testing import ManualClock

MakeEvent = Callable[..., AgentEvent]
MakeAgent = Callable[..., Agent]


def snapshot(revision: int, *agents: Agent) -> RegistrySnapshot:
    return RegistrySnapshot(agents=agents, machines=(), revision=revision, boot="b")


async def take(events: AsyncIterator[AgentEvent], count: int) -> list[tuple[str, str, int]]:
    taken: list[tuple[str, str, int]] = []
    async for event in events:
        taken.append((event.kind, event.name, event.revision))
        if len(taken) == count:
            break
    return taken


async def test_a_watch_begins_with_the_next_change(
    caller: Any, make_agent: MakeAgent, make_event: MakeEvent
) -> None:
    caller.on("get_snapshot", snapshot(4, make_agent("A", 4)))
    caller.on("watch_agents", WatchBatch(events=(make_event("B", 5, "agent_registered"),), revision=5))
    assert await take(AsyncClient(caller).watch(), 1) == [("agent_registered", "B", 5)]
    (asked,) = caller.requests("watch_agents")
    assert (asked.from_revision, asked.timeout_s) == (4, POLL_S)


async def test_a_watch_from_a_revision_takes_no_snapshot(caller: Any, make_event: MakeEvent) -> None:
    caller.on("watch_agents", WatchBatch(events=(make_event("A", 1),), revision=1))
    assert await take(AsyncClient(caller).watch(0), 1) == [("agent_updated", "A", 1)]
    assert caller.requests("get_snapshot") == []


async def test_a_watch_goes_on_where_it_was_over_silence_and_outages(
    caller: Any, make_event: MakeEvent, patience: Patience
) -> None:
    caller.on(
        "watch_agents",
        WatchBatch(events=(make_event("A", 1), make_event("B", 2)), revision=2),
        WatchBatch(events=(), revision=3),
        errors.ServiceUnavailable("away"),
        errors.DeadlineExceeded("slow"),
        WatchBatch(events=(make_event("C", 4),), revision=4),
    )
    names = [name for _, name, _ in await take(AsyncClient(caller, patience=patience).watch(0), 3)]
    assert names == ["A", "B", "C"]
    assert [request.from_revision for request in caller.requests("watch_agents")] == [0, 2, 3, 3, 3]


async def test_no_change_arrives_twice_though_a_replica_lags_behind(
    caller: Any, make_event: MakeEvent
) -> None:
    caller.on(
        "watch_agents",
        WatchBatch(events=(make_event("A", 5),), revision=5),
        WatchBatch(events=(), revision=3),
        WatchBatch(events=(make_event("A", 5), make_event("B", 6)), revision=6),
    )
    assert [revision for *_, revision in await take(AsyncClient(caller).watch(4), 2)] == [5, 6]
    assert [request.from_revision for request in caller.requests("watch_agents")] == [4, 5, 5]


async def test_a_gap_in_the_history_is_summed_up(
    caller: Any, make_agent: MakeAgent, make_event: MakeEvent
) -> None:
    caller.on(
        "get_snapshot",
        snapshot(3, make_agent("Old", 1), make_agent("Gone", 2), make_agent("Same", 3)),
        snapshot(90, make_agent("New", 80), make_agent("Old", 70), make_agent("Same", 3)),
    )
    caller.on(
        "watch_agents",
        errors.RevisionCompacted("too old"),
        WatchBatch(events=(make_event("Same", 91),), revision=91),
    )
    assert await take(AsyncClient(caller).watch(), 4) == [
        ("agent_updated", "Old", 70),
        ("agent_registered", "New", 80),
        ("agent_deregistered", "Gone", 90),
        ("agent_updated", "Same", 91),
    ]
    assert caller.requests("watch_agents")[1].from_revision == 90


async def test_a_registry_restored_from_an_older_copy_is_reported_whole(
    caller: Any, make_agent: MakeAgent, make_event: MakeEvent
) -> None:
    caller.on("get_snapshot", snapshot(50, make_agent("A", 50)), snapshot(9, make_agent("A", 9)))
    caller.on(
        "watch_agents",
        errors.RevisionCompacted("50 is after the registry's revision 9"),
        WatchBatch(events=(make_event("A", 10),), revision=10),
    )
    assert [revision for *_, revision in await take(AsyncClient(caller).watch(), 2)] == [9, 10]


async def test_names_seen_in_events_count_as_known(
    caller: Any, make_agent: MakeAgent, make_event: MakeEvent
) -> None:
    first = (make_event("A", 1), make_event("B", 2), make_event("B", 3, "agent_deregistered"))
    caller.on("watch_agents", WatchBatch(events=first, revision=3), errors.RevisionCompacted("too old"))
    caller.on("get_snapshot", snapshot(9, make_agent("B", 9)))
    assert (await take(AsyncClient(caller).watch(0), 5))[3:] == [
        ("agent_registered", "B", 9),
        ("agent_deregistered", "A", 9),
    ]


async def test_an_outage_that_lasts_is_raised(caller: Any) -> None:
    caller.on("watch_agents", errors.ServiceUnavailable("away"))
    with pytest.raises(errors.ServiceUnavailable, match="away"):
        await take(AsyncClient(caller).watch(0, outage_s=0.01), 1)
    assert len(caller.requests("watch_agents")) == 1


async def test_an_error_that_waiting_does_not_help_is_raised_at_once(caller: Any) -> None:
    caller.on("watch_agents", errors.Forbidden("no"))
    with pytest.raises(errors.Forbidden):
        await take(AsyncClient(caller).watch(0), 1)
    assert len(caller.requests("watch_agents")) == 1


async def test_a_watch_with_a_limit_ends_quietly(caller: Any, clock: ManualClock) -> None:
    def nothing_for_15_s(request: Any) -> WatchBatch:
        clock.advance(15.0)
        return WatchBatch(events=(), revision=0)

    caller.on("watch_agents", nothing_for_15_s)
    assert await take(AsyncClient(caller, clock=clock).watch(0, timeout_s=25.0), 1) == []
    assert [request.timeout_s for request in caller.requests("watch_agents")] == [20.0, 10.0]


def test_a_gap_over_an_empty_registry_reports_what_is_gone() -> None:
    (event,) = changes_over_gap({"A"}, 3, snapshot(5))
    assert (event.kind, event.name, event.agent) == ("agent_deregistered", "A", None)
