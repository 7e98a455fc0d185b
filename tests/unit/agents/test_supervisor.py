import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.agents.parties import Bench, bench, until
from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.handlers import handles
from zejzl_ray.agents.lifecycle import Transition
from zejzl_ray.agents.runner import StopReport
from zejzl_ray.agents.supervisor import AgentSupervisor, RestartPolicy
from zejzl_ray.bus.message import Message
from zejzl_ray.contracts.agent_life import LifeState
from zejzl_ray.errors import Conflict, HandlerFailed, InvalidInput, UnknownAgent
from zejzl_ray.testing import ManualClock

EXACT = RestartPolicy(initial_s=1, max_s=10, jitter_s=0, limit=4, window_s=100)


class Fragile(Agent):
    """Fails as the test says; ``made`` holds every one that was made."""

    fatal = (ZeroDivisionError,)
    start_fails: int = 0
    made: list["Fragile"]

    def __init__(self) -> None:
        self.events: list[str] = []
        type(self).made.append(self)

    async def on_start(self) -> None:
        if type(self).start_fails:
            type(self).start_fails -= 1
            raise OSError("no camera")

    async def on_stop(self) -> None:
        self.events.append("stop")

    async def on_message(self, message: Message) -> dict[str, Any]:
        self.events.append(message.message_type)
        return {"n": len(type(self).made)}

    @handles("fatal")
    async def fatally(self, message: Message) -> None:
        raise ZeroDivisionError

    @handles("harmless")
    async def harmless(self, message: Message) -> None:
        raise ValueError


def fragile(start_fails: int = 0) -> type[Fragile]:
    made: type[Fragile] = type("Fragile", (Fragile,), {"made": [], "start_fails": start_fails})
    return made


class Sleeps:
    """Sleeping by hand: notes how long, and returns when the test says so."""

    def __init__(self, clock: ManualClock) -> None:
        self.waits: list[float] = []
        self._clock = clock
        self._asleep = asyncio.Event()
        self._wake = asyncio.Event()

    async def __call__(self, wait_s: float) -> None:
        self.waits.append(wait_s)
        self._asleep.set()
        await self._wake.wait()
        self._wake.clear()
        self._clock.advance(wait_s)

    async def next(self) -> float:
        """Wait until somebody sleeps."""
        await self._asleep.wait()
        self._asleep.clear()
        return self.waits[-1]

    def wake(self) -> None:
        self._wake.set()


def supervise(
    b: Bench, build: Callable[[], Agent], sleeps: Sleeps, **options: Any
) -> tuple[AgentSupervisor, list[Transition]]:
    moves: list[Transition] = []
    policy = options.pop("policy", EXACT)
    made = AgentSupervisor(
        "f", build, b.parts, policy=policy, sleep=sleeps, on_transition=moves.append, **options
    )
    return made, moves


async def test_an_agent_that_fails_is_made_anew_and_keeps_its_mailbox() -> None:
    clock = ManualClock()
    async with bench(clock) as b:
        kind, sleeps = fragile(), Sleeps(clock)
        supervisor, moves = supervise(b, kind, sleeps)
        await supervisor.start()
        assert (await b.ask("f", "x")).content == {"n": 1}
        with pytest.raises(HandlerFailed):
            await b.ask("f", "fatal")
        assert await sleeps.next() == 1
        info = await supervisor.info()
        assert (info.state, info.reason) == (
            LifeState.BACKING_OFF,
            "ZeroDivisionError; starts again in 1.0 s",
        )
        assert (info.health.status.value, info.restarts) == ("unhealthy", 0)
        asked = asyncio.create_task(b.ask("f", "meanwhile"))
        await asyncio.sleep(0)
        sleeps.wake()
        assert (await asked).content == {"n": 2}
        info = await supervisor.info()
        assert (info.state, info.restarts, info.health.status.value) == (LifeState.RUNNING, 1, "healthy")
        assert kind.made[0].events == ["x", "stop"]
        assert [str(move.to_state) for move in moves] == [
            "starting", "running", "failed", "backing_off", "starting", "running",
        ]  # fmt: skip
        assert b.registry.kinds("f").count("deregister") == 0
        assert ("heartbeat", "f", "unhealthy") in [call[:3] for call in b.registry.calls]
        assert await supervisor.stop("done") == StopReport()
        assert await supervisor.stop("again") == StopReport()
        assert b.registry.calls[-1] == ("deregister", "f")


async def test_what_a_handler_raises_restarts_nothing() -> None:
    clock = ManualClock()
    async with bench(clock) as b:
        kind, sleeps = fragile(), Sleeps(clock)
        supervisor, _ = supervise(b, kind, sleeps)
        await supervisor.start()
        for _ in range(20):
            with pytest.raises(HandlerFailed):
                await b.ask("f", "harmless")
        assert (sleeps.waits, len(kind.made)) == ([], 1)
        await supervisor.stop()


async def test_the_wait_doubles_up_to_the_most_and_too_many_failures_end_it() -> None:
    clock = ManualClock()
    async with bench(clock) as b:
        kind, sleeps = fragile(start_fails=100), Sleeps(clock)
        policy = RestartPolicy(initial_s=1, max_s=4, jitter_s=0, limit=4, window_s=100)
        supervisor, moves = supervise(b, kind, sleeps, policy=policy)
        await supervisor.start()
        for _ in range(4):
            await sleeps.next()
            sleeps.wake()
        await until(lambda: moves[-1].event == "give_up")
        assert sleeps.waits == [1, 2, 4, 4]
        info = await supervisor.info()
        assert (info.state, info.restarts) == (LifeState.FAILED, 4)
        assert info.reason == "OSError; failed 5 times within 100 s"
        assert "failed: OSError; failed 5 times within 100 s" in info.health.reasons
        await until(lambda: not b.office.is_local("f"))  # nobody will read it: senders hear of it
        with pytest.raises(UnknownAgent):
            await b.tell("f", "x")
        with pytest.raises(Conflict, match="f is failed"):
            await supervisor.start()
        # a person has repaired it
        kind.start_fails = 0
        await supervisor.restart("repaired")
        assert (await b.ask("f", "x")).content == {"n": 6}
        assert (await supervisor.info()).restarts == 0
        await supervisor.stop()


async def test_failures_that_are_long_ago_are_forgotten() -> None:
    clock = ManualClock()
    async with bench(clock) as b:
        kind, sleeps = fragile(), Sleeps(clock)
        supervisor, _ = supervise(b, kind, sleeps)
        await supervisor.start()
        for _ in range(8):
            with pytest.raises(HandlerFailed):
                await b.ask("f", "fatal")
            await sleeps.next()
            sleeps.wake()
            await until(lambda: supervisor.lifecycle.state is LifeState.RUNNING)
            clock.advance(60)
        assert sleeps.waits == [1, 2, 2, 2, 2, 2, 2, 2]
        await supervisor.stop()


async def test_an_agent_that_cannot_even_be_made_is_refused_at_first_and_supervised_later() -> None:
    clock = ManualClock()
    async with bench(clock) as b:
        kind, sleeps = fragile(), Sleeps(clock)
        trouble: list[Exception] = [InvalidInput("no such camera")]

        def build() -> Agent:
            if trouble:
                raise trouble.pop()
            return kind()

        supervisor, _ = supervise(b, build, sleeps)
        with pytest.raises(InvalidInput, match="no such camera"):
            await supervisor.start()
        assert not b.office.is_local("f")
        await supervisor.start()
        with pytest.raises(HandlerFailed):
            await b.ask("f", "fatal")
        await sleeps.next()
        trouble.append(InvalidInput("unplugged"))
        sleeps.wake()
        assert await sleeps.next() == 2
        assert supervisor.lifecycle.reason == "unplugged; starts again in 2.0 s"
        sleeps.wake()
        assert (await b.ask("f", "x")).content == {"n": 2}
        await supervisor.stop()


@pytest.mark.parametrize("when", ["backing off", "starting"])
async def test_an_agent_can_be_stopped_while_it_does_not_run(when: str) -> None:
    class Hanging(Agent):
        async def on_start(self) -> None:
            await asyncio.sleep(100)

    clock = ManualClock()
    async with bench(clock) as b:
        sleeps = Sleeps(clock)
        build = Hanging if when == "starting" else fragile(start_fails=9)
        supervisor, moves = supervise(b, build, sleeps)
        starting = asyncio.create_task(supervisor.start())
        if when == "starting":
            await until(lambda: supervisor.lifecycle.state is LifeState.STARTING)
            starting.cancel()
            await asyncio.wait({starting})
        else:
            await sleeps.next()
            await starting
        await supervisor.stop("enough")
        assert moves[-1].to_state is LifeState.STOPPED
        assert not b.office.is_local("f")


async def test_an_agent_whose_start_failed_is_given_no_mail_when_it_is_stopped() -> None:
    clock = ManualClock()
    async with bench(clock) as b:
        kind, sleeps = fragile(start_fails=9), Sleeps(clock)
        supervisor, _ = supervise(b, kind, sleeps)
        await supervisor.start()
        await sleeps.next()
        await b.tell("f", "x")
        assert await supervisor.stop("enough") == StopReport(left=1)
        assert kind.made[0].events == ["stop"]


async def test_a_restart_by_hand_keeps_what_is_in_the_mailbox() -> None:
    clock = ManualClock()
    async with bench(clock) as b:
        kind, sleeps = fragile(), Sleeps(clock)
        supervisor, _ = supervise(b, kind, sleeps, entry="m:Fragile", settings={"a": 1})
        with pytest.raises(Conflict, match="f is stopped"):
            supervisor.pause()
        assert (await supervisor.info()).state is LifeState.STOPPED
        await supervisor.start()
        supervisor.pause("hold")
        asked = [asyncio.create_task(b.ask("f", f"x{n}")) for n in range(3)]
        await asyncio.sleep(0)
        await supervisor.restart("new version")
        assert [(await each).content for each in asked] == [{"n": 2}] * 3
        info = await supervisor.info()
        assert (info.entry, info.state, kind.made[1].settings) == ("m:Fragile", LifeState.RUNNING, {"a": 1})
        supervisor.pause()
        supervisor.resume()
        await supervisor.stop()


async def test_an_agent_that_another_process_holds_stands_by_until_it_is_free() -> None:
    clock = ManualClock()
    async with bench(clock) as b:
        kind, sleeps = fragile(), Sleeps(clock)
        supervisor, moves = supervise(b, kind, sleeps)
        b.registry.elsewhere.add("f")
        await supervisor.start()
        for _ in range(10):  # more often than it may fail
            await sleeps.next()
            info = await supervisor.info()
            assert (info.state, info.reason) == (LifeState.STANDBY, "f is held by h2")
            assert (info.health.status.value, info.restarts) == ("healthy", 0)
            assert not b.office.is_local("f"), "mail goes to the other process"
            sleeps.wake()
        await sleeps.next()
        b.registry.elsewhere.clear()
        sleeps.wake()
        await until(lambda: supervisor.lifecycle.state is LifeState.RUNNING)
        assert (await b.ask("f", "x")).content["n"] > 1
        assert [str(move.to_state) for move in moves] == ["standby", "starting", "running"]
        await supervisor.stop()
        assert b.registry.kinds("f") == ["register", "heartbeat", "deregister"]


async def test_an_agent_whose_name_was_given_away_ends_here_without_saving_and_stands_by() -> None:
    clock = ManualClock()
    async with bench(clock) as b:
        kind, sleeps = fragile(), Sleeps(clock)
        supervisor, _ = supervise(b, kind, sleeps)
        await supervisor.start()
        b.registry.elsewhere.add("f")
        await b.heartbeats.tell("f")
        await sleeps.next()
        assert supervisor.lifecycle.state.value == "standby"
        assert kind.made[0].events == ["stop"]
        assert not b.office.is_local("f")
        await supervisor.stop("done")
        assert supervisor.lifecycle.state.value == "stopped"
        assert "deregister" not in b.registry.kinds("f")
        b.registry.elsewhere.clear()
        await supervisor.start()
        assert (await b.ask("f", "x")).content == {"n": len(kind.made)}
        await supervisor.stop()


async def test_a_name_that_is_given_away_during_the_start_ends_the_start() -> None:
    class Slow(Fragile):
        made: list[Fragile] = []  # noqa: RUF012 - filled by the constructor
        gate = asyncio.Event()

        async def on_start(self) -> None:
            await self.gate.wait()

    clock = ManualClock()
    async with bench(clock) as b:
        sleeps = Sleeps(clock)
        supervisor, _ = supervise(b, Slow, sleeps)
        starting = asyncio.create_task(supervisor.start())
        await until(lambda: supervisor.lifecycle.state is LifeState.STARTING)
        b.registry.elsewhere.add("f")
        await b.heartbeats.tell("f")
        Slow.gate.set()
        await starting
        await sleeps.next()
        assert supervisor.lifecycle.state is LifeState.STANDBY
        await supervisor.stop()


async def test_two_who_stop_and_start_at_once_do_not_mix() -> None:
    clock = ManualClock()
    async with bench(clock) as b:
        supervisor, _ = supervise(b, fragile(), Sleeps(clock))
        await supervisor.start()
        await asyncio.gather(supervisor.restart(), supervisor.stop(), supervisor.stop())
        assert supervisor.lifecycle.state is LifeState.STOPPED
        assert not b.office.is_local("f")


def test_jitter_spreads_restarts_and_the_most_is_the_most() -> None:
    policy = RestartPolicy(initial_s=1, max_s=8, jitter_s=1)
    waits = [policy.wait_s(1) for _ in range(50)]
    assert all(1 <= wait <= 2 for wait in waits)
    assert len(set(waits)) > 1
    assert policy.wait_s(1000) == 8


@pytest.mark.parametrize(
    "wrong", [{"initial_s": 0}, {"max_s": 0.1}, {"window_s": 0}, {"jitter_s": -1}, {"limit": -1}]
)
def test_a_policy_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="cannot be"):
        RestartPolicy(**wrong)  # type: ignore[arg-type] # one of them at a time
