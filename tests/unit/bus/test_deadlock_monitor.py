"""The search for deadlocks in a process that is alone."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.unit.bus.virtual_time import clock, in_virtual_time, settle
from zejzl_ray.bus import deadlock_monitor
from zejzl_ray.bus.deadlock_finder import DeadlockPolicy
from zejzl_ray.bus.deadlock_monitor import LocalDeadlockMonitor
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.contracts.waits import Deadlock
from zejzl_ray.errors import DeadlockDetected, InvalidInput, RequestTimedOut


class Circle:
    """Agents without runners, each of which asks the next one while it has not answered the one before."""

    def __init__(self, *names: str) -> None:
        self.office = PostOffice(clock=clock())
        self.names = names
        for name in names:
            self.office.open_mailbox(name)
        self.tasks: list[asyncio.Task[Message]] = []

    async def close(self, *, limit_s: float = 100.0, apart_s: float = 0.1) -> None:
        """Make the circle; the last one asks last."""
        for me in self.names:
            await self.office.send(Message("outside", me, "start", {}))
        for me, other in zip(self.names, (*self.names[1:], self.names[0]), strict=True):
            self.tasks.append(asyncio.create_task(self._ask(me, other, limit_s)))
            await asyncio.sleep(apart_s)

    async def end(self) -> None:
        """See to what became of them."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _ask(self, me: str, other: str, limit_s: float) -> Message:
        await self.office.receive(me)
        try:
            return await self.office.request(Message(me, other, "question", {}), limit_s)
        finally:
            with suppress(RequestTimedOut):  # one that was given up is counted until somebody comes by
                while len(self.office.mailbox(me)):
                    await self.office.respond(await self.office.receive(me, 0), {"by": me})


@in_virtual_time
async def test_a_circle_of_three_is_found_named_and_ended_by_failing_the_youngest() -> None:
    circle = Circle("a", "b", "c")
    told: list[Deadlock] = []
    monitor = LocalDeadlockMonitor(circle.office, on_deadlock=told.append)
    monitor.start()
    monitor.start()
    with capture_logs() as logs:
        await circle.close()
        replies = await asyncio.gather(*circle.tasks, return_exceptions=True)
    assert asyncio.get_running_loop().time() < 2.0
    assert [type(reply) for reply in replies] == [Message, Message, DeadlockDetected]
    error = replies[2]
    assert isinstance(error, DeadlockDetected)
    assert sorted(error.details["agents"]) == ["a", "b", "c"]
    assert "c waits for a" in error.message
    assert "Let one of them answer before it asks" in error.remedy
    (deadlock,) = told
    assert deadlock == monitor.found[0]
    assert deadlock.broken == error.details["correlation_id"]
    assert [party.of for party in deadlock.parties] == [
        dict(zip(circle.names, "bca", strict=True))[party.agent] for party in deadlock.parties
    ]
    assert all("_ask" in party.stack for party in deadlock.parties)
    assert [entry["broken"] for entry in logs if entry["event"] == "deadlock"] == [deadlock.broken]
    assert circle.office.figures.events.value("deadlocks_total") == 1
    await asyncio.sleep(5.0)
    assert monitor.stats() == {
        "deadlocks_detected": 1,
        "deadlocks_recovered": 1,
        "agents_monitored": 3,
        "running": True,
    }
    await monitor.stop()
    await monitor.stop()
    assert monitor.stats()["running"] is False


@in_virtual_time
async def test_it_goes_on_after_a_deadlock_and_finds_the_next_one() -> None:
    circle = Circle("a", "b")
    monitor = LocalDeadlockMonitor(circle.office)
    monitor.start()
    for _ in range(3):
        await circle.close()
        await asyncio.gather(*circle.tasks, return_exceptions=True)
        circle.tasks.clear()
    assert monitor.stats()["deadlocks_detected"] == 3
    assert len({deadlock.id for deadlock in monitor.found}) == 3
    await monitor.stop()


@in_virtual_time
async def test_one_that_is_to_be_left_alone_is_told_once_and_left_alone() -> None:
    circle = Circle("a", "b")
    monitor = LocalDeadlockMonitor(circle.office, DeadlockPolicy(break_youngest=False), period_s=0.1)
    monitor.start()
    await circle.close()
    await asyncio.sleep(10.0)
    assert [task.done() for task in circle.tasks] == [False, False]
    assert monitor.stats() == {
        "deadlocks_detected": 1,
        "deadlocks_recovered": 0,
        "agents_monitored": 2,
        "running": True,
    }
    assert monitor.found[0].broken == ""
    await monitor.stop()


@in_virtual_time
async def test_idle_and_slow_agents_are_no_deadlock() -> None:
    office = PostOffice(clock=clock())
    for agent in ("a", "b", "idle"):
        office.open_mailbox(agent)

    async def answer_late() -> None:
        request = await office.receive("b")
        await asyncio.sleep(20.0)
        await office.respond(request, {})

    idle = asyncio.create_task(office.receive("idle", 100.0))
    responder = asyncio.create_task(answer_late())
    monitor = LocalDeadlockMonitor(office)
    monitor.start()
    await office.request(Message("a", "b", "question", {}), 50.0)
    await asyncio.sleep(10.0)
    assert monitor.stats()["deadlocks_detected"] == 0
    await monitor.stop()
    idle.cancel()
    await responder


@in_virtual_time
async def test_every_subscriber_hears_of_it_whatever_the_others_do() -> None:
    circle = Circle("a", "b")
    told: list[str] = []
    monitor = LocalDeadlockMonitor(circle.office)

    def fail(deadlock: Deadlock) -> None:
        raise RuntimeError("broken")

    async def hang(deadlock: Deadlock) -> None:
        await asyncio.sleep(1000.0)

    async def note(deadlock: Deadlock) -> None:
        told.append("async")

    monitor.on_deadlock(fail)
    monitor.on_deadlock(hang)
    monitor.on_deadlock(note)
    monitor.on_deadlock(lambda deadlock: told.append("plain"))
    monitor.on_deadlock(lambda deadlock: told.append("cancelled")).cancel()
    monitor.start()
    with capture_logs() as logs:
        await circle.close()
        await asyncio.sleep(10.0)
    assert told == ["async", "plain"]
    failed = [entry for entry in logs if entry["event"] == "a callback failed"]
    assert [entry["subscriber_of"] for entry in failed] == ["deadlocks", "deadlocks"]
    await monitor.stop()
    await circle.end()


@in_virtual_time
async def test_a_subscriber_may_stop_the_search() -> None:
    circle = Circle("a", "b")
    monitor = LocalDeadlockMonitor(circle.office)
    monitor.on_deadlock(lambda deadlock: monitor.stop())
    monitor.start()
    await circle.close()
    await asyncio.sleep(3.0)
    runs = [monitor.is_running]
    assert "search for deadlocks" not in {task.get_name() for task in asyncio.all_tasks()}
    monitor.start()
    runs.append(monitor.is_running)
    assert runs == [False, True]
    await monitor.stop()
    await circle.end()


@in_virtual_time
async def test_a_failure_of_the_search_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    circle = Circle("a", "b")
    monitor = LocalDeadlockMonitor(circle.office)
    look: Callable[[], Any] = monitor.look
    failures = iter([RuntimeError("broken")])

    async def fail_once() -> Any:
        for failure in failures:
            raise failure
        return await look()

    monkeypatch.setattr(monitor, "look", fail_once)
    monitor.start()
    with capture_logs() as logs:
        await circle.close()
        await asyncio.sleep(3.0)
    assert "the search for deadlocks failed; it goes on" in {entry["event"] for entry in logs}
    assert monitor.stats()["deadlocks_detected"] == 1
    await monitor.stop()
    await circle.end()


@pytest.mark.parametrize("period_s", [0, -1.0, "1", float("nan")])
@in_virtual_time
async def test_a_period_that_is_none_is_refused(period_s: Any) -> None:
    with pytest.raises(InvalidInput, match="period_s of a search for deadlocks"):
        LocalDeadlockMonitor(PostOffice(clock=clock()), period_s=period_s)


@in_virtual_time
async def test_subscribers_are_functions_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlock_monitor, "_MOST_SUBSCRIBERS", 1)
    monitor = LocalDeadlockMonitor(PostOffice(clock=clock()))
    with pytest.raises(InvalidInput, match="Give a function"):
        monitor.on_deadlock(5)  # type: ignore[arg-type] # wrong on purpose
    monitor.on_deadlock(print)
    with pytest.raises(InvalidInput, match="subscribers already"):
        monitor.on_deadlock(print)


@in_virtual_time
async def test_without_requests_there_is_nothing_to_look_at() -> None:
    monitor = LocalDeadlockMonitor(PostOffice(clock=clock()))
    assert await monitor.look() == ()
    await settle()
    assert monitor.found == ()
