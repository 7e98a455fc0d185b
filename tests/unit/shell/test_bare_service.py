"""A bare service owns its namespace, and says so only while that is true."""

import asyncio

from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import CheckStatus, GetHealth, ServiceHealth
from zejzl_ray.shell import BareService
from zejzl_ray.store import MemoryStore
from zejzl_ray.testing import ManualClock


def new_store() -> MemoryStore:
    return MemoryStore(clock=ManualClock(), name="error_bus")


async def health_of(service: BareService) -> ServiceHealth:
    return await service.health(GetHealth(), CallContext())


async def test_before_the_start_it_is_not_ready() -> None:
    health = await health_of(BareService(new_store()))
    assert (health.is_ready, health.checks[0].reason) == (False, "not opened yet")


async def test_after_the_start_it_is_ready_with_its_epoch() -> None:
    store = new_store()
    await store.take_epoch()
    service = BareService(store)
    await service.start()
    health = await health_of(service)
    assert (health.is_ready, health.epoch, health.checks[0].status) == (True, 2, CheckStatus.OK)


async def test_a_newer_writer_fences_it_and_ends_its_loop() -> None:
    store = new_store()
    service = BareService(store, check_period_s=0.001)
    await service.start()
    await store.take_epoch()
    await asyncio.wait_for(service.run(asyncio.Event()), 10)
    assert service.is_fenced
    assert not (await health_of(service)).is_ready


async def test_a_store_that_is_away_is_a_failed_check_and_no_fence() -> None:
    store = new_store()
    service = BareService(store)
    await service.start()
    await store.close()
    await service.check_store()
    health = await health_of(service)
    assert not service.is_fenced
    assert (health.is_ready, bool(health.checks[0].reason)) == (False, True)


async def test_its_loop_ends_when_told() -> None:
    stop = asyncio.Event()
    service = BareService(new_store(), check_period_s=3600)
    await service.start()
    running = asyncio.create_task(service.run(stop))
    await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(running, 10)
    await service.stop()
    await service.stop()
    assert not service.is_fenced
