"""The hub as a whole: what is answered, what outlives a restart, and what happens without the store."""

import asyncio

import pytest

from tests.unit.bus.wait_reports import agent, asks, handling, report
from tests.unit.observability.hub_bench import Bench, calling, plant, tell, turns
from zejzl_ray.bus.deadlock_finder import DeadlockPolicy
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth
from zejzl_ray.contracts.logs import ReadFleetLogs
from zejzl_ray.contracts.observability_hub import (
    GetDeadlockStatus,
    ListDeadlocks,
    WaitCondition,
    WatchDeadlocks,
)
from zejzl_ray.contracts.performance import GetPerformance, ReportPerformance, Series
from zejzl_ray.errors import (
    Forbidden,
    Overloaded,
    ServiceUnavailable,
    StoreUnavailable,
)
from zejzl_ray.observability.config import HubConfig
from zejzl_ray.observability.performance_bottlenecks import AgentStanding
from zejzl_ray.observability.service import ObservabilityHub

CALL = CallContext()


async def test_a_planted_circle_is_listed_watched_counted_and_broken() -> None:
    bench = Bench()
    async with bench.hub() as hub:
        watching = asyncio.create_task(hub.watch_deadlocks(WatchDeadlocks(timeout_s=30), CALL))
        await asyncio.sleep(0)
        answers = await plant(hub, "A", "B", "C")
        batch = await watching
        (event,) = batch.events
        assert (batch.revision, event.revision) == (1, 1)
        assert set(event.deadlock.agents) == {"A", "B", "C"}
        page = await hub.list_deadlocks(ListDeadlocks(), CALL)
        assert (page.events, page.revision, page.oldest_kept_revision) == ((event,), 1, 1)
        assert (await hub.list_deadlocks(ListDeadlocks(agent="Z"), CALL)).events == ()
        assert (await hub.list_deadlocks(ListDeadlocks(before_revision=1), CALL)).events == ()
        assert [fail.correlation_id for fail in answers[-1].fail] == ["rCA"]
        status = await hub.get_deadlock_status(GetDeadlockStatus(), CALL)
        assert (status.detected, status.broken, status.hosts, status.agents_monitored) == (1, 1, 3, 3)
        assert status.by_condition["deadlocked"] == 3
        assert status.breaks_youngest


async def test_counters_and_the_last_deadlocks_outlive_a_restart() -> None:
    bench = Bench()
    async with bench.hub() as hub:
        await plant(hub, "A", "B")
        await hub.tick()
        await plant(hub, "C", "D")  # written by stop
    async with bench.hub() as hub:
        page = await hub.list_deadlocks(ListDeadlocks(), CALL)
        assert [set(each.deadlock.agents) for each in page.events] == [{"C", "D"}, {"A", "B"}]
        await plant(hub, "E", "F")
        status = await hub.get_deadlock_status(GetDeadlockStatus(), CALL)
        assert (status.detected, status.broken) == (3, 3)
        assert (await hub.list_deadlocks(ListDeadlocks(limit=1), CALL)).events[0].revision == 3


async def test_a_watch_gets_everything_after_a_revision_in_order() -> None:
    bench = Bench()
    async with bench.hub() as hub:
        await plant(hub, "A", "B")
        await plant(hub, "C", "D")
        batch = await hub.watch_deadlocks(WatchDeadlocks(from_revision=0, timeout_s=0, limit=1), CALL)
        assert (len(batch.events), batch.revision) == (1, 1)
        batch = await hub.watch_deadlocks(WatchDeadlocks(from_revision=1, timeout_s=0), CALL)
        assert (len(batch.events), batch.revision) == (1, 2)
        batch = await hub.watch_deadlocks(WatchDeadlocks(from_revision=99, timeout_s=0), CALL)
        assert (batch.events, batch.revision) == ((), 2)
        batch = await hub.watch_deadlocks(WatchDeadlocks(timeout_s=0), CALL)
        assert (batch.events, batch.revision) == ((), 2)


async def test_a_watch_ends_when_the_hub_stops() -> None:
    bench = Bench()
    async with bench.hub() as hub:
        watching = asyncio.create_task(hub.watch_deadlocks(WatchDeadlocks(timeout_s=60), CALL))
        await asyncio.sleep(0)
    with pytest.raises(ServiceUnavailable):
        await watching


async def test_watchers_are_bounded() -> None:
    bench = Bench(HubConfig(max_watchers=0))
    async with bench.hub() as hub:
        with pytest.raises(Overloaded):
            await hub.watch_deadlocks(WatchDeadlocks(), CALL)


async def test_a_deadlock_is_broken_while_the_store_is_away_and_written_when_it_is_back() -> None:
    bench = Bench()
    async with bench.hub() as hub:
        bench.store.trouble = StoreUnavailable("away")
        answers = await plant(hub, "A", "B")
        await hub.tick()
        await hub.tick()
        assert answers[-1].fail
        health = await hub.health(GetHealth(), CALL)
        assert not health.is_ready
        assert {check.name: check.reason for check in health.checks}["store"] == "away"
        bench.store.trouble = None
        await hub.tick()
        assert (await hub.health(GetHealth(), CALL)).is_ready
    async with bench.hub() as hub:
        assert len((await hub.list_deadlocks(ListDeadlocks(), CALL)).events) == 1


async def test_a_quiet_hub_proves_now_and_then_that_it_can_write() -> None:
    bench = Bench()
    async with bench.hub() as hub:
        commits = bench.store.commits
        await hub.tick()
        assert bench.store.commits == commits
        bench.clock.advance(11)
        await hub.tick()
        assert bench.store.commits == commits + 1


async def test_only_the_last_hundred_are_stored() -> None:
    bench = Bench()
    async with bench.hub() as hub:
        for number in range(103):
            await plant(hub, f"A{number}", f"B{number}")
            bench.clock.advance(11)  # the hosts of before are forgotten
            if number == 50:
                await hub.tick()
    async with bench.hub() as hub:
        page = await hub.list_deadlocks(ListDeadlocks(limit=1000), CALL)
        assert (len(page.events), page.oldest_kept_revision, page.revision) == (100, 4, 103)


async def test_a_newer_hub_takes_over() -> None:
    bench = Bench()
    async with bench.hub() as old:
        newer = ObservabilityHub(bench.new_store(), bench.clock)
        await newer.start()
        bench.clock.advance(11)
        await old.tick()
        assert old.is_fenced
        with pytest.raises(ServiceUnavailable, match="taken over"):
            await old.list_deadlocks(ListDeadlocks(), CALL)
        assert not (await old.health(GetHealth(), CALL)).is_ready
        await asyncio.wait_for(old.run(asyncio.Event()), 5)
        await newer.stop()


async def test_its_loop_ticks_and_looks_at_the_fleet_until_it_is_stopped() -> None:
    bench = Bench(HubConfig(tick_s=0.001, fleet_period_s=0.001))
    async with bench.hub() as hub:
        stop_event = asyncio.Event()
        running = asyncio.create_task(hub.run(stop_event))
        await turns(lambda: hub._ticked_at_s is not None)
        stop_event.set()
        await asyncio.wait_for(running, 5)
        health = await hub.health(GetHealth(), CALL)
        assert {check.name for check in health.checks} == {"writer", "store", "fleet", "upkeep"}
        bench.clock.advance(1000)
        health = await hub.health(GetHealth(), CALL)
        assert health.is_ready
        assert "ago" in {check.name: check.reason for check in health.checks}["upkeep"]


async def test_states_of_agents_are_bottlenecks_and_a_registry_that_is_away_is_told() -> None:
    bench = Bench()
    async with bench.hub() as hub:
        bench.fleet.agents = {"Scout": AgentStanding(state="lost")}
        await hub.look_at_fleet()
        bench.fleet.trouble = ServiceUnavailable("core_orchestrator is away.")
        await hub.look_at_fleet()
        found = await hub.get_performance(GetPerformance(), CALL)
        assert [each.agent for each in found.bottlenecks] == ["Scout"], "as of the last answer"
        checks = {check.name: check for check in (await hub.health(GetHealth(), CALL)).checks}
        assert "core_orchestrator is away." in checks["fleet"].reason
    alone = ObservabilityHub(bench.new_store(), bench.clock)
    await alone.look_at_fleet()


async def test_performance_is_reported_and_read() -> None:
    bench = Bench()
    async with bench.hub() as hub:
        now_s = bench.clock.now_s()
        request = ReportPerformance(
            host="h1",
            machine="mainpc",
            boot="b",
            sequence=1,
            from_s=now_s,
            at_s=now_s,
            series=(Series(agent="Scout", message_type="task", received=3),),
        )
        assert not (await hub.report_performance(request, CALL)).is_repeated
        assert (await hub.report_performance(request, CALL)).is_repeated
        assert (await hub.get_performance(GetPerformance(), CALL)).total.received == 3


async def test_logs_need_a_way_to_the_machines() -> None:
    bench = Bench()
    async with bench.hub() as hub:
        with pytest.raises(ServiceUnavailable, match="reaches no machines"):
            await hub.read_logs(ReadFleetLogs(), CALL)


async def test_before_the_start_and_after_the_stop_nothing_is_answered_but_health() -> None:
    bench = Bench()
    hub = ObservabilityHub(bench.store, bench.clock)
    with pytest.raises(ServiceUnavailable, match="not serving"):
        await hub.report_waits(report("h", (), ()), CALL)
    assert not (await hub.health(GetHealth(), CALL)).is_ready
    await hub.start()
    await hub.stop()
    await hub.stop()
    with pytest.raises(ServiceUnavailable):
        await hub.get_deadlock_status(GetDeadlockStatus(), CALL)


async def test_a_host_reports_for_itself_only() -> None:
    bench = Bench()
    async with bench.hub() as hub:
        with pytest.raises(Forbidden, match="host h1"):
            await tell(hub, report("h1", (), ()), "service:host.other")
        await tell(hub, report("h1", (), ()), "service:host.h1")
        with pytest.raises(Forbidden, match=r"service:host\.h1"):
            await tell(hub, report("h1", (), (), 2), "program:someone")
        bench.clock.advance(60)
        await tell(hub, report("h1", (), (), 3), "program:someone")


async def test_an_idle_agent_and_a_slow_one_are_no_deadlock_and_told_apart() -> None:
    bench = Bench(HubConfig(deadlocks=DeadlockPolicy(break_youngest=False), stalled_s=50))
    agents = (
        agent("Idle"),
        agent("Working", handling("r1").model_copy(update={"since_s": 99.0})),
        agent("Queued", queued=("r2",), slots=1),
        agent("Waiting", handling("", "r3", message="m").model_copy(update={"since_s": 99.0})),
        agent("Stalled", handling("r4")),  # since second 1 of 100
    )
    async with bench.hub() as hub:
        for sequence in range(1, 5):
            await hub.report_waits(report("h", agents, (asks("r3", "Waiting", "Idle"),), sequence), calling())
        status = await hub.get_deadlock_status(GetDeadlockStatus(), CALL)
        assert {each.agent: each.condition.value for each in status.agents} == {
            "Idle": "idle",
            "Working": "working",
            "Queued": "working",
            "Waiting": "waiting",
            "Stalled": "stalled",
        }
        assert status.agents[0].agent == "Stalled", "the worst first"
        assert status.detected == 0
        only = GetDeadlockStatus(condition=WaitCondition.WAITING)
        assert [each.agent for each in (await hub.get_deadlock_status(only, CALL)).agents] == ["Waiting"]
        only = GetDeadlockStatus(agent="Idle", limit=1)
        assert [each.agent for each in (await hub.get_deadlock_status(only, CALL)).agents] == ["Idle"]
        bench.clock.advance(60)
        await hub.tick()
        assert (await hub.get_deadlock_status(GetDeadlockStatus(), CALL)).hosts == 0
