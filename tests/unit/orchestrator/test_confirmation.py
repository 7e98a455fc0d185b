"""Leases are renewed only while the store has confirmed lately that this is still the registry."""

import asyncio

import pytest

from tests.unit.orchestrator.bench import Bench
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.orchestrator import (
    AgentState,
    Heartbeat,
    HeartbeatAccepted,
    RegisterAgent,
    UpdateAgent,
)
from zejzl_ray.errors import AgentHeld, ServiceUnavailable, StoreUnavailable
from zejzl_ray.orchestrator import CoreOrchestrator

CALL = CallContext()
LIMIT_S = 5.0
LEASE_S = 20.0


async def take(service: CoreOrchestrator, held_by: str = "one") -> None:
    await service.register_agent(
        RegisterAgent(name="A", kind="process", lease_s=LEASE_S, held_by=held_by), CALL
    )


async def renew(service: CoreOrchestrator) -> HeartbeatAccepted:
    return await service.heartbeat(Heartbeat(name="A", held_by="one"), CALL)


@pytest.fixture
async def held(service: CoreOrchestrator) -> CoreOrchestrator:
    await take(service)
    await renew(service)
    return service


async def test_a_renewal_soon_after_a_commit_writes_nothing(bench: Bench, held: CoreOrchestrator) -> None:
    commits = bench.store.commits
    bench.clock.advance(LIMIT_S / 2)
    await renew(held)
    await asyncio.sleep(0)
    assert bench.store.commits == commits


async def test_half_way_to_the_limit_a_renewal_has_it_confirmed_and_does_not_wait(
    bench: Bench, held: CoreOrchestrator
) -> None:
    commits, opened = bench.store.commits, asyncio.Event()
    bench.store.gate = opened.wait
    bench.clock.advance(LIMIT_S - 1)
    for _ in range(10):
        await renew(held)
    assert bench.store.commits == commits
    opened.set()
    confirming = held._confirmation._task
    assert confirming is not None
    await confirming
    await renew(held)
    assert bench.store.commits == commits + 1


async def test_beyond_the_limit_renewals_wait_for_one_commit_together(
    bench: Bench, held: CoreOrchestrator
) -> None:
    commits = bench.store.commits
    bench.clock.advance(LIMIT_S + 1)
    answers = await asyncio.gather(*(renew(held) for _ in range(5000)))  # more than may wait for the store
    assert {answer.lease_expires_at_s for answer in answers} == {bench.clock.now_s() + LEASE_S}
    assert bench.store.commits == commits + 1


async def test_without_the_store_renewals_are_refused_by_name_and_the_lease_runs_on(
    bench: Bench, held: CoreOrchestrator
) -> None:
    agent = held.registry.agent("A")
    assert agent is not None
    bench.clock.advance(LIMIT_S + 1)
    bench.store.fail_before = StoreUnavailable("no answer.")
    with pytest.raises(StoreUnavailable, match=r"not renewed.* 6 s ago.* 5 s is the limit\. no answer"):
        await renew(held)
    after = held.registry.agent("A")
    assert after is not None
    assert after.lease_expires_at_s == agent.lease_expires_at_s
    assert (await renew(held)).lease_expires_at_s == bench.clock.now_s() + LEASE_S


async def test_who_has_been_replaced_renews_nothing_and_says_so(bench: Bench, held: CoreOrchestrator) -> None:
    await bench.start()
    bench.clock.advance(LIMIT_S + 1)
    with pytest.raises(ServiceUnavailable, match="taken over"):
        await renew(held)


async def test_the_next_instance_lets_no_lease_end_while_the_last_renewal_of_the_one_before_may_run(
    bench: Bench, held: CoreOrchestrator
) -> None:
    second = await bench.start()
    bench.clock.advance(LIMIT_S)
    held_until_s = bench.clock.now_s() + LEASE_S
    bench.clock.advance(LEASE_S - 0.1)
    await second.tick()
    with pytest.raises(AgentHeld):
        await take(second, "two")
    bench.clock.advance(0.1)
    assert bench.clock.now_s() == held_until_s
    await second.tick()
    await take(second, "two")
    agent = second.registry.agent("A")
    assert agent is not None
    assert (agent.held_by, agent.state) == ("two", AgentState.STARTING)


async def test_a_lease_that_is_renewed_at_the_next_instance_too_ends_no_sooner(
    bench: Bench, held: CoreOrchestrator
) -> None:
    second = await bench.start()
    began_s = bench.clock.now_s()
    assert (await renew(second)).lease_expires_at_s == began_s + LIMIT_S + LEASE_S
    await second.update_agent(UpdateAgent(name="A", port=80), CALL)
    await take(second)
    agent = second.registry.agent("A")
    assert agent is not None
    assert agent.lease_expires_at_s == began_s + LIMIT_S + LEASE_S
    bench.clock.advance(LIMIT_S)
    assert (await renew(second)).lease_expires_at_s == bench.clock.now_s() + LEASE_S


@pytest.mark.parametrize("set_by_s", [-3600.0, 3600.0])
async def test_a_clock_that_is_set_at_that_time_takes_nothing_of_it_away(
    bench: Bench, held: CoreOrchestrator, set_by_s: float
) -> None:
    second = await bench.start()
    bench.clock.advance(1)
    bench.clock.set_wall(set_by_s)
    await second.tick()
    agent = second.registry.agent("A")
    assert agent is not None
    assert agent.lease_expires_at_s == bench.clock.now_s() + LIMIT_S - 1 + LEASE_S


async def test_the_first_instance_of_all_has_nobody_before_it(held: CoreOrchestrator, bench: Bench) -> None:
    agent = held.registry.agent("A")
    assert agent is not None
    assert agent.lease_expires_at_s == bench.clock.now_s() + LEASE_S
