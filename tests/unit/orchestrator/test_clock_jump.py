"""The wall clock is set while the registry runs: nobody loses a lease by it, and what is due comes when it is due."""

import pytest

from tests.unit.orchestrator.bench import Bench
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.orchestrator import AgentState, Heartbeat, RegisterAgent
from zejzl_ray.errors import AgentHeld
from zejzl_ray.orchestrator import CoreOrchestrator
from zejzl_ray.orchestrator.clock_jump import ClockJump
from zejzl_ray.testing.clock import ManualClock

CALL = CallContext()
HOUR_S = 3600.0


async def take(service: CoreOrchestrator, held_by: str) -> None:
    await service.register_agent(RegisterAgent(name="A", kind="process", lease_s=10, held_by=held_by), CALL)


def state(service: CoreOrchestrator, name: str = "A") -> AgentState:
    agent = service.registry.agent(name)
    assert agent is not None
    return agent.state


@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S])
async def test_a_lease_goes_on_for_one_full_period(
    bench: Bench, service: CoreOrchestrator, by_s: float
) -> None:
    await take(service, "one")
    bench.clock.set_wall(by_s)
    bench.clock.advance(1)
    await service.tick()

    with pytest.raises(AgentHeld):
        await take(service, "two")
    bench.clock.advance(9)
    await service.tick()
    assert state(service) is AgentState.STARTING
    bench.clock.advance(2)
    await service.tick()
    assert state(service) is AgentState.LOST
    await take(service, "two")


@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S])
async def test_a_renewal_after_it_counts_by_the_clock_as_it_is(
    bench: Bench, service: CoreOrchestrator, by_s: float
) -> None:
    await take(service, "one")
    bench.clock.set_wall(by_s)
    await service.tick()
    bench.clock.advance(8)
    await service.heartbeat(Heartbeat(name="A", held_by="one"), CALL)
    bench.clock.advance(8)
    await service.tick()

    assert state(service) is AgentState.HEALTHY


async def test_agents_without_lease_are_probed_on_when_it_was_set_back(
    bench: Bench, service: CoreOrchestrator
) -> None:
    bench.prober.up.add(("127.0.0.1", 5001))
    await service.register_agent(RegisterAgent(name="B", port=5001), CALL)
    bench.clock.set_wall(-HOUR_S)
    await service.tick()
    bench.clock.advance(20)
    await service.probe_round()

    assert bench.prober.asked == [("127.0.0.1", 5001)]
    assert state(service, "B") is AgentState.HEALTHY


def test_time_that_goes_by_is_no_jump_and_a_jump_is_told_once() -> None:
    clock = ManualClock()
    jump = ClockJump(clock)
    clock.advance(HOUR_S)
    assert jump.read() == (clock.now_s(), 0.0)
    clock.set_wall(0.5)
    assert jump.read() == (clock.now_s(), 0.0)
    clock.set_wall(-60.0)
    assert jump.read() == (clock.now_s(), -60.0)
    assert jump.read() == (clock.now_s(), 0.0)
