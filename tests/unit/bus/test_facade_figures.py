"""The old bus by its names: its figures and attributes."""

import asyncio
import json

import pytest

from tests.unit.bus.old_bus import bus_of
from tests.unit.bus.one_office import mail
from tests.unit.bus.virtual_time import in_virtual_time, settle
from zejzl_ray.errors import (
    DeadlockDetected,
)


@in_virtual_time
async def test_a_snapshot_is_plain_json_with_the_old_keys() -> None:
    bus = bus_of("free")
    bus.register_agent("full", 4)
    for _ in range(4):
        await bus.send(mail(to="full"))
    await asyncio.sleep(2.0)
    snapshot = bus.get_performance_snapshot()
    assert json.loads(json.dumps(snapshot)) == snapshot
    assert set(snapshot) == {
        "timestamp",
        "overall_throughput",
        "recent_throughput_60s",
        "total_agents",
        "total_queues",
        "queue_health",
        "pending_requests_count",
        "concurrency_active",
        "concurrency_limit",
        "concurrency_utilization_percent",
        "avg_latency_ms",
    }
    assert snapshot["queue_health"] == {
        "free": {"current_size": 0, "max_size": None, "utilization_percent": 0.0, "is_full": False},
        "full": {"current_size": 4, "max_size": 4, "utilization_percent": 100.0, "is_full": True},
    }
    assert (snapshot["total_agents"], snapshot["total_queues"]) == (2, 2)
    assert snapshot["overall_throughput"] == pytest.approx(2.0)
    assert snapshot["recent_throughput_60s"] == pytest.approx(4 / 60)
    assert snapshot["concurrency_limit"] == 1000.0
    assert snapshot["avg_latency_ms"] == 0.0


@in_virtual_time
async def test_advice_is_given_where_something_is_amiss_and_nothing_is_done() -> None:
    bus = bus_of("a")
    assert bus.optimize_performance()["optimizations_performed"] == {}
    bus.register_agent("full", 5)
    for _ in range(5):
        await bus.send(mail(to="full"))
    await asyncio.sleep(1.0)
    await bus.receive("full")
    bus._limit.acquired += 950
    report = bus.optimize_performance()
    assert set(report) == {"timestamp", "optimizations_performed", "performance_snapshot"}
    found = report["optimizations_performed"]
    assert set(found) == {"high_concurrency_warning", "latency_optimization"}
    assert "950 of 1000" in found["high_concurrency_warning"]
    await bus.send(mail(to="full"))
    assert "full" in bus.optimize_performance()["optimizations_performed"]["queue_congestion_warning"]
    assert bus.get_queue_size("full") == 5


@in_virtual_time
async def test_the_attributes_of_the_old_bus_can_be_read_and_not_changed() -> None:
    bus = bus_of("a", "b", size=3, default_timeout=5.0, history_size=7)
    await bus.send(mail(1))
    request = asyncio.create_task(bus.send_request("a", "b", "question", {}))
    await settle()
    queue = bus.queues["b"]
    assert (len(queue), queue.qsize(), queue.empty(), queue.full(), queue.maxsize, bool(bus.queues["a"])) == (
        2,
        2,
        False,
        False,
        3,
        True,
    )
    assert (bus.default_timeout, bus.history_size, bus.message_count) == (5.0, 7, 2)
    assert bus.start_time == bus.get_performance_snapshot()["timestamp"]
    assert [entry["type"] for entry in bus.message_history] == ["task", "question"]
    assert [future.done() for future in bus.pending_requests.values()] == [False]
    await bus.receive("b")
    assert bus.latency_by_type["task"]["count"] == 1
    assert bus.concurrency_semaphore.limit == 1000
    assert (bus.concurrency_acquired, bus.concurrency_released, bus.concurrency_wait_time) == (1, 1, 0.0)
    for name in (
        "queues",
        "default_timeout",
        "history_size",
        "message_count",
        "start_time",
        "message_history",
        "latency_by_type",
        "pending_requests",
        "concurrency_semaphore",
        "concurrency_acquired",
        "concurrency_released",
        "concurrency_wait_time",
    ):
        with pytest.raises(AttributeError):
            setattr(bus, name, None)
    for mapping in (bus.queues, bus.pending_requests, bus.latency_by_type):
        with pytest.raises(TypeError):
            mapping["x"] = None  # type: ignore[index] # they are to look at
    assert not hasattr(queue, "put")
    request.cancel()


@in_virtual_time
async def test_concurrency_is_told_as_the_old_bus_told_it() -> None:
    bus = bus_of("b", max_concurrent=3)
    await bus.send(mail())
    await bus.receive("b")
    stats = bus.get_concurrency_stats()
    assert stats == {
        "acquired": 1.0,
        "released": 1.0,
        "active": 0.0,
        "total_wait_time": 0.0,
        "avg_wait_time": 0.0,
        "semaphore_limit": 3.0,
    }
    assert all(isinstance(value, float) for value in stats.values())


@in_virtual_time
async def test_a_bus_alone_finds_and_ends_deadlocks_until_it_is_shut_down() -> None:
    bus = bus_of("a", "b")
    told: list[tuple[str, ...]] = []
    monitor = bus.deadlock_monitor(on_deadlock=lambda deadlock: told.append(deadlock.agents))

    async def ask_while_asked(me: str, other: str) -> None:
        await bus.receive(me)
        await bus.send_request(me, other, "question", {}, timeout=100.0)

    agents = [asyncio.create_task(ask_while_asked(*names)) for names in (("a", "b"), ("b", "a"))]
    for agent in ("a", "b"):
        await bus.send(mail(to=agent))
    with pytest.raises(DeadlockDetected):
        await (await asyncio.wait(agents, return_when=asyncio.FIRST_COMPLETED))[0].pop()
    assert [set(agents_of) for agents_of in told] == [{"a", "b"}]
    assert monitor.stats()["deadlocks_recovered"] == 1
    assert asyncio.get_running_loop().time() < 2.0
    other = bus.deadlock_monitor()
    assert other is not monitor
    await bus.shutdown()
    assert not monitor.is_running
    assert not other.is_running
    await asyncio.gather(*agents, return_exceptions=True)
