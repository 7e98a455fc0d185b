import asyncio
import inspect
import json

import pytest

from zejzl_ray import Message, MessageBus, MessagePriority
from zejzl_ray.errors import BusClosed, BusError, InvalidInput, MailboxFull, RequestTimedOut, UnknownAgent

# name -> (parameters in their order, with defaults; whether it is a coroutine function), as the old bus had them
OLD_NAMES = {
    "register_agent": ("(agent_id, queue_size=0)", False),
    "unregister_agent": ("(agent_id)", False),
    "send": ("(message)", True),
    "receive": ("(agent_id, timeout=None)", True),
    "subscribe_callback": ("(agent_id, callback)", False),
    "send_request": (
        "(from_agent, to_agent, message_type, content, priority=NORMAL, timeout=None)",
        True,
    ),
    "send_response": (
        "(from_agent, to_agent, message_type, content, correlation_id, priority=HIGH)",
        True,
    ),
    "broadcast": ("(message, exclude=None)", True),
    "get_queue_size": ("(agent_id)", False),
    "get_stats": ("()", False),
    "get_concurrency_stats": ("()", False),
    "get_performance_snapshot": ("()", False),
    "optimize_performance": ("()", False),
    "get_message_history": ("(limit=None)", False),
    "clear_queue": ("(agent_id)", False),
    "shutdown": ("()", True),
}


def parameters(function: object) -> str:
    shown = []
    for each in list(inspect.signature(function).parameters.values())[1:]:  # type: ignore[arg-type] # a function
        default = each.default
        if default is inspect.Parameter.empty:
            shown.append(each.name)
        else:
            shown.append(f"{each.name}={default.name if isinstance(default, MessagePriority) else default}")
    return f"({', '.join(shown)})"


def bus_of(*agents: str, **options: float) -> MessageBus:
    bus = MessageBus(**options)  # type: ignore[arg-type] # numbers of both kinds
    for agent in agents:
        bus.register_agent(agent)
    return bus


def mail(to_agent: str = "b", number: int = 0, priority: MessagePriority = MessagePriority.NORMAL) -> Message:
    return Message("a", to_agent, "task", {"n": number}, priority)


@pytest.mark.parametrize("name", OLD_NAMES)
def test_a_method_has_the_parameters_of_the_old_bus(name: str) -> None:
    method = getattr(MessageBus, name)
    assert (parameters(method), inspect.iscoroutinefunction(method)) == OLD_NAMES[name]


def test_the_bus_and_its_messages_are_made_as_before() -> None:
    made = list(inspect.signature(MessageBus).parameters.values())[:3]
    assert [(each.name, each.default) for each in made] == [
        ("default_timeout", 30.0),
        ("history_size", 100),
        ("max_concurrent", 1000),
    ]
    old = [
        "from_agent",
        "to_agent",
        "message_type",
        "content",
        "priority",
        "correlation_id",
        "timestamp",
        "metadata",
    ]
    assert list(inspect.signature(Message).parameters)[:8] == old
    assert [(each.name, each.value) for each in MessagePriority] == [("HIGH", 0), ("NORMAL", 1), ("LOW", 2)]
    assert inspect.isasyncgenfunction(MessageBus.subscribe)


async def test_a_message_arrives_with_all_of_its_fields() -> None:
    bus = bus_of("a", "b")
    sent = Message("a", "b", "task", {"x": 1}, MessagePriority.HIGH, "c-1", 12.5, {"k": "v"})
    await bus.send(sent)
    got = await bus.receive("b", timeout=1.0)
    assert got.to_dict() == {
        "from": "a", "to": "b", "type": "task", "content": {"x": 1}, "priority": "HIGH",
        "correlation_id": "c-1", "timestamp": 12.5, "metadata": {"k": "v"},
    }  # fmt: skip
    await bus.shutdown()


async def test_urgent_mail_comes_first_and_mail_of_one_priority_in_its_order() -> None:
    bus = bus_of("b")
    for priority in (MessagePriority.LOW, MessagePriority.HIGH, MessagePriority.NORMAL):
        await bus.send(mail(priority=priority))
    assert [(await bus.receive("b")).priority.name for _ in range(3)] == ["HIGH", "NORMAL", "LOW"]
    for number in range(10_000):
        await bus.send(mail(number=number))
    assert [(await bus.receive("b")).content["n"] for _ in range(10_000)] == list(range(10_000))
    await bus.shutdown()


async def test_a_request_gets_its_own_reply_and_leaves_other_mail_alone() -> None:
    bus = bus_of("a", "b", "c")

    async def answer_in_reverse() -> None:
        requests = [await bus.receive("b"), await bus.receive("b")]
        await bus.send(Message("c", "a", "note", {"n": 9}))
        for request in reversed(requests):
            assert request.correlation_id is not None
            await bus.send_response("b", "a", "done", dict(request.content), request.correlation_id)

    answering = asyncio.create_task(answer_in_reverse())
    one, two = await asyncio.gather(
        bus.send_request("a", "b", "task", {"n": 1}), bus.send_request("a", "b", "task", {"n": 2})
    )
    await answering
    assert (one.content, two.content) == ({"n": 1}, {"n": 2})
    assert (await bus.receive("a", timeout=0)).content == {"n": 9}
    assert bus.get_stats()["pending_requests"] == 0
    await bus.shutdown()


async def test_a_request_that_ends_badly_leaves_nothing_behind() -> None:
    bus = bus_of("a", "b")
    with pytest.raises(asyncio.TimeoutError):
        await bus.send_request("a", "b", "task", {}, timeout=0.01)
    with pytest.raises(UnknownAgent):
        await bus.send_request("a", "nobody", "task", {})
    with pytest.raises(ValueError, match="Unknown agent: nobody"):
        await bus.send_request("nobody", "b", "task", {})
    asking = asyncio.create_task(bus.send_request("a", "b", "task", {}))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert bus.get_stats()["pending_requests"] == 0
    assert dict(bus.pending_requests) == {}
    request = await bus.receive("b", timeout=0)  # of the cancelled one, whose deadline is not over
    assert request.correlation_id is not None
    await bus.send_response("b", "a", "done", {}, request.correlation_id)
    with pytest.raises(RequestTimedOut):
        await bus.receive("a", timeout=0)  # nobody waits for that reply any more: a dead letter, and no mail
    await bus.shutdown()


async def test_an_unknown_receiver_is_one_error_that_old_code_catches_both_ways() -> None:
    bus = bus_of("a", "b")
    assert issubclass(UnknownAgent, BusError)
    assert issubclass(UnknownAgent, ValueError)
    with pytest.raises(UnknownAgent, match="Unknown agent: nobody") as raised:
        await bus.send(mail("nobody"))
    assert raised.value.details == {"to_agent": "nobody", "available_agents": ["a", "b"]}
    with pytest.raises(ValueError, match="Unknown agent: nobody"):
        await bus.receive("nobody")
    with pytest.raises(InvalidInput):
        Message("a", "b", "task", {}, 7)  # type: ignore[arg-type] # what old code may do
    assert Message("a", "b", "task", {}, 2).priority is MessagePriority.LOW  # type: ignore[arg-type] # the same
    await bus.shutdown()


async def test_a_broadcast_keeps_its_priority_and_gives_everybody_a_copy() -> None:
    bus = bus_of("a", "b", "c", "d")
    got = await bus.broadcast(Message("a", "all", "news", {"n": 1}, MessagePriority.HIGH), exclude="d")
    assert got == ["b", "c"]
    first, second = await bus.receive("b", 0), await bus.receive("c", 0)
    assert first.priority is second.priority is MessagePriority.HIGH
    first.content["n"] = 2
    assert second.content == {"n": 1}
    assert await bus.broadcast(mail(), exclude=["b", "c"]) == ["d"]
    with pytest.raises(asyncio.TimeoutError):
        await bus.receive("a", timeout=0.01)
    await bus.shutdown()


async def test_a_size_lets_senders_wait_and_clearing_wakes_them() -> None:
    bus = bus_of("a", default_timeout=0.05)
    bus.register_agent("b", queue_size=2)
    await bus.send(mail(number=1))
    await bus.send(mail(number=2))
    assert bus.get_queue_size("b") == 2
    with pytest.raises(MailboxFull):
        await bus.send(mail(number=3))
    await bus.receive("b")
    assert bus.get_queue_size("b") == 1
    assert (bus.clear_queue("b"), bus.get_queue_size("b"), bus.clear_queue("nobody")) == (1, 0, 0)
    await bus.send(mail(priority=MessagePriority.LOW))
    await bus.send(mail(priority=MessagePriority.HIGH))
    assert (await bus.receive("b")).priority is MessagePriority.HIGH  # still by priority after clearing
    assert bus.get_queue_size("nobody") == 0
    await bus.shutdown()


async def test_registering_twice_keeps_the_mail_and_unregistering_wakes_who_waits() -> None:
    bus = bus_of("a", "b")
    await bus.send(mail())
    bus.register_agent("b", queue_size=1)
    assert bus.get_queue_size("b") == 1
    assert bus.unregister_agent("b") == 1
    assert bus.unregister_agent("b") == 0
    waiting = asyncio.create_task(bus.receive("a"))
    await asyncio.sleep(0)
    bus.unregister_agent("a")
    with pytest.raises(BusClosed):
        await waiting


async def test_callbacks_get_each_message_in_their_order_and_can_be_cancelled() -> None:
    bus = bus_of("a", "b")
    seen: list[tuple[str, int]] = []

    async def first(message: Message) -> None:
        seen.append(("first", message.content["n"]))

    def failing(message: Message) -> None:
        raise RuntimeError("a callback's own fault")

    def last(message: Message) -> None:
        seen.append(("last", message.content["n"]))

    bus.subscribe_callback("b", first)
    bus.subscribe_callback("b", failing)
    handle = bus.subscribe_callback("b", last)
    await bus.send(mail(number=1))
    await settled(lambda: len(seen) == 2)
    handle.cancel()
    handle.cancel()
    await bus.send(mail(number=2))
    await settled(lambda: len(seen) == 3)
    assert seen == [("first", 1), ("last", 1), ("first", 2)]
    stats = bus.get_concurrency_stats()
    assert stats.keys() == {
        "acquired",
        "released",
        "active",
        "total_wait_time",
        "avg_wait_time",
        "semaphore_limit",
    }
    assert (stats["acquired"], stats["semaphore_limit"]) == (2.0, 1000.0)
    with pytest.raises(UnknownAgent):
        bus.subscribe_callback("nobody", first)
    await bus.shutdown()


async def test_a_subscription_yields_mail_until_its_agent_is_gone() -> None:
    bus = bus_of("a", "b", default_timeout=0.01)
    got: list[int] = []

    async def read() -> None:
        async for message in bus.subscribe("b"):
            got.append(message.content["n"])

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.03)  # longer than the default time limit, which ends nothing
    await bus.send(mail(number=1))
    await settled(lambda: got == [1])
    bus.unregister_agent("b")
    with pytest.raises(ValueError, match="Unknown agent: b"):
        await reading
    await bus.shutdown()


async def test_figures_have_the_keys_of_the_old_bus_and_are_plain_json() -> None:
    bus = bus_of("a", "b")
    bus.register_agent("c", queue_size=1)
    await bus.send(mail())
    await bus.send(mail("c"))
    await bus.receive("b")
    stats = bus.get_stats()
    assert stats.keys() == {
        "uptime_seconds", "total_messages", "messages_per_second", "registered_agents", "queue_sizes",
        "pending_requests", "message_history_size", "latency_by_type", "concurrency_stats",
    }  # fmt: skip
    assert stats["total_messages"] == 2
    assert stats["latency_by_type"]["task"].keys() == {"count", "avg_ms", "min_ms", "max_ms"}
    assert stats["latency_by_type"]["task"]["count"] == 1
    snapshot = bus.get_performance_snapshot()
    assert snapshot.keys() == {
        "timestamp", "overall_throughput", "recent_throughput_60s", "total_agents", "total_queues", "queue_health",
        "pending_requests_count", "concurrency_active", "concurrency_limit", "concurrency_utilization_percent",
        "avg_latency_ms",
    }  # fmt: skip
    assert json.loads(json.dumps(snapshot, allow_nan=False)) == snapshot
    assert snapshot["queue_health"]["b"] == {
        "current_size": 0, "max_size": None, "utilization_percent": 0.0, "is_full": False,
    }  # fmt: skip
    assert snapshot["queue_health"]["c"]["is_full"] is True
    advice = bus.optimize_performance()
    assert advice.keys() == {"timestamp", "optimizations_performed", "performance_snapshot"}
    assert "c" in advice["optimizations_performed"]["queue_congestion_warning"]
    await bus.shutdown()


async def test_the_history_has_envelopes_oldest_first_and_is_bounded() -> None:
    bus = bus_of("b", history_size=5)
    for number in range(7):
        await bus.send(Message("a", "b", f"task-{number}", {}))
    history = bus.get_message_history()
    assert [each["type"] for each in history] == [f"task-{number}" for number in range(2, 7)]
    assert history[0].keys() == {"timestamp", "from", "to", "type", "priority", "correlation_id"}
    assert [each["type"] for each in bus.get_message_history(2)] == ["task-5", "task-6"]
    assert (bus.get_message_history(0), bus.history_size, bus.message_count) == ([], 5, 7)
    await bus.shutdown()


async def test_what_old_code_looks_at_cannot_be_changed() -> None:
    bus = bus_of("a", "b")
    await bus.send(mail())
    assert (len(bus.queues["b"]), bus.default_timeout, len(bus.message_history)) == (1, 30.0, 1)
    assert bus.start_time > 0
    for view in (bus.queues, bus.latency_by_type, bus.pending_requests):
        with pytest.raises(TypeError):
            view["b"] = None  # type: ignore[index] # what it must not allow
    for name in ("queues", "message_count", "message_history", "pending_requests"):
        with pytest.raises(AttributeError):
            setattr(bus, name, {})
    assert (bus.concurrency_acquired, bus.concurrency_released, bus.concurrency_wait_time) == (0, 0, 0.0)
    assert bus.concurrency_semaphore.limit == 1000
    await bus.shutdown()


async def test_shutdown_wakes_everybody_and_nothing_goes_in_afterwards() -> None:
    bus = bus_of("a", "b")
    bus.subscribe_callback("a", lambda message: None)
    waiting = asyncio.create_task(bus.receive("b"))
    asking = asyncio.create_task(bus.send_request("a", "b", "task", {}))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await bus.shutdown()
    await bus.shutdown()
    await asyncio.gather(waiting, return_exceptions=True)
    with pytest.raises(BusClosed):
        await asking
    assert bus.get_stats()["registered_agents"] == []
    with pytest.raises(BusError):
        await bus.send(mail())
    with pytest.raises(InvalidInput):
        MessageBus(max_concurrent=0)


async def settled(is_so: object) -> None:
    async with asyncio.timeout(2):
        while not is_so():  # type: ignore[operator] # a function without arguments
            await asyncio.sleep(0)
