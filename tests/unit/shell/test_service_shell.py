"""The life of a service: start with patience, serve, end in order, whatever goes wrong on the way."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import Check, CheckStatus, GetHealth, ServiceHealth
from zejzl_ray.errors import ServiceUnavailable, StoreUnavailable, Unauthenticated
from zejzl_ray.shell import Identity, Presence, ServiceShell
from zejzl_ray.shell.health_server import HealthServer
from zejzl_ray.store import MemoryStore
from zejzl_ray.store.protocol import Store
from zejzl_ray.testing import ManualClock

LIMIT_S = 10


class WatchedStore(MemoryStore):
    """A memory store that says whether it was closed."""

    def __init__(self) -> None:
        super().__init__(clock=ManualClock(), name="error_bus")
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1
        await super().close()


class FakeService:
    """A service whose steps the test replaces."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.is_fenced = False
        self.stopped = 0
        self.running = asyncio.Event()
        self.on_start: Callable[[], Awaitable[None]] | None = None
        self.on_run: Callable[[], Awaitable[None]] | None = None
        self.on_health: Callable[[], Awaitable[None]] | None = None
        self.on_stop: Callable[[], Awaitable[None]] | None = None

    async def start(self) -> None:
        if self.on_start is not None:
            await self.on_start()

    async def run(self, stop_event: asyncio.Event) -> None:
        self.running.set()
        await (self.on_run() if self.on_run is not None else stop_event.wait())

    async def health(self, request: GetHealth, call: CallContext) -> ServiceHealth:
        if self.on_health is not None:
            await self.on_health()
        check = Check(name="store", status=CheckStatus.OK)
        return ServiceHealth(service="", is_ready=True, checks=(check,), epoch=7)

    async def stop(self) -> None:
        self.stopped += 1
        if self.on_stop is not None:
            await self.on_stop()


@dataclass
class House:
    """A shell with everything around it, as the test sees it."""

    stores: list[WatchedStore] = field(default_factory=list)
    services: list[FakeService] = field(default_factory=list)
    fatal: list[str] = field(default_factory=list)
    open_errors: list[Exception] = field(default_factory=list)
    prepare: Callable[[FakeService], None] = lambda service: None

    async def open_store(self) -> Store:
        if self.open_errors:
            raise self.open_errors.pop(0)
        self.stores.append(WatchedStore())
        return self.stores[-1]

    def build(self, store: Store) -> FakeService:
        service = FakeService(store)
        self.prepare(service)
        self.services.append(service)
        return service

    def shell(self, **options: Any) -> ServiceShell[FakeService]:
        given = {
            "open_store": self.open_store,
            "build": self.build,
            "clock": ManualClock(50.0),
            "on_fatal": self.fatal.append,
            "first_wait_s": 0.001,
            **options,
        }
        return ServiceShell(Identity("error_bus", "pc2", "node-1"), **given)


@pytest.fixture
def house() -> House:
    return House()


async def ready(shell: ServiceShell[FakeService]) -> FakeService:
    shell.launch()
    service = await asyncio.wait_for(shell.service(), LIMIT_S)
    await asyncio.wait_for(service.running.wait(), LIMIT_S)
    return service


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - conditions have no event
            await asyncio.sleep(0.001)


async def refusal(shell: ServiceShell[FakeService]) -> str:
    with pytest.raises(ServiceUnavailable) as caught:
        await asyncio.wait_for(shell.service(), LIMIT_S)
    return str(caught.value)


async def test_a_ready_service_is_handed_out_and_its_health_is_completed(house: House) -> None:
    shell = house.shell()
    service = await ready(shell)
    assert await shell.service() is service
    health = await shell.health()
    assert (health.service, health.machine, health.node_id) == ("error_bus", "pc2", "node-1")
    assert (health.is_ready, health.epoch, health.pid, health.started_at_s) == (True, 7, os.getpid(), 50.0)
    await shell.stop()


async def test_stop_ends_everything_in_order_and_is_safe_to_repeat(house: House) -> None:
    shell = house.shell()
    service = await ready(shell)
    await shell.stop()
    await shell.stop()
    assert (service.stopped, house.stores[0].closed, house.fatal) == (1, 1, [])
    assert await refusal(shell) == "error_bus is not ready: stopping."


async def test_a_second_launch_and_a_launch_after_stop_start_nothing(house: House) -> None:
    shell = house.shell()
    await ready(shell)
    shell.launch()
    await shell.stop()
    shell.launch()
    await asyncio.sleep(0)
    assert len(house.stores) == 1


async def test_stop_without_launch_does_nothing(house: House) -> None:
    shell = house.shell(ready_wait_s=3600)
    await shell.stop()
    assert "stopping" in await refusal(shell)


async def test_an_absent_store_is_waited_for(house: House) -> None:
    house.open_errors = [StoreUnavailable("Redis is away.", "Start it."), OSError("odd")]
    shell = house.shell()
    service = await ready(shell)
    assert service.store is house.stores[0]
    await shell.stop()


async def test_while_it_starts_the_reason_is_told(house: House) -> None:
    house.open_errors = [StoreUnavailable("Redis is away.", "Start it.")]
    shell = house.shell(first_wait_s=3600, ready_wait_s=0.001)
    shell.launch()
    await until(lambda: not house.open_errors)
    health = await shell.health()
    assert (health.is_ready, health.epoch) == (False, 0)
    assert health.checks[0].reason == "Redis is away. Start it."
    assert await refusal(shell) == "error_bus is not ready: Redis is away. Start it."
    await shell.stop()


async def test_a_foreign_error_at_the_start_shows_its_class_only(house: House) -> None:
    house.open_errors = [OSError("secret path")]
    shell = house.shell(first_wait_s=3600, ready_wait_s=0.001)
    shell.launch()
    await until(lambda: not house.open_errors)
    assert await refusal(shell) == "error_bus is not ready: internal error (OSError)."
    await shell.stop()


async def test_stop_ends_the_pause_before_the_next_try_and_the_waiting_of_callers(house: House) -> None:
    house.open_errors = [StoreUnavailable("away")]
    shell = house.shell(first_wait_s=3600, ready_wait_s=3600)
    shell.launch()
    waiting = asyncio.create_task(refusal(shell))
    await until(lambda: not house.open_errors)
    await asyncio.wait_for(shell.stop(), LIMIT_S)
    assert await waiting == "error_bus is not ready: stopping."
    assert house.stores == []


@pytest.mark.parametrize("place", ["build", "start"])
async def test_a_start_that_fails_closes_its_store(house: House, place: str) -> None:
    async def fail() -> None:
        raise StoreUnavailable("away")

    def prepare(service: FakeService) -> None:
        if len(house.stores) > 1:
            return
        if place == "build":
            raise ValueError("odd")
        service.on_start = fail

    house.prepare = prepare
    shell = house.shell()
    await ready(shell)
    assert [store.closed for store in house.stores] == [1, 0]
    await shell.stop()


async def test_stop_during_a_start_that_succeeds_ends_that_service_again(house: House) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        begun.set()
        await go_on.wait()

    house.prepare = lambda service: setattr(service, "on_start", slow)
    shell = house.shell()
    shell.launch()
    await asyncio.wait_for(begun.wait(), LIMIT_S)
    stopping = asyncio.create_task(shell.stop())
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait_for(stopping, LIMIT_S)
    assert (house.services[0].stopped, house.stores[0].closed, house.fatal) == (1, 1, [])


async def test_stop_during_a_start_that_hangs_cancels_it_and_closes_the_store(house: House) -> None:
    begun = asyncio.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    house.prepare = lambda service: setattr(service, "on_start", hang)
    shell = house.shell(stop_timeout_s=0.001)
    shell.launch()
    await asyncio.wait_for(begun.wait(), LIMIT_S)
    await asyncio.wait_for(shell.stop(), LIMIT_S)
    assert (house.stores[0].closed, house.fatal) == (1, [])


async def test_stop_during_a_loop_that_hangs_cancels_it_and_ends_in_order(house: House) -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    house.prepare = lambda service: setattr(service, "on_run", hang)
    shell = house.shell(stop_timeout_s=0.001)
    service = await ready(shell)
    await asyncio.wait_for(shell.stop(), LIMIT_S)
    assert (service.stopped, house.stores[0].closed, house.fatal) == (1, 1, [])


async def test_a_fenced_service_ends_the_process(house: House) -> None:
    over = asyncio.Event()

    def prepare(service: FakeService) -> None:
        async def fenced() -> None:
            await over.wait()
            service.is_fenced = True

        service.on_run = fenced

    house.prepare = prepare
    shell = house.shell()
    service = await ready(shell)
    over.set()
    await until(lambda: bool(house.fatal))
    assert house.fatal == ["a newer instance has taken over"]
    assert (service.stopped, house.stores[0].closed) == (1, 1)
    assert "newer instance" in await refusal(shell)
    await shell.stop()
    assert house.fatal == ["a newer instance has taken over"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(None, "its loop ended"), (KeyError("secret"), "its loop failed: KeyError")],
)
async def test_a_loop_that_ends_or_fails_ends_the_process(
    house: House, error: Exception | None, reason: str
) -> None:
    async def end() -> None:
        if error is not None:
            raise error

    house.prepare = lambda service: setattr(service, "on_run", end)
    shell = house.shell()
    shell.launch()
    await until(lambda: bool(house.fatal))
    assert house.fatal == [reason]
    assert house.stores[0].closed == 1


@pytest.mark.parametrize("error", [StoreUnavailable("away"), RuntimeError("odd")])
async def test_a_stop_that_fails_still_closes_the_store(house: House, error: Exception) -> None:
    async def fail() -> None:
        raise error

    house.prepare = lambda service: setattr(service, "on_stop", fail)
    shell = house.shell()
    await ready(shell)
    await shell.stop()
    assert house.stores[0].closed == 1


async def test_a_service_that_cannot_say_how_it_is_is_not_ready(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zejzl_ray.shell.service_shell._HEALTH_TIMEOUT_S", 0.001)
    shell = house.shell()
    service = await ready(shell)

    async def fail() -> None:
        raise KeyError("secret")

    async def hang() -> None:
        await asyncio.Event().wait()

    service.on_health = fail
    health = await shell.health()
    assert (health.is_ready, health.checks[0].reason) == (False, "internal error (KeyError)")
    service.on_health = hang
    health = await shell.health()
    assert (health.is_ready, health.checks[0].reason) == (False, "no answer within 0.001 s")
    await shell.stop()


async def nobody(what: str, authorization: bytes | None) -> None:
    raise Unauthenticated("nobody is admitted")


async def test_its_health_is_served_from_the_first_moment_until_stop(house: House) -> None:
    server = HealthServer("127.0.0.1", 0, nobody)
    house.open_errors = [StoreUnavailable("away")]
    shell = house.shell(health_server=server, first_wait_s=3600)
    shell.launch()
    await until(lambda: not house.open_errors)
    health = await shell.health()
    assert [check.name for check in health.checks] == ["started", "health_port"]
    assert health.checks[1].status is CheckStatus.OK
    await shell.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", server.port)


async def test_a_taken_health_port_leaves_the_service_ready(house: House) -> None:
    server = HealthServer("no.such.host.invalid", 0, nobody)
    shell = house.shell(health_server=server)
    await ready(shell)
    health = await shell.health()
    assert health.is_ready
    assert health.checks[-1].status is CheckStatus.DEGRADED
    await shell.stop()


async def test_a_health_server_that_breaks_leaves_the_service_ready(house: House) -> None:
    class Broken(HealthServer):
        async def start(self, health: Callable[[], Awaitable[ServiceHealth]]) -> None:
            raise RuntimeError("odd")

    shell = house.shell(health_server=Broken("127.0.0.1", 0, nobody))
    await ready(shell)
    assert (await shell.health()).is_ready
    await shell.stop()


class FakePresence(Presence):
    """Reports once, then waits for the end; may refuse to end."""

    def __init__(self, *, is_stubborn: bool = False) -> None:
        self.seen: list[ServiceHealth] = []
        self.is_stubborn = is_stubborn
        self.is_over = False

    async def run(self, health: Callable[[], Awaitable[ServiceHealth]], stop_event: asyncio.Event) -> None:
        self.seen.append(await health())
        await (asyncio.Event() if self.is_stubborn else stop_event).wait()
        self.is_over = True


async def test_presence_reports_while_the_service_lives(house: House) -> None:
    presence = FakePresence()
    shell = house.shell(presence=presence)
    await ready(shell)
    await until(lambda: bool(presence.seen))
    assert presence.seen[0].is_ready
    await shell.stop()
    assert presence.is_over


async def test_presence_that_does_not_end_is_cancelled(house: House) -> None:
    presence = FakePresence(is_stubborn=True)
    shell = house.shell(presence=presence, stop_timeout_s=0.05)
    await ready(shell)
    await until(lambda: bool(presence.seen))
    await asyncio.wait_for(shell.stop(), LIMIT_S)
    assert (house.stores[0].closed, presence.is_over) == (1, False)
