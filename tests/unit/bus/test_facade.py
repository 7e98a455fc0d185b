"""The old bus by its names: signatures, and what its own tests asked for."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.bus.old_bus import bus_of
from tests.unit.bus.one_office import mail
from tests.unit.bus.virtual_time import in_virtual_time, settle
from zejzl_ray.bus.facade import MessageBus
from zejzl_ray.bus.message import HIGH, LOW, NORMAL, Message
from zejzl_ray.errors import (
    BusClosed,
    BusError,
    InvalidInput,
    UnknownAgent,
)

# name -> parameters with their defaults, as the old bus had them; whether it is a coroutine function
OLD: dict[str, tuple[dict[str, Any], str]] = {
    "register_agent": ({"agent_id": ..., "queue_size": 0}, "plain"),
    "unregister_agent": ({"agent_id": ...}, "plain"),
    "send": ({"message": ...}, "async"),
    "receive": ({"agent_id": ..., "timeout": None}, "async"),
    "subscribe": ({"agent_id": ...}, "generator"),
    "subscribe_callback": ({"agent_id": ..., "callback": ...}, "plain"),
    "send_request": (
        {
            "from_agent": ...,
            "to_agent": ...,
            "message_type": ...,
            "content": ...,
            "priority": NORMAL,
            "timeout": None,
        },
        "async",
    ),
    "send_response": (
        {
            "from_agent": ...,
            "to_agent": ...,
            "message_type": ...,
            "content": ...,
            "correlation_id": ...,
            "priority": HIGH,
        },
        "async",
    ),
    "broadcast": ({"message": ..., "exclude": None}, "async"),
    "get_queue_size": ({"agent_id": ...}, "plain"),
    "get_stats": ({}, "plain"),
    "get_concurrency_stats": ({}, "plain"),
    "get_performance_snapshot": ({}, "plain"),
    "optimize_performance": ({}, "plain"),
    "get_message_history": ({"limit": None}, "plain"),
    "clear_queue": ({"agent_id": ...}, "plain"),
    "shutdown": ({}, "async"),
}


def parameters(function: Callable[..., Any]) -> dict[str, Any]:
    found = list(inspect.signature(function).parameters.values())
    return {
        each.name: ... if each.default is each.empty else each.default
        for each in found
        if each.name != "self" and each.kind is each.POSITIONAL_OR_KEYWORD
    }


@pytest.mark.parametrize("name", OLD)
def test_a_method_has_the_old_name_parameters_and_defaults(name: str) -> None:
    method = getattr(MessageBus, name)
    kind = "plain"
    if inspect.iscoroutinefunction(method):
        kind = "async"
    elif inspect.isasyncgenfunction(method):
        kind = "generator"
    assert (parameters(method), kind) == OLD[name]
    assert list(parameters(method)) == list(OLD[name][0])


def test_the_bus_is_made_as_the_old_one_was() -> None:
    assert parameters(MessageBus.__init__) == {
        "default_timeout": 30.0,
        "history_size": 100,
        "max_concurrent": 1000,
    }


# --- what the tests of the old bus asked for --------------------------------------------------------------------------


@in_virtual_time
async def test_a_message_is_received_with_all_its_fields() -> None:
    bus = bus_of("a", "b")
    sent = Message("a", "b", "observation", {"x": [1]}, HIGH, "c1", 5.0, {"m": 1})
    await bus.send(sent)
    got = await bus.receive("b")
    assert got.to_dict() == {
        "from": "a",
        "to": "b",
        "type": "observation",
        "content": {"x": [1]},
        "priority": "HIGH",
        "correlation_id": "c1",
        "timestamp": 5.0,
        "metadata": {"m": 1},
    }


@in_virtual_time
async def test_higher_priorities_are_received_first() -> None:
    bus = bus_of("b")
    for priority in (LOW, HIGH, NORMAL):
        await bus.send(mail(priority=priority))
    assert [(await bus.receive("b")).priority for _ in range(3)] == [HIGH, NORMAL, LOW]


@in_virtual_time
async def test_a_response_carries_the_correlation_id_of_its_request() -> None:
    bus = bus_of("a", "b")

    async def respond() -> str | None:
        request = await bus.receive("b")
        assert request.correlation_id
        await bus.send_response("b", "a", "response", {"ok": True}, request.correlation_id)
        return request.correlation_id

    responder = asyncio.create_task(respond())
    response = await bus.send_request("a", "b", "question", {})
    assert response.correlation_id == await responder
    assert (response.content, response.priority, response.message_type) == ({"ok": True}, HIGH, "response")


@in_virtual_time
async def test_a_request_without_a_responder_times_out() -> None:
    bus = bus_of("a", "b")
    with pytest.raises(asyncio.TimeoutError):
        await bus.send_request("a", "b", "question", {}, timeout=0.5)
    assert asyncio.get_running_loop().time() == pytest.approx(0.5)
    assert bus.get_stats()["pending_requests"] == 0


@in_virtual_time
async def test_a_broadcast_reaches_all_but_its_sender() -> None:
    bus = bus_of("a", "b", "c", "d")
    await bus.broadcast(mail(to="all"))
    for agent in ("b", "c", "d"):
        assert (await bus.receive(agent, 0.1)).to_agent == agent
    with pytest.raises(asyncio.TimeoutError):
        await bus.receive("a", timeout=0.1)


@in_virtual_time
async def test_the_history_has_the_newest_last() -> None:
    bus = bus_of("b")
    for number in range(5):
        await bus.send(Message("a", "b", f"t{number}", {}))
    history = bus.get_message_history()
    assert [entry["type"] for entry in history] == ["t0", "t1", "t2", "t3", "t4"]
    assert set(history[0]) == {"timestamp", "from", "to", "type", "priority", "correlation_id"}
    assert [entry["type"] for entry in bus.get_message_history(2)] == ["t3", "t4"]
    assert bus.get_message_history(limit=0) == []
    with pytest.raises(InvalidInput):
        bus.get_message_history(-1)


@in_virtual_time
async def test_the_statistics_count_a_message_and_its_latency() -> None:
    bus = bus_of("a", "b")
    await bus.send(mail())
    await asyncio.sleep(0.25)
    await bus.receive("b")
    stats = bus.get_stats()
    assert set(stats) == {
        "uptime_seconds",
        "total_messages",
        "messages_per_second",
        "registered_agents",
        "queue_sizes",
        "pending_requests",
        "message_history_size",
        "latency_by_type",
        "concurrency_stats",
    }
    assert stats["total_messages"] == 1
    assert stats["uptime_seconds"] == pytest.approx(0.25)
    assert stats["messages_per_second"] == pytest.approx(4.0)
    assert stats["registered_agents"] == ["a", "b"]
    assert stats["queue_sizes"] == {"a": 0, "b": 0}
    assert (stats["pending_requests"], stats["message_history_size"]) == (0, 1)
    latency = stats["latency_by_type"]["task"]
    assert set(latency) == {"count", "avg_ms", "min_ms", "max_ms"}
    assert latency["count"] == 1
    assert latency["avg_ms"] == pytest.approx(250, rel=0.05)


@in_virtual_time
async def test_a_bus_that_was_just_made_divides_by_nothing() -> None:
    bus = bus_of()
    assert bus.get_stats()["messages_per_second"] == 0.0
    assert bus.get_performance_snapshot()["overall_throughput"] == 0.0


@in_virtual_time
async def test_a_queue_of_two_takes_two_and_one_more_after_a_receive() -> None:
    bus = bus_of("b", size=2)
    await bus.send(mail(0))
    await bus.send(mail(1))
    assert bus.get_queue_size("b") == 2
    await bus.receive("b")
    assert bus.get_queue_size("b") == 1
    assert bus.get_queue_size("nobody") == 0


@in_virtual_time
async def test_a_cleared_queue_is_empty_and_keeps_its_order_its_size_and_who_waits() -> None:
    bus = bus_of("a", "b", size=2)
    request = asyncio.create_task(bus.send_request("a", "b", "question", {}))
    await settle()
    await bus.send(mail(1))
    assert bus.clear_queue("b") == 2
    assert bus.get_queue_size("b") == 0
    with pytest.raises(BusClosed, match="the mailbox was emptied"):
        await request
    assert bus.clear_queue("nobody") == 0
    for priority in (LOW, HIGH):
        await bus.send(mail(priority=priority))
    assert bus.queues["b"].full()
    assert [(await bus.receive("b")).priority for _ in range(2)] == [HIGH, LOW]
    waiting = asyncio.create_task(bus.receive("b"))
    await settle()
    bus.clear_queue("b")
    await bus.send(mail(7))
    assert (await waiting).content == {"number": 7}


@in_virtual_time
async def test_after_shutdown_nobody_is_registered_and_whoever_waited_knows() -> None:
    bus = bus_of("a", "b")
    waiting = [
        asyncio.create_task(bus.receive("a", 50.0)),
        asyncio.create_task(bus.send_request("a", "b", "question", {}, timeout=50.0)),
        asyncio.create_task(anext(bus.subscribe("a"))),  # type: ignore[arg-type] # a generator's anext is a coroutine
    ]
    handle = bus.subscribe_callback("b", lambda message: None)
    await settle()
    await bus.shutdown()
    await bus.shutdown()
    for task, error in zip(waiting, (BusClosed, BusClosed, UnknownAgent), strict=True):
        with pytest.raises(error):
            await task
    handle.cancel()
    assert bus.get_stats()["registered_agents"] == []
    assert bus.get_stats()["pending_requests"] == 0
    with pytest.raises(BusError):
        await bus.send(mail())
    with pytest.raises(BusClosed, match="Make a new one"):
        bus.register_agent("c")
    assert asyncio.get_running_loop().time() == 0
