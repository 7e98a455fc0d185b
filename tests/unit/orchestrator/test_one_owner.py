"""A name is not given to another while its keeper has been told that the lease is renewed, whatever happens at once."""

import asyncio

import pytest

from tests.unit.orchestrator.bench import Bench
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.orchestrator import Agent, AgentState, Heartbeat, RegisterAgent, UpdateAgent
from zejzl_ray.errors import AgentHeld, AgentNotFound, StoreUnavailable, VersionConflict
from zejzl_ray.orchestrator import CoreOrchestrator

CALL = CallContext()


async def take(service: CoreOrchestrator, held_by: str, name: str = "A") -> Agent:
    return await service.register_agent(
        RegisterAgent(name=name, kind="process", lease_s=10, held_by=held_by), CALL
    )


async def renew(service: CoreOrchestrator, held_by: str) -> None:
    await service.heartbeat(Heartbeat(name="A", held_by=held_by), CALL)


async def unflushed(bench: Bench) -> CoreOrchestrator:
    """Start a service whose ticks write no renewals for long, which would clear up every doubt at once."""
    service = await bench.start(renewal_flush_s=1000)
    await service.tick()
    return service


def state(service: CoreOrchestrator) -> AgentState:
    agent = service.registry.agent("A")
    assert agent is not None
    return agent.state


async def test_a_lease_that_is_taken_again_in_the_commit_that_would_end_it_goes_on(
    bench: Bench, service: CoreOrchestrator
) -> None:
    await take(service, "one")
    bench.clock.advance(11)
    opened = asyncio.Event()
    bench.store.gate = opened.wait
    first = asyncio.create_task(take(service, "other", "B"))  # the store is slow: what follows goes together
    await asyncio.sleep(0)
    again = asyncio.create_task(take(service, "one"))
    await asyncio.sleep(0)
    ending = asyncio.create_task(service.tick())
    await asyncio.sleep(0)
    opened.set()
    await asyncio.gather(first, again, ending)

    assert state(service) is AgentState.STARTING
    with pytest.raises(AgentHeld):
        await take(service, "two")
    bench.clock.advance(11)
    await service.tick()
    assert state(service) is AgentState.LOST


@pytest.mark.parametrize("has_happened", [False, True])
async def test_a_renewal_waits_for_the_store_while_nobody_knows_whether_the_lease_was_ended(
    bench: Bench, has_happened: bool
) -> None:
    service = await unflushed(bench)
    await take(service, "one")
    await renew(service, "one")
    bench.clock.advance(11)
    failure = StoreUnavailable("gone while the answer was on its way")
    if has_happened:
        bench.store.fail_after = failure
    else:
        bench.store.fail_before = failure
    await service.tick()
    await renew(service, "one")

    with pytest.raises(AgentHeld):
        await take(service, "two")


async def test_who_comes_first_after_that_gets_the_name_and_the_other_is_told(bench: Bench) -> None:
    service = await unflushed(bench)
    await take(service, "one")
    await renew(service, "one")
    bench.clock.advance(11)
    bench.store.fail_after = StoreUnavailable("gone while the answer was on its way")
    await service.tick()
    await take(service, "two")

    with pytest.raises(AgentNotFound):
        await renew(service, "one")


async def test_nobody_is_refused_for_what_the_store_never_acknowledged(bench: Bench) -> None:
    service = await bench.start()
    before = await take(service, "one")
    bench.store.fail_after = StoreUnavailable("written here, and nowhere else")
    with pytest.raises(StoreUnavailable):
        await change(service, before, "1")
    bench.store.fail_before = StoreUnavailable("still")
    with pytest.raises(StoreUnavailable):
        await change(service, before, "2")
    with pytest.raises(VersionConflict):
        await change(service, before, "2")  # the store has taken a commit since
    commits = bench.store.commits
    with pytest.raises(VersionConflict):
        await change(service, before, "2")
    assert bench.store.commits == commits


async def change(service: CoreOrchestrator, seen: Agent, value: str) -> Agent:
    request = UpdateAgent(name="A", metadata={"value": value}, expected_revision=seen.revision)
    return await service.update_agent(request, CALL)
