"""The rows of ``benchmarks/bus.py`` that take place in one process."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import psutil

from benchmarks import bus_local
from benchmarks.bus_bench import Bench, Measure, middle, ratios
from benchmarks.bus_local import LocalBus, OpenLoop
from benchmarks.bus_mail import CONTENT, OPEN_PER_S, contents
from benchmarks.report import Row, spread

OLD: Final = "(a) the old bus: asyncio.PriorityQueue, dataclass, wait_for"


def local_rate(bench: Bench) -> list[Row]:
    """Throughput in one process."""
    count = bench.many(50_000)
    found = bench.turns(
        {
            "bus": _fresh(bus_local.post_office, lambda bus: bus_local.rate(bus, contents(count * 2))),
            "old": _fresh(bus_local.old_bus, lambda bus: bus_local.rate(bus, contents(count))),
        }
    )
    return [
        Row(
            f"one process, one sender, one receiver, messages/s ({CONTENT})", "x",
            spread(ratios(found["bus"], found["old"]), "at least"), OLD, 8, "at least",
            f"{middle(found['bus']):,.0f} against {middle(found['old']):,.0f} messages/s",
        )
    ]  # fmt: skip


def local_request(bench: Bench) -> list[Row]:
    """Request and response in one process."""
    count = bench.many(3_000)
    found = bench.turns(
        {
            "bus": _fresh(bus_local.post_office, lambda bus: bus_local.request_p50_s(bus, count)),
            "old": _fresh(bus_local.old_bus, lambda bus: bus_local.request_p50_s(bus, count)),
        }
    )
    return [
        Row(
            "one process, request and response, p50", "x", spread(ratios(found["bus"], found["old"])), OLD, 0.3,
            "at most", f"{middle(found['bus']) * 1e6:.1f} against {middle(found['old']) * 1e6:.1f} µs",
        )
    ]  # fmt: skip


def local_open(bench: Bench) -> list[Row]:
    """Open loop in one process."""
    seconds = bench.seconds(5)
    loops: dict[str, list[OpenLoop]] = {"bus": [], "old": []}

    def measured(name: str, make: Callable[[], Awaitable[LocalBus]]) -> Measure:
        async def run(bus: LocalBus) -> float:
            loop = await bus_local.open_loop(bus, OPEN_PER_S, seconds)
            loops[name].append(loop)
            return loop.from_send_ms

        return _fresh(make, run)

    found = bench.turns(
        {"bus": measured("bus", bus_local.post_office), "old": measured("old", bus_local.old_bus)}
    )
    what = f"one process, open loop at {OPEN_PER_S:,}/s in bursts of 16, all default features, p95"
    schedule = {name: [loop.from_schedule_ms for loop in all_[1:]] for name, all_ in loops.items()}
    old_misses = middle(found["old"]) > 0.1
    bus_misses = middle(found["bus"]) > 0.1
    missing = sum(loop.missing for loop in loops["bus"])
    absolute = Row(
        f"{what} from entering `send` to return of `receive`", "ms", spread(found["bus"]),
        bar=None if old_misses and bus_misses else 0.1, note=f"{missing} messages lost in all turns",
    )  # fmt: skip
    relative = Row(
        "the same, as a ratio; the bar where the old bus misses 0.1 ms", "x",
        spread(ratios(found["bus"], found["old"])), OLD, 0.5 if old_misses else None, "at most",
        f"the old bus takes {middle(found['old']):.3g} ms",
    )  # fmt: skip
    from_schedule = Row(
        f"{what} from the schedule", "ms", spread(schedule["bus"]),
        note=f"the old bus takes {middle(schedule['old']):.3g} ms",
    )  # fmt: skip
    return [absolute, relative, from_schedule]


def local_agents(bench: Bench) -> list[Row]:
    """Cost with few and with many agents."""
    count = bench.many(100_000)

    def with_agents(agents: int) -> Measure:
        return _fresh(lambda: bus_local.post_office(agents), lambda bus: bus_local.rate(bus, contents(count)))

    found = bench.turns({"1,000 agents": with_agents(1000), "10 agents": with_agents(10)})
    return [
        Row(
            "cost of a message with 1,000 registered agents against 10", "x",
            spread(ratios(found["10 agents"], found["1,000 agents"])), "itself with 10 agents", 1.3,
        )
    ]  # fmt: skip


def local_sustained(bench: Bench) -> list[Row]:
    """Throughput for a long time, and what it does to memory."""
    process = psutil.Process()
    rates: list[float] = []
    resident_mib: list[float] = []

    async def run() -> None:
        bus, given = await bus_local.post_office(), contents(100_000)
        until_s = time.monotonic() + bench.sustained_s
        while time.monotonic() < until_s:
            rates.append(await bus_local.rate(bus, given))
            resident_mib.append(process.memory_info().rss / 1_048_576)

    asyncio.run(run())
    early = resident_mib[len(resident_mib) // 4]
    return [
        Row(
            f"one process, messages/s sustained for {bench.sustained_s:.0f} s (of each 100,000)", "messages/s",
            spread(rates, "at least"), bar=15_000, sense="at least",
            note=f"resident memory {early:.1f} MiB after a quarter of the time, {resident_mib[-1]:.1f} MiB at the end",
        )
    ]  # fmt: skip


def _fresh(
    make: Callable[[], Awaitable[LocalBus]], measure: Callable[[LocalBus], Awaitable[float]]
) -> Measure:
    """Return a measurement with a bus and an event loop of its own."""

    async def run() -> float:
        return await measure(await make())

    return lambda: asyncio.run(run())
