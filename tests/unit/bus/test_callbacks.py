"""Callbacks for an agent's mail."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.unit.bus.virtual_time import clock, in_virtual_time, settle
from zejzl_ray.bus import facade
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.facade import MessageBus
from zejzl_ray.bus.message import Message
from zejzl_ray.errors import InvalidInput, Overloaded


def bus_of(*agents: str, **options: Any) -> MessageBus:
    bus = MessageBus(clock=clock(), **options)
    for agent in agents:
        bus.register_agent(agent)
    return bus


def mail(number: int = 0, to: str = "b") -> Message:
    return Message("a", to, "task", {"number": number})


@in_virtual_time
async def test_each_message_goes_to_all_callbacks_plain_and_async_in_the_order_of_their_registration() -> (
    None
):
    bus = bus_of("b")
    calls: list[tuple[str, int]] = []

    async def second(message: Message) -> None:
        await asyncio.sleep(1.0)
        calls.append(("second", message.content["number"]))

    bus.subscribe_callback("b", lambda message: calls.append(("first", message.content["number"])))
    bus.subscribe_callback("b", second)
    for number in range(2):
        await bus.send(mail(number))
    await asyncio.sleep(3.0)
    assert calls == [("first", 0), ("second", 0), ("first", 1), ("second", 1)]
    assert bus.concurrency_acquired == bus.concurrency_released == 2
    await bus.shutdown()


@in_virtual_time
async def test_a_callback_that_fails_is_logged_and_the_next_one_is_called() -> None:
    bus = bus_of("b")
    calls: list[int] = []

    async def fail(message: Message) -> None:
        if message.content["number"]:
            raise asyncio.CancelledError  # of something that it has waited for
        raise RuntimeError("broken")

    bus.subscribe_callback("b", fail)
    bus.subscribe_callback("b", lambda message: calls.append(message.content["number"]))
    with capture_logs() as logs:
        for number in range(2):
            await bus.send(mail(number))
        await settle()
    assert calls == [0, 1]
    failed = [entry for entry in logs if entry["event"] == "a callback failed"]
    assert [(entry["agent"], entry["message_type"]) for entry in failed] == [("b", "task")] * 2
    await bus.shutdown()


@in_virtual_time
async def test_a_callback_that_was_cancelled_is_called_no_more_and_mail_stays_then() -> None:
    bus = bus_of("b")
    calls: list[int] = []
    handle = bus.subscribe_callback("b", lambda message: calls.append(message.content["number"]))
    await bus.send(mail(1))
    await settle()
    handle.cancel()
    handle.cancel()
    await bus.send(mail(2))
    await settle()
    assert calls == [1]
    assert bus.get_queue_size("b") == 1


@in_virtual_time
async def test_one_that_is_added_right_after_the_last_was_cancelled_is_called() -> None:
    bus = bus_of("b")
    calls: list[int] = []
    bus.subscribe_callback("b", print).cancel()
    bus.subscribe_callback("b", lambda message: calls.append(message.content["number"]))
    await bus.send(mail(3))
    await settle()
    assert calls == [3]
    await bus.shutdown()


@in_virtual_time
async def test_a_callback_may_cancel_itself_and_goes_on_to_its_end() -> None:
    bus = bus_of("b")
    calls: list[str] = []

    async def once(message: Message) -> None:
        handle.cancel()
        await asyncio.sleep(1.0)
        calls.append("done")

    handle = bus.subscribe_callback("b", once)
    await bus.send(mail(1))
    await bus.send(mail(2))
    await asyncio.sleep(5.0)
    assert calls == ["done"]
    assert bus.get_queue_size("b") == 1


@in_virtual_time
async def test_a_callback_that_is_cancelled_by_the_one_before_it_is_not_called_for_this_message() -> None:
    bus = bus_of("b")
    calls: list[str] = []
    bus.subscribe_callback("b", lambda message: second.cancel())
    second = bus.subscribe_callback("b", lambda message: calls.append("second"))
    await bus.send(mail())
    await settle()
    assert calls == []
    await bus.shutdown()


@in_virtual_time
async def test_a_callback_may_unregister_its_own_agent() -> None:
    bus = bus_of("b")
    calls: list[int] = []

    async def leave(message: Message) -> None:
        bus.unregister_agent("b")
        await asyncio.sleep(1.0)
        calls.append(message.content["number"])

    bus.subscribe_callback("b", leave)
    await bus.send(mail(1))
    await asyncio.sleep(2.0)
    assert calls == [1]
    bus.register_agent("b")
    bus.subscribe_callback("b", lambda message: calls.append(message.content["number"]))
    await bus.send(mail(2))
    await settle()
    assert calls == [1, 2]
    await bus.shutdown()


@in_virtual_time
async def test_unregistering_ends_the_callback_that_runs() -> None:
    bus = bus_of("b")
    ended: list[str] = []

    async def long(message: Message) -> None:
        try:
            await asyncio.sleep(100.0)
        finally:
            ended.append("ended")

    bus.subscribe_callback("b", long)
    await bus.send(mail())
    await asyncio.sleep(1.0)
    bus.unregister_agent("b")
    await settle()
    assert ended == ["ended"]
    assert bus.concurrency_acquired == bus.concurrency_released == 1


@in_virtual_time
async def test_a_mailbox_that_closes_under_it_ends_the_reading() -> None:
    bus = bus_of("b")
    bus.subscribe_callback("b", print)
    await settle()
    bus._office.close_mailbox("b")
    await settle()
    assert [task for task in asyncio.all_tasks() if task.get_name() == "callbacks of b"] == []


@in_virtual_time
async def test_callbacks_wait_as_long_as_it_takes_until_mail_comes() -> None:
    bus = bus_of("b", default_timeout=1.0)
    calls: list[int] = []
    bus.subscribe_callback("b", lambda message: calls.append(message.content["number"]))
    await asyncio.sleep(10.0)
    await bus.send(mail(1))
    await settle()
    assert calls == [1]
    await bus.shutdown()


@in_virtual_time
async def test_only_so_many_callbacks_run_at_once_and_the_waiting_is_counted() -> None:
    bus = bus_of("b", "c", max_concurrent=1)
    running, most = 0, 0

    async def work(message: Message) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    for agent in ("b", "c"):
        bus.subscribe_callback(agent, work)
        await bus.send(mail(to=agent))
    await settle()
    assert bus.get_performance_snapshot()["concurrency_utilization_percent"] == 100.0
    await asyncio.sleep(1.0)
    assert most == 1
    stats = bus.get_concurrency_stats()
    assert (stats["acquired"], stats["active"]) == (2.0, 0.0)
    assert stats["avg_wait_time"] == pytest.approx(stats["total_wait_time"] / 2)
    await bus.shutdown()


@pytest.mark.parametrize("is_unregistered", [False, True])
@in_virtual_time
async def test_mail_that_was_taken_and_waits_for_a_slot_is_not_lost_when_nobody_wants_it_any_more(
    is_unregistered: bool,
) -> None:
    bus = bus_of("b", "c", max_concurrent=1)
    bus.subscribe_callback("b", lambda message: asyncio.sleep(100.0))
    handle = bus.subscribe_callback("c", print)
    await bus.send(mail(1, to="b"))
    await settle()
    await bus.send(mail(2, to="c"))
    await settle()
    assert bus.get_queue_size("c") == 0
    if is_unregistered:
        bus.unregister_agent("c")
    else:
        handle.cancel()
    await settle()
    assert bus.get_queue_size("c") == (0 if is_unregistered else 1)
    lost = {DeadLetterReason.MAILBOX_CLOSED: 1} if is_unregistered else {}
    assert bus._office.dead_letters.counts() == lost
    await bus.shutdown()


@in_virtual_time
async def test_what_is_no_function_is_refused() -> None:
    bus = bus_of("b")
    with pytest.raises(InvalidInput, match=r"A callback of b is 5. Give a function"):
        bus.subscribe_callback("b", 5)  # type: ignore[arg-type] # wrong on purpose


def test_callbacks_need_an_event_loop() -> None:
    bus = MessageBus()
    bus.register_agent("b")
    with pytest.raises(RuntimeError):
        bus.subscribe_callback("b", print)
    assert bus._runners == {}


@in_virtual_time
async def test_the_agents_with_callbacks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facade, "MAX_CALLBACKS", 1)
    bus = bus_of("b", "c")
    bus.subscribe_callback("b", print)
    bus.subscribe_callback("b", print)
    with pytest.raises(Overloaded, match=r"have callbacks already. Unregister some"):
        bus.subscribe_callback("c", print)
    await bus.shutdown()
