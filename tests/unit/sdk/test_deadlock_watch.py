"""Deadlocks over the SDK: listed, and followed over pauses."""

import asyncio

import pytest

from tests.unit.observability.hub_bench import Bench, InProcess, plant, turns
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.observability_hub import DeadlockBatch, DeadlockEvent, ListDeadlocks, WatchDeadlocks
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import Forbidden, ServiceUnavailable, ZejzlError
from zejzl_ray.sdk.async_client import AsyncClient
from zejzl_ray.sdk.client import Client
from zejzl_ray.sdk.patience import Patience

AT_ONCE = Patience(attempts=None, first_wait_s=0.0, longest_wait_s=0.0)


class Interrupted:
    """A way to the hub that breaks down once before each answer to a watch."""

    def __init__(self, inner: InProcess, error: ZejzlError) -> None:
        self._inner = inner
        self._error = error
        self._breaks = True

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        if isinstance(request, WatchDeadlocks):
            self._breaks = not self._breaks
            if not self._breaks:
                raise self._error
        return await self._inner.call(operation, request, call)

    async def close(self) -> None: ...


async def test_what_is_kept_is_listed_and_the_status_told() -> None:
    async with Bench().hub() as hub:
        await plant(hub, "A", "B")
        await plant(hub, "C", "D")
        async with AsyncClient(InProcess(hub)) as client:
            assert [event.revision for event in await client.deadlocks()] == [2, 1]
            assert [event.revision for event in await client.deadlocks("A", limit=5)] == [1]
            assert (await client.deadlock_status()).detected == 2
            assert (await client.observability.list_deadlocks(ListDeadlocks())).revision == 2


async def test_each_deadlock_is_yielded_once_though_the_way_breaks_down() -> None:
    async with Bench().hub() as hub:
        await plant(hub, "A", "B")
        caller = Interrupted(InProcess(hub), ServiceUnavailable("away"))
        async with AsyncClient(caller, patience=AT_ONCE) as client:
            seen: list[DeadlockEvent] = []
            async for event in client.watch_deadlocks(0):
                seen.append(event)
                if event.revision == 3:
                    break
                await plant(hub, f"X{event.revision}", f"Y{event.revision}")
            assert [event.revision for event in seen] == [1, 2, 3]


async def test_without_a_revision_the_watch_begins_with_the_next_one() -> None:
    async with Bench().hub() as hub:
        await plant(hub, "A", "B")
        async with AsyncClient(InProcess(hub)) as client:
            events = client.watch_deadlocks()
            coming = asyncio.ensure_future(anext(events))
            await turns(lambda: bool(hub._watchers))
            await plant(hub, "C", "D")
            assert (await coming).revision == 2
            await events.aclose()


async def test_a_watch_ends_quietly_with_its_time() -> None:
    async with Bench().hub() as hub, AsyncClient(InProcess(hub)) as client:
        assert [event async for event in client.watch_deadlocks(0, timeout_s=0.05)] == []


async def test_a_refusal_ends_the_watch() -> None:
    async with Bench().hub() as hub:
        caller = Interrupted(InProcess(hub), Forbidden("no"))
        async with AsyncClient(caller, patience=AT_ONCE) as client:
            with pytest.raises(Forbidden):
                await anext(client.watch_deadlocks(0))


def test_blocking_code_has_the_same() -> None:
    bench = Bench()

    async def prepared() -> DeadlockBatch:
        async with bench.hub() as hub:
            await plant(hub, "A", "B")
            return await hub.watch_deadlocks(WatchDeadlocks(from_revision=0, timeout_s=0), CallContext())

    batch = asyncio.run(prepared())

    class Kept:
        async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
            async with bench.hub() as hub:
                return await InProcess(hub).call(operation, request, call)

        async def close(self) -> None: ...

    with Client(AsyncClient(Kept())) as client:
        assert client.deadlocks("A") == list(batch.events)
        assert client.deadlock_status().detected == 1
        assert list(client.watch_deadlocks(0, timeout_s=0.05)) == list(batch.events)
