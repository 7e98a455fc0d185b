import asyncio
import logging
from collections.abc import Callable

import pytest

from serve_apps.config import IngressConfig
from serve_apps.registry_replica import RegistryReplica
from tests.unit.serve_apps.fake_registry import FakeRegistry
from tests.unit.serve_apps.running import QUICK, Ingress, StartIngress
from zejzl_ray.clock import SystemClock
from zejzl_ray.errors import ServiceUnavailable
from zejzl_ray.testing import ManualClock


async def turns(count: int = 20) -> None:
    """Let waiting tasks run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # conditions of parts that announce nothing
            await asyncio.sleep(0.001)


async def until_called(registry: FakeRegistry, name: str, times: int) -> None:
    await until(lambda: len(registry.calls_of(name)) >= times)


async def test_changes_arrive_without_reading_everything_again(ingress: Ingress) -> None:
    ingress.registry.put("Coder")
    await ingress.settle()
    ingress.registry.remove("Coder")
    ingress.registry.put("Tester")
    await ingress.settle()
    assert list(ingress.replica.copy().names) == ["Tester"]
    assert len(ingress.registry.calls_of("get_snapshot")) == 1


async def test_reads_are_refused_until_there_is_a_copy() -> None:
    replica = RegistryReplica(FakeRegistry(), SystemClock(), QUICK)
    assert not replica.is_following
    with pytest.raises(ServiceUnavailable, match="no copy yet"):
        replica.copy()
    with pytest.raises(ServiceUnavailable):
        replica.machines()


async def test_the_age_is_counted_and_reads_end_at_the_bound(start_ingress: StartIngress) -> None:
    clock = ManualClock()
    ingress = await start_ingress(clock=clock)
    await ingress.settle()
    assert ingress.replica.staleness_s == 0
    ingress.registry.failure = ServiceUnavailable("core_orchestrator is away.")
    await until_called(ingress.registry, "watch_agents", 3)
    before_s = ingress.replica.staleness_s
    clock.advance(QUICK.max_staleness_s - before_s)
    assert ingress.replica.copy() is not None
    assert ingress.replica.why_not_fresh() == ""
    clock.advance(0.001)
    with pytest.raises(ServiceUnavailable, match=r"5\.0 s old; core_orchestrator is away"):
        ingress.replica.copy()
    with pytest.raises(ServiceUnavailable):
        ingress.replica.machines()


async def test_an_answered_watch_makes_the_copy_fresh_again(start_ingress: StartIngress) -> None:
    clock = ManualClock()
    ingress = await start_ingress(clock=clock)
    await ingress.settle()
    clock.advance(100)
    seen = len(ingress.registry.calls_of("watch_agents"))
    await until_called(ingress.registry, "watch_agents", seen + 3)
    assert ingress.replica.staleness_s == 0


async def test_after_an_outage_following_goes_on_where_it_was(ingress: Ingress) -> None:
    ingress.registry.failure = ConnectionResetError("gone")
    seen = len(ingress.registry.calls_of("watch_agents"))
    ingress.registry.put("Missed")
    await until_called(ingress.registry, "watch_agents", seen + 2)
    ingress.registry.failure = None
    await ingress.settle()
    assert list(ingress.replica.copy().names) == ["Missed"]
    assert ingress.replica.is_following


async def test_when_the_history_is_gone_the_whole_registry_is_read_again(ingress: Ingress) -> None:
    registry = ingress.registry
    registry.put("Coder")
    await ingress.settle()
    registry.revision = 50
    registry.floor = 49
    registry.events.clear()
    await until_called(registry, "get_snapshot", 2)
    await ingress.settle()
    assert ingress.replica.revision == 50
    assert list(ingress.replica.copy().names) == ["Coder"]


async def test_a_registry_that_went_back_is_read_again(ingress: Ingress) -> None:
    registry = ingress.registry
    for number in range(3):
        registry.put(f"A{number}")
    await ingress.settle()
    registry.agents.clear()
    registry.events.clear()
    registry.revision = 0
    await until(lambda: len(ingress.replica.copy()) == 0)
    assert ingress.replica.revision == 0


async def test_renewal_times_are_copied_after_their_period(start_ingress: StartIngress) -> None:
    clock = ManualClock()
    ingress = await start_ingress(clock=clock)
    registry = ingress.registry
    registry.put("Coder")
    await ingress.settle()
    registry.agents["Coder"] = registry.agents["Coder"].model_copy(update={"last_seen_at_s": 7.0})
    clock.advance(QUICK.renewals_period_s)
    await until(lambda: ingress.replica.staleness_s == 0)
    await until(lambda: b'"last_seen_at_s":7.0' in (ingress.replica.copy().body("Coder") or b""))
    assert ingress.replica.revision == 1


async def test_a_restarted_registry_is_read_again_at_the_next_renewal(start_ingress: StartIngress) -> None:
    clock = ManualClock()
    ingress = await start_ingress(clock=clock)
    await ingress.settle()
    ingress.registry.boot = "boot-2"
    clock.advance(QUICK.renewals_period_s)
    await until(lambda: ingress.replica.staleness_s == 0)
    await until(lambda: ingress.replica.copy().boot == "boot-2")


async def test_waiting_for_a_revision_ends_with_it_or_says_so(ingress: Ingress) -> None:
    waiting = asyncio.create_task(ingress.replica.wait_for_revision(1))
    ingress.registry.put("Coder")
    await waiting
    with pytest.raises(ServiceUnavailable, match=r"query\.min_revision: .* revision 1, before 9"):
        await ingress.replica.wait_for_revision(9)


async def test_stopping_ends_the_tasks_and_the_waits_and_is_safe_to_repeat(ingress: Ingress) -> None:
    waiting = asyncio.create_task(ingress.replica.wait_for_change(60))
    await turns()
    await ingress.replica.stop()
    await asyncio.wait_for(waiting, 1)
    await asyncio.wait_for(ingress.replica.wait_for_change(60), 1)
    await ingress.replica.stop()
    assert not ingress.replica.is_following


async def test_an_outage_is_logged_once_and_an_unexpected_error_always(
    start_ingress: StartIngress, caplog: pytest.LogCaptureFixture
) -> None:
    registry = FakeRegistry()
    registry.failures["list_machines"] = ServiceUnavailable("away")
    registry.failures["get_snapshot"] = KeyError("odd")
    with caplog.at_level(logging.WARNING, "zejzl.ingress"):
        await start_ingress(registry=registry, config=IngressConfig(poll_s=0.01))
        await until_called(registry, "list_machines", 3)
        await until_called(registry, "get_snapshot", 3)
        await turns()
    texts = [record.getMessage() for record in caplog.records]
    assert sum("ServiceUnavailable" in text for text in texts) == 1
    assert sum("KeyError" in text for text in texts) >= 2
