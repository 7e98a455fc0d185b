"""The old bus by its names: signatures, shapes of results, errors, and what its own tests asked for."""

import asyncio
import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.bus.virtual_time import clock, in_virtual_time, settle
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.facade import MessageBus
from zejzl_ray.bus.message import HIGH, LOW, NORMAL, Message
from zejzl_ray.errors import (
    BusClosed,
    BusError,
    DeadlockDetected,
    InvalidInput,
    MailboxFull,
    RequestTimedOut,
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


def bus_of(*agents: str, size: int = 0, **options: Any) -> MessageBus:
    bus = MessageBus(clock=clock(), **options)
    for agent in agents:
        bus.register_agent(agent, size)
    return bus


def mail(number: int = 0, to: str = "b", sender: str = "a", **fields: Any) -> Message:
    return Message(sender, to, "task", {"number": number}, **fields)


# --- what the tests of the old bus asked for -------------------------------------------------------------------------


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


# --- what was wrong with the old one ---------------------------------------------------------------------------------


@in_virtual_time
async def test_registering_twice_keeps_the_first_queue_and_its_mail() -> None:
    bus = bus_of("b", size=1)
    await bus.send(mail(4))
    bus.register_agent("b", queue_size=50)
    assert bus.queues["b"].maxsize == 1
    assert (await bus.receive("b")).content == {"number": 4}


@pytest.mark.parametrize("size", [0, -3])
@in_virtual_time
async def test_no_size_means_the_default_bound_and_more_are_refused(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zejzl_ray.bus.facade.DEFAULT_CAPACITY", 3)
    bus = bus_of("b", size=size)
    for number in range(3):
        await bus.send(mail(number))
    with pytest.raises(MailboxFull):
        await bus.send(mail())
    assert asyncio.get_running_loop().time() == 0
    assert bus.queues["b"].maxsize == 0


def test_the_default_bound_is_a_hundred_thousand() -> None:
    bus = MessageBus()
    bus.register_agent("b")
    assert bus._office.mailbox("b").capacity == 100_000


@in_virtual_time
async def test_a_sender_to_a_full_queue_waits_and_not_for_ever() -> None:
    bus = bus_of("b", size=1, default_timeout=4.0)
    await bus.send(mail(0))
    sender = asyncio.create_task(bus.send(mail(1)))
    await settle()
    assert not sender.done()
    await bus.receive("b")
    await sender
    with pytest.raises(MailboxFull):
        await bus.send(mail(2))
    assert asyncio.get_running_loop().time() == pytest.approx(4.0)


@in_virtual_time
async def test_unregistering_wakes_who_waits_and_tells_how_much_was_dropped() -> None:
    bus = bus_of("a", "b")
    receiver = asyncio.create_task(bus.receive("a", 50.0))
    await settle()
    for number in range(3):
        await bus.send(mail(number))
    assert bus.unregister_agent("b") == 3
    assert bus.unregister_agent("b") == 0
    assert bus.unregister_agent("a") == 0
    with pytest.raises(BusClosed):
        await receiver
    assert bus._office.dead_letters.counts() == {DeadLetterReason.MAILBOX_CLOSED: 3}
    bus.register_agent("b", 5)
    assert bus.get_queue_size("b") == 0


@in_virtual_time
async def test_the_error_of_an_unknown_receiver_is_caught_by_all_its_old_names() -> None:
    bus = bus_of("a", "b")
    for call in (
        bus.send(mail(to="X")),
        bus.send_request("a", "X", "t", {}),
        bus.send_response("a", "X", "t", {}, "c"),
    ):
        with pytest.raises(UnknownAgent, match="Unknown agent: X") as caught:
            await call
        assert isinstance(caught.value, BusError)
        assert isinstance(caught.value, ValueError)
        assert caught.value.details == {"to_agent": "X", "available_agents": ["a", "b"]}
    for wrong in (bus.receive("X"), bus.send_request("X", "b", "t", {})):
        with pytest.raises(ValueError, match="Unknown agent: X"):
            await wrong
    with pytest.raises(ValueError, match="Unknown agent"):
        bus.subscribe_callback("X", print)
    with pytest.raises(ValueError, match="Unknown agent"):
        await anext(bus.subscribe("X"))
    await bus.send(mail(sender="nobody"))
    assert bus.get_stats()["pending_requests"] == 0


@pytest.mark.parametrize("wrong", [{"max_concurrent": 0}, {"max_concurrent": 1.5}, {"max_concurrent": True}])
def test_a_bound_of_callbacks_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="max_concurrent is"):
        MessageBus(**wrong)


@pytest.mark.parametrize("wrong", ["9", None, 1.5, True])
def test_a_queue_size_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInput, match="queue_size of b is"):
        MessageBus().register_agent("b", wrong)


@pytest.mark.parametrize(
    "wrong", [{"default_timeout": 0}, {"default_timeout": "30"}, {"history_size": -1}, {"history_size": 1.5}]
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        MessageBus(**wrong)


@pytest.mark.parametrize("priority", [9, "urgent", None])
@in_virtual_time
async def test_a_wrong_priority_is_refused_before_anything_is_queued(priority: Any) -> None:
    bus = bus_of("a", "b")
    with pytest.raises(InvalidInput):
        await bus.send_request("a", "b", "t", {}, priority=priority)
    with pytest.raises(InvalidInput):
        await bus.send_response("a", "b", "t", {}, "c", priority=priority)
    assert (bus.message_count, bus.get_queue_size("b")) == (0, 0)


@in_virtual_time
async def test_many_who_wait_for_mail_hold_up_nobody() -> None:
    """The old one held a slot while it waited."""
    bus = bus_of("a", "b", max_concurrent=1)
    waiting = [asyncio.create_task(bus.receive("a", 50.0)) for _ in range(5)]
    await settle()
    await bus.send(mail(1))
    assert (await bus.receive("b", 0)).content == {"number": 1}
    for task in waiting:
        task.cancel()


@in_virtual_time
async def test_a_broadcast_tells_who_got_it_and_leaves_out_one_or_several() -> None:
    bus = bus_of("a", "b", "c", "d")
    message = mail(to="all", priority=LOW, correlation_id="c1", metadata={"m": 1})
    assert await bus.broadcast(message) == ["b", "c", "d"]
    assert await bus.broadcast(message, "b") == ["c", "d"]
    assert await bus.broadcast(message, exclude=["b", "d"]) == ["c"]
    copy = await bus.receive("c")
    assert (copy.priority, copy.correlation_id, copy.metadata) == (LOW, "c1", {"m": 1})
    assert bus.message_count == 6


@in_virtual_time
async def test_a_late_response_is_counted_as_a_dead_letter() -> None:
    bus = bus_of("a", "b")
    request = asyncio.create_task(bus.send_request("a", "b", "question", {}, timeout=1.0))
    taken = await bus.receive("b")
    with pytest.raises(RequestTimedOut):
        await request
    assert taken.correlation_id is not None
    await bus.send_response("b", "a", "response", {}, taken.correlation_id)
    assert bus.get_queue_size("a") == 0
    assert bus._office.dead_letters.counts() == {DeadLetterReason.LATE_REPLY: 1}


@in_virtual_time
async def test_an_iterator_gives_all_mail_and_goes_on_when_none_comes_for_long() -> None:
    bus = bus_of("b", default_timeout=1.0)
    got: list[int] = []

    async def read() -> None:
        async for message in bus.subscribe("b"):
            got.append(message.content["number"])

    reader = asyncio.create_task(read())
    await bus.send(mail(1))
    await asyncio.sleep(10.0)
    await bus.send(mail(2))
    await settle()
    assert got == [1, 2]
    bus.unregister_agent("b")
    with pytest.raises(ValueError, match="It was unregistered"):
        await reader


# --- figures ---------------------------------------------------------------------------------------------------------


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
