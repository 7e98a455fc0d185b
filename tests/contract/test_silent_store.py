"""A registry whose Redis says nothing: frozen, or behind a cut cable while another instance takes over."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.contract.silent_relay import SilentRelay
from zejzl_ray.clock import SystemClock
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth
from zejzl_ray.contracts.orchestrator import GetAgent, GetHistory, Heartbeat, RegisterAgent
from zejzl_ray.errors import StoreUnavailable, ZejzlError
from zejzl_ray.orchestrator import CoreOrchestrator, RegistryConfig
from zejzl_ray.store import open_store
from zejzl_ray.store.redis import RedisStore
from zejzl_ray.testing.history import Action, Journal, Outcome, read_journals
from zejzl_ray.testing.history.owners import Hold, double_owners, holds_of
from zejzl_ray.testing.redis_server import RedisServer

CALL = CallContext()
TIMEOUT_S = 1.5
LIMIT_S = 0.5
LEASE_S = 1.0
_LONG_S = 30.0


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


@asynccontextmanager
async def registry(url: str, confirmed_within_s: float = LIMIT_S) -> AsyncIterator[CoreOrchestrator]:
    """Run an instance; it takes over from the one before."""
    store = await open_store(
        url, "core_orchestrator", clock=SystemClock(), owner="a test", redis_timeout_s=TIMEOUT_S
    )
    config = RegistryConfig(tick_s=0.1, confirmed_within_s=confirmed_within_s, renewal_flush_s=3600)
    service, stop = CoreOrchestrator(store, SystemClock(), config), asyncio.Event()
    await service.start()
    running = asyncio.create_task(service.run(stop))
    try:
        yield service
    finally:
        stop.set()
        await running
        await service.stop()
        await store.close()


def process(name: str, **fields: object) -> RegisterAgent:
    return RegisterAgent.model_validate({"name": name, "kind": "process", "lease_s": 60, **fields})


async def until_it_works(ask: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(_LONG_S):
        while True:
            try:
                await ask()
            except StoreUnavailable:
                await asyncio.sleep(0.1)
            else:
                return


async def is_ready(service: CoreOrchestrator) -> None:
    health = await service.health(GetHealth(), CALL)
    if not health.is_ready:
        raise StoreUnavailable(str(health.checks))


async def freeze(server: RedisServer) -> Callable[[], object]:
    os.kill(server.pid, signal.SIGSTOP)
    return lambda: os.kill(server.pid, signal.SIGCONT)


async def test_while_redis_is_frozen_reads_go_on_and_the_rest_is_refused_by_name_and_then_at_once(
    server: RedisServer,
) -> None:
    async with registry(server.url) as service:
        await service.register_agent(process("A"), CALL)
        first = process("B")
        go_on = await freeze(server)
        try:
            with pytest.raises(StoreUnavailable, match=r"no answer.* within 1\.5 s") as caught:
                await service.register_agent(first, CALL)
            assert "may still take effect; repeat it with the same request_id" in caught.value.remedy
            async with asyncio.timeout(
                _LONG_S
            ):  # one after the other with a wait for each they would take 45 s
                for number in range(30):
                    with pytest.raises(StoreUnavailable, match="not sent to the store, which is silent"):
                        await service.register_agent(process(f"C{number}"), CALL)
            with pytest.raises(StoreUnavailable, match="Leases are not renewed"):
                await service.heartbeat(Heartbeat(name="A"), CALL)
            assert (await service.get_agent(GetAgent(name="A"), CALL)).name == "A"
        finally:
            go_on()
        await until_it_works(lambda: service.register_agent(first, CALL))
        await until_it_works(lambda: service.heartbeat(Heartbeat(name="A"), CALL))
        history = await service.get_history(GetHistory(name="B"), CALL)
        assert [event.kind for event in history.events] == ["agent_registered"]
        assert len(service.registry) == 2


async def test_a_cable_that_was_cut_and_is_whole_again_needs_no_hand(server: RedisServer) -> None:
    async with SilentRelay(server.port) as relay, registry(f"redis://127.0.0.1:{relay.port}/0") as service:
        await asyncio.gather(*(service.register_agent(process(f"A{n}"), CALL) for n in range(20)))
        relay.cut()
        command = process("B")
        with pytest.raises(StoreUnavailable, match="no answer"):
            await service.register_agent(command, CALL)
        with pytest.raises(StoreUnavailable):
            await is_ready(service)
        relay.heal()
        await until_it_works(lambda: is_ready(service))  # without a call of anybody
        await service.register_agent(command, CALL)
        history = await service.get_history(GetHistory(name="B"), CALL)
        assert [event.kind for event in history.events] == ["agent_registered"]


async def test_after_a_silence_no_connection_of_before_is_used(server: RedisServer) -> None:
    async with SilentRelay(server.port) as relay:
        url = f"redis://127.0.0.1:{relay.port}/0"
        store = await RedisStore.open(url, "silent", clock=SystemClock(), timeout_s=TIMEOUT_S)
        try:
            await asyncio.gather(*(store.get("k") for _ in range(8)))
            relay.cut()
            with pytest.raises(StoreUnavailable, match="no answer"):
                await store.get("k")
            relay.heal()
            assert store._dropping is not None
            await store._dropping
            assert await asyncio.gather(*(store.get("k") for _ in range(8))) == [None] * 8
        finally:
            await store.close()


async def test_a_time_limit_in_the_address_goes_before_the_setting(server: RedisServer) -> None:
    store = await open_store(
        f"{server.url}?timeout_s=0.3", "silent", clock=SystemClock(), owner="a test", redis_timeout_s=_LONG_S
    )
    go_on = await freeze(server)
    try:
        with pytest.raises(StoreUnavailable, match=r"within 0\.3 s"):
            await store.get("k")
    finally:
        go_on()
        await store.close()


@pytest.mark.parametrize(
    ("old_limit_s", "are_two"),
    [
        pytest.param(LIMIT_S, False, id="renewals are confirmed"),
        pytest.param(60.0, True, id="planted: the one that is cut off renews from memory"),
    ],
)
async def test_no_name_has_two_owners_when_another_instance_takes_over_from_one_that_is_cut_off(
    server: RedisServer, tmp_path: Path, old_limit_s: float, are_two: bool
) -> None:
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(SilentRelay(server.port))
        behind = f"redis://127.0.0.1:{relay.port}/0"
        old = await stack.enter_async_context(registry(behind, old_limit_s))
        one = Owner(old, stack.enter_context(Journal(tmp_path / "one.jsonl", "one")), "one")
        assert await one.take()
        keeping = asyncio.create_task(one.renew_for_ever())
        await asyncio.sleep(2 * LIMIT_S)  # the usual state: renewed, and confirmed now and then
        relay.cut()
        new = await stack.enter_async_context(registry(server.url))
        two = Owner(new, stack.enter_context(Journal(tmp_path / "two.jsonl", "two")), "two")
        async with asyncio.timeout(_LONG_S):
            await two.take_at_last()
        for _ in range(5):
            await asyncio.sleep(LEASE_S / 5)
            await two.renew()
        keeping.cancel()
        await asyncio.wait({keeping})
        relay.heal()

    holds = _holds(tmp_path)
    assert {hold.owner for hold in holds} == {"one", "two"}
    assert bool(double_owners(holds)) is are_two


def _holds(folder: Path) -> list[Hold]:
    return holds_of(read_journals(folder.glob("*.jsonl")))


class Owner:
    """Wants one name for itself, and notes what it was told."""

    def __init__(self, service: CoreOrchestrator, journal: Journal, name: str) -> None:
        self._service = service
        self._journal = journal
        self._name = name

    async def take(self) -> bool:
        asked = process("leader", lease_s=LEASE_S, held_by=self._name)
        return await self._tell(Action.TAKE, self._service.register_agent(asked, CALL))

    async def take_at_last(self) -> None:
        while not await self.take():  # noqa: ASYNC110 - a lease runs out and tells nobody
            await asyncio.sleep(0.05)

    async def renew(self) -> bool:
        beat = Heartbeat(name="leader", held_by=self._name)
        return await self._tell(Action.RENEW, self._service.heartbeat(beat, CALL))

    async def renew_for_ever(self) -> None:
        while True:
            await self.renew()
            await asyncio.sleep(LEASE_S / 5)

    async def _tell(self, action: Action, ask: Awaitable[object]) -> bool:
        call = self._journal.begin(action, "leader", lease_s=LEASE_S)
        try:
            await ask
        except ZejzlError as error:
            self._journal.end(call, Outcome.REFUSED, error=type(error).__name__)
            return False
        self._journal.end(call, Outcome.OK)
        return True
