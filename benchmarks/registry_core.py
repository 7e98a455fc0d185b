"""The registry's core, without Ray: look-ups, memory, bulk registration.

Run as ``python -m benchmarks.registry_core [--json] [--pairs 10]``; exit status 1 when a bar is missed.
"""

import argparse
import asyncio
import gc
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import redis.asyncio

from benchmarks.report import Row, interleaved_ratios, print_rows, spread
from zejzl_ray.clock import SystemClock
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.orchestrator import GetAgent, Heartbeat, ListAgents, RegisterAgent, RegisterAgents
from zejzl_ray.errors import NotFound
from zejzl_ray.ids import new_id
from zejzl_ray.orchestrator import CoreOrchestrator
from zejzl_ray.orchestrator.persistence import encode_agent
from zejzl_ray.store import MemoryStore, Store, open_store
from zejzl_ray.testing.redis_server import RedisServer

MANY, FEW = 10_000, 100
CALL = CallContext()


def registrations(count: int, start: int = 0) -> tuple[RegisterAgent, ...]:
    """Return registrations that look like those of the fleet: 20 capabilities and 3 machines among them."""
    return tuple(
        RegisterAgent(
            name=f"Agent{number:05d}",
            agent_type=f"type{number % 7}",
            kind="process",
            machine=f"pc{number % 3}",
            host="10.0.0.5",
            port=1 + number % 60_000,
            capabilities=(f"cap{number % 20}", f"skill{number}"),
            dependencies=("MemoryHub",),
            metadata={"script_path": f"agents/agent_{number}.py", "slot": number},
        )
        for number in range(start, start + count)
    )


async def serve(count: int) -> CoreOrchestrator:
    """Return a service with so many agents in memory."""
    clock = SystemClock()
    service = CoreOrchestrator(MemoryStore(clock=clock), clock)
    await service.start()
    for start in range(0, count, 500):
        await service.register_agents(
            RegisterAgents(agents=registrations(min(500, count - start), start)), CALL
        )
    return service


def measure_lookups(pairs: int) -> list[Row]:
    """Compare look-ups among 10,000 agents with the same among 100."""
    with asyncio.Runner() as runner:
        many, few = runner.run(serve(MANY)), runner.run(serve(FEW))
        gc.collect()
        gc.freeze()

        def timed(
            service: CoreOrchestrator, ask: Callable[[CoreOrchestrator, int], Awaitable[object]]
        ) -> float:
            async def ask_often() -> float:
                # few agents are asked in both, so that neither gains by what the processor's caches hold
                started = time.perf_counter()
                for turn in range(2000):
                    await ask(service, turn % FEW)
                return time.perf_counter() - started

            return runner.run(ask_often())

        questions: dict[str, Callable[[CoreOrchestrator, int], Awaitable[object]]] = {
            "by name": lambda service, n: service.get_agent(GetAgent(name=f"Agent{n:05d}"), CALL),
            "by capability": lambda service, n: service.list_agents(ListAgents(capability=f"skill{n}"), CALL),
            "by metadata": lambda service, n: service.list_agents(
                ListAgents(metadata_key="slot", metadata_value=str(n)), CALL
            ),
            "first page of a machine": lambda service, n: service.list_agents(
                ListAgents(machine=f"pc{n % 3}", limit=30), CALL
            ),
            "by machine, type and capability": lambda service, n: service.list_agents(
                ListAgents(machine=f"pc{n % 3}", agent_type=f"type{n % 7}", capability=f"skill{n}"), CALL
            ),
        }
        rows = []
        for name, ask in questions.items():
            timed(many, ask), timed(few, ask)
            ratios, of_many, _ = interleaved_ratios(
                partial(timed, many, ask), partial(timed, few, ask), pairs
            )
            rows.append(
                Row(
                    name=f"look-up {name}, {MANY} agents",
                    unit="x",
                    values=spread(ratios),
                    baseline=f"the same look-up among {FEW} agents",
                    bar=1.3,
                    note=f"{spread(of_many).median / 2000 * 1e6:.1f} us each",
                )
            )
        gc.unfreeze()
        return rows


def resident_mib() -> float:
    """Return the memory of this process that is in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measure_memory_here(folder: str) -> float:
    """Return what 10,000 agents with a heartbeat each cost in this process, MiB; for a fresh process."""

    async def fill() -> float:
        clock = SystemClock()
        store = await open_store(f"sqlite://{folder}", "core", clock=clock, owner="benchmark")
        service = CoreOrchestrator(store, clock)
        await service.start()
        await service.register_agents(RegisterAgents(agents=registrations(1)), CALL)
        gc.collect()
        before = resident_mib()
        for start in range(0, MANY, 500):
            await service.register_agents(RegisterAgents(agents=registrations(500, start)), CALL)
        for number in range(MANY):
            await service.heartbeat(Heartbeat(name=f"Agent{number:05d}"), CALL)
        gc.collect()
        used = resident_mib() - before
        await service.stop()
        await store.close()
        return used

    return asyncio.run(fill())


def measure_memory(times: int) -> Row:
    """Measure in child processes, each with nothing else in it."""
    values = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            output = subprocess.run(
                [sys.executable, "-m", "benchmarks.registry_core", "--memory-child", folder],
                check=True,
                capture_output=True,
                text=True,
                timeout=300,
            ).stdout
        values.append(float(output.split()[-1]))
    return Row(
        name=f"memory of {MANY} agents after a heartbeat each, SqliteStore",
        unit="MiB",
        values=spread(values),
        baseline="the empty service in the same process",
        bar=60.0,
    )


async def time_bulk(store: Store) -> float:
    """Return how long one bulk registration of 10,000 agents takes until it is acknowledged."""
    service = CoreOrchestrator(store, SystemClock())
    await service.start()
    request = RegisterAgents(agents=registrations(MANY))
    gc.collect()
    started = time.perf_counter()
    await service.register_agents(request, CALL)
    elapsed_s = time.perf_counter() - started
    await service.stop()
    await store.close()
    return elapsed_s


async def time_sets(port: int, value: bytes, count: int) -> float:
    """Return how long one awaited SET takes, seconds."""
    client = redis.asyncio.Redis(port=port)
    await client.ping()
    started = time.perf_counter()
    for number in range(count):
        await client.set(f"agent:Agent{number:05d}", value)
    elapsed_s = time.perf_counter() - started
    await client.aclose()
    return elapsed_s / count


def measure_bulk(pairs: int) -> list[Row]:
    """Compare a bulk registration with one awaited SET an agent, at a server that syncs and at one that writes nothing.

    The bar is for what is persisted on both sides; the rest is for information.
    """
    rows = []
    with asyncio.Runner() as runner, tempfile.TemporaryDirectory() as folder:
        sample = runner.run(serve(1)).registry.agent("Agent00000")
        assert sample is not None
        value = encode_agent(sample)
        for kind, is_durable in (("no append-only file", False), ("appendfsync always", True)):
            with RedisServer(is_durable=is_durable) as server:
                redis_url = f"redis://127.0.0.1:{server.port}"
                urls = {
                    "MemoryStore": ["memory://"] * pairs,
                    "SqliteStore": [f"sqlite://{folder}/{kind[:2]}{turn}" for turn in range(pairs)],
                    "RedisStore": [f"{redis_url}/{1 + turn % 15}" for turn in range(pairs)],
                }
                for name, each in urls.items():
                    row = compare_bulk(runner, name, each, server.port, value)
                    rows.append(
                        replace(
                            row,
                            baseline=f"one awaited SET of {len(value)} bytes an agent ({kind})",
                            bar=8.0 if is_durable and name != "MemoryStore" else None,
                        )
                    )
    return rows


def compare_bulk(runner: asyncio.Runner, name: str, urls: list[str], port: int, value: bytes) -> Row:
    """Compare one store, at a fresh place each time, with SETs to the server at ``port``."""
    places = iter(urls)

    def bulk() -> float:
        async def run() -> float:
            store = await open_store(next(places), new_id("core"), clock=SystemClock(), owner="benchmark")
            return await time_bulk(store) / MANY

        return runner.run(run())

    def sets() -> float:
        return runner.run(time_sets(port, value, 1000))

    ratios, of_set, of_bulk = interleaved_ratios(sets, bulk, len(urls))
    return Row(
        name=f"bulk registration of {MANY} agents, {name}: rate",
        unit="x",
        values=spread(ratios, "at least"),
        sense="at least",
        note=f"{spread(of_bulk).median * 1e6:.1f} us an agent, {spread(of_set).median * 1e6:.1f} us a SET",
    )


def main() -> int:
    """Run all and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    parser.add_argument("--pairs", type=int, default=10, help="interleaved pairs a row (default 10)")
    parser.add_argument("--memory-child", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_child:
        print(measure_memory_here(options.memory_child))
        return 0
    rows = [*measure_lookups(options.pairs), measure_memory(3)]
    try:
        rows += measure_bulk(options.pairs)
    except NotFound as error:
        print(f"bulk registration left out: {error}", file=sys.stderr)
    return 0 if print_rows("registry core", rows, is_json=options.json) else 1


if __name__ == "__main__":
    raise SystemExit(main())
