import asyncio
from collections.abc import Callable

import pytest

from tests.unit.agents.parties import Registry, until
from zejzl_ray.agents.health import judge
from zejzl_ray.agents.heartbeats import Heartbeats, Registrant
from zejzl_ray.contracts.agent_life import AgentHealth, LifeState
from zejzl_ray.errors import AgentHeld, Unavailable
from zejzl_ray.testing import ManualClock


def registrant(
    name: str,
    period_s: float = 10.0,
    state: LifeState = LifeState.RUNNING,
    on_lost: Callable[[AgentHeld], None] | None = None,
) -> Registrant:
    async def health() -> AgentHealth:
        return judge(name, state, "why")

    return Registrant(name, period_s, health, ("seeing",), {"agent_host": "h1"}, on_lost)


async def add(beats: Heartbeats, member: Registrant) -> bool:
    """Do what a place does while its agent starts."""
    is_registered = await beats.claim(member)
    await beats.tell(member.name)
    return is_registered


async def test_all_that_is_due_or_nearly_due_goes_in_one_pass() -> None:
    registry, clock = Registry(), ManualClock()
    beats = Heartbeats(registry, clock=clock)
    for n in range(50):
        assert await add(beats, registrant(f"a{n}"))
        clock.advance(0.01)
    assert await beats.beat() == 0
    clock.advance(7.5)
    assert await beats.beat() == 50
    assert registry.kinds("a7") == ["register", "heartbeat", "heartbeat"]
    await beats.close()
    await beats.close()


async def test_what_is_told_is_the_health() -> None:
    registry = Registry()
    beats = Heartbeats(registry, clock=ManualClock())
    await add(beats, registrant("a", 5.0, LifeState.BACKING_OFF))
    assert registry.calls == [
        ("register", "a", ("seeing",), {"agent_host": "h1"}, 15.0),
        ("heartbeat", "a", "unhealthy", "backing_off: why"),
    ]
    await beats.close()


async def test_a_registry_that_is_away_is_tried_again() -> None:
    registry, clock = Registry(), ManualClock()
    registry.trouble = Unavailable("away")
    beats = Heartbeats(registry, clock=clock)
    assert not await add(beats, registrant("a"))
    registry.trouble = None
    clock.advance(10)
    await beats.beat()
    assert registry.kinds("a") == ["register", "heartbeat"]
    await beats.close()


async def test_an_agent_that_the_registry_has_forgotten_is_registered_again() -> None:
    registry, clock = Registry(), ManualClock()
    beats = Heartbeats(registry, clock=clock)
    await add(beats, registrant("a"))
    registry.known.clear()
    clock.advance(10)
    await beats.beat()
    assert registry.kinds("a") == ["register", "heartbeat", "register", "heartbeat"]
    await beats.close()


async def test_a_removed_agent_is_deregistered_once_and_never_again_told() -> None:
    registry, clock = Registry(), ManualClock()
    beats = Heartbeats(registry, clock=clock)
    await add(beats, registrant("a"))
    await beats.remove("a")
    await beats.remove("a")
    clock.advance(10)
    assert await beats.beat() == 0
    assert registry.kinds("a") == ["register", "heartbeat", "deregister"]
    await add(beats, registrant("b"))
    registry.trouble = Unavailable("away")
    await beats.remove("b")  # its lease runs out
    await beats.close()


async def test_an_agent_that_is_removed_while_it_registers_does_not_stay() -> None:
    class Slow(Registry):
        gate = asyncio.Event()

        async def register(self, name: str, *arguments: object) -> None:
            await self.gate.wait()
            await super().register(name, *arguments)  # type: ignore[arg-type] # as above

    registry = Slow()
    beats = Heartbeats(registry, clock=ManualClock())
    adding = asyncio.create_task(add(beats, registrant("a")))
    await asyncio.sleep(0)
    await beats.remove("a")
    registry.gate.set()
    assert not await adding
    assert registry.kinds("a")[:2] == ["register", "deregister"]
    await beats.close()


async def test_a_registry_that_hangs_holds_nobody_up() -> None:
    class Hanging(Registry):
        async def heartbeat(self, name: str, *_: object) -> None:
            if name == "slow":
                await asyncio.sleep(100)

    beats = Heartbeats(Hanging(), clock=ManualClock(), call_timeout_s=0.01)
    assert await add(beats, registrant("slow"))
    assert await add(beats, registrant("quick"))
    await beats.close()


async def test_the_timer_sends_by_itself_and_a_hurried_heartbeat_goes_at_once() -> None:
    registry = Registry()
    beats = Heartbeats(registry)
    await add(beats, registrant("often", 0.002))
    await until(lambda: len(registry.kinds("often")) >= 4)
    await beats.remove("often")
    await add(beats, registrant("seldom", 1000.0))
    assert registry.kinds("seldom") == ["register", "heartbeat"]
    beats.hurry("seldom")
    beats.hurry("nobody")
    await until(lambda: len(registry.kinds("seldom")) >= 3)
    await beats.close()


async def test_the_timer_ends_with_the_last_agent_and_begins_again_with_the_next() -> None:
    registry = Registry()
    beats = Heartbeats(registry)
    await add(beats, registrant("a", 0.002))
    await beats.remove("a")
    await asyncio.sleep(0.01)
    await add(beats, registrant("b", 0.002))
    await until(lambda: len(registry.kinds("b")) >= 3)
    await beats.close()


async def test_it_says_how_long_ago_the_registry_heard_of_each_agent() -> None:
    registry, clock = Registry(), ManualClock()
    beats = Heartbeats(registry, clock=clock)
    await add(beats, registrant("a"))
    clock.advance(4)
    registry.trouble = Unavailable("away")
    await add(beats, registrant("b"))
    assert beats.ages_s() == {"a": 4.0}
    clock.advance(10)
    await beats.beat()  # fails for both
    assert beats.ages_s() == {"a": 14.0}
    await beats.close()


async def test_an_agent_that_another_process_holds_is_refused_and_not_tried_again() -> None:
    registry, clock = Registry(), ManualClock()
    registry.elsewhere.add("a")
    beats = Heartbeats(registry, clock=clock)
    with pytest.raises(AgentHeld, match="held by h2"):
        await beats.claim(registrant("a"))
    registry.elsewhere.clear()
    clock.advance(100)
    await beats.tell("a")
    await beats.remove("a")
    assert (await beats.beat(), registry.calls) == (0, [])
    await beats.close()


@pytest.mark.parametrize("was_away", [True, False])
async def test_an_agent_whose_name_another_process_got_is_lost_once(was_away: bool) -> None:
    registry, clock, lost = Registry(), ManualClock(), list[AgentHeld]()
    beats = Heartbeats(registry, clock=clock)
    registry.trouble = Unavailable("away") if was_away else None
    assert await add(beats, registrant("a", on_lost=lost.append)) is not was_away
    registry.trouble = None
    registry.elsewhere.add("a")
    for _ in range(3):
        clock.advance(10)
        await beats.beat()
    assert [each.message for each in lost] == ["a is held by h2"]
    await beats.remove("a")
    assert "deregister" not in registry.kinds("a")
    await beats.close()


async def test_a_restarted_agent_stays_registered_while_a_heartbeat_of_the_one_before_is_under_way() -> None:
    class Slow(Registry):
        gate = asyncio.Event()

        async def heartbeat(self, *arguments: object) -> None:
            await self.gate.wait()
            await super().heartbeat(*arguments)  # type: ignore[arg-type] # as above

    registry = Slow()
    beats = Heartbeats(registry, clock=ManualClock())
    assert await beats.claim(registrant("a"))
    telling = asyncio.create_task(beats.tell("a"))
    await asyncio.sleep(0)
    assert await beats.claim(registrant("a"))
    registry.gate.set()
    await telling
    assert registry.kinds("a") == ["register", "register", "heartbeat"]
    await beats.close()
