"""Clients of a registry whose Redis is killed and which is itself replaced: a checker reads what all were told."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.crowd_client import NAMES, REGISTERS, Writer, read_all
from zejzl_ray.clock import SystemClock
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import ServiceUnavailable
from zejzl_ray.orchestrator import CoreOrchestrator
from zejzl_ray.sdk.async_client import AsyncClient
from zejzl_ray.store import Store, open_store
from zejzl_ray.testing.history import Journal, Verdict, judge, read_journals
from zejzl_ray.testing.redis_server import RedisServer

CLIENTS = ("m1", "m2", "p1", "p2")
CALM_S = 1.0

Fault = Callable[["Place"], Coroutine[Any, Any, object]]


class Place:
    """Where the registry runs, and the way to it; a new instance takes over from the one before."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self._service: CoreOrchestrator | None = None
        self._running: list[tuple[CoreOrchestrator, Store, asyncio.Event, asyncio.Task[None]]] = []

    async def start(self) -> None:
        """Start an instance; the one before, if there is one, is not told."""
        store = await open_store(self.server.url, "core_orchestrator", clock=SystemClock(), owner="a test")
        service, stop = CoreOrchestrator(store, SystemClock()), asyncio.Event()
        await service.start()
        self._service = service
        self._running.append((service, store, stop, asyncio.create_task(service.run(stop))))

    def cut(self) -> None:
        """Let no call through until the next start."""
        self._service = None

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        """Run an operation."""
        if self._service is None:
            raise ServiceUnavailable("It is being replaced.")
        reply: Contract = await getattr(self._service, operation.name)(request, call)
        return reply

    async def close(self) -> None:
        """End every instance; safe to repeat."""
        while self._running:
            service, store, stop, task = self._running.pop()
            stop.set()
            await task
            await service.stop()
            await store.close()


async def _redis_dies(place: Place) -> None:
    place.server.kill()
    await asyncio.sleep(0.5)  # longer than some leases have left
    await asyncio.to_thread(place.server.start)


async def _another_takes_over(place: Place) -> None:
    await place.start()


async def _it_is_replaced(place: Place) -> None:
    place.cut()
    await asyncio.sleep(0.3)
    await place.start()


def _judged(directory: Path) -> Verdict:
    return judge(read_journals(directory.glob("*.jsonl")))


@pytest.mark.parametrize("fault", [_redis_dies, _another_takes_over, _it_is_replaced])
async def test_nothing_acknowledged_is_lost_and_no_name_has_two_owners(fault: Fault, tmp_path: Path) -> None:
    await _live(fault, tmp_path)

    verdict = _judged(tmp_path)
    assert verdict.faults == ()
    assert verdict.acknowledged > 20  # 50 or so
    assert verdict.grants >= 1


async def _live(fault: Fault, folder: Path) -> None:
    """Let clients work, let the fault happen, let them go on, and read everything once more."""
    async with AsyncExitStack() as stack:
        place = Place(stack.enter_context(RedisServer()))
        stack.push_async_callback(place.close)
        await place.start()
        client = AsyncClient(place, timeout_s=4.0)
        for register in REGISTERS:
            await client.register(register, metadata={"value": ""})
        tasks = []
        for name in CLIENTS:
            writer = Writer(client, stack.enter_context(Journal(folder / f"{name}.jsonl", name)), name)
            work = [writer.write_for_ever(), *(writer.lead_for_ever(name) for name in NAMES)]
            tasks += [asyncio.create_task(each) for each in work]
        await asyncio.sleep(CALM_S)
        await fault(place)
        await asyncio.sleep(CALM_S)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        last = Writer(client, stack.enter_context(Journal(folder / "last.jsonl", "last")), "last")
        await read_all(last)
