"""The rows of ``benchmarks/bus.py``: what is measured, how often, and against which bar.

Every row is measured turn by turn with its baselines, after one turn that warms up and does not count.
"""

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import psutil

from benchmarks import bus_local
from benchmarks.bus_across import WAITING, NatsAcross, RedisAcross
from benchmarks.bus_baselines.ray_calls import RayPair
from benchmarks.bus_local import LocalBus, OpenLoop
from benchmarks.bus_mail import contents
from benchmarks.bus_product import AcrossOpenLoop, Outbox, ProductAcross, idle_cpu
from benchmarks.own_hosts import MACHINES, OwnHosts, own_hosts
from benchmarks.report import Row, spread

OPEN_PER_S: Final = 15_000
CONTENT: Final = "100 bytes of content, each different"
OLD: Final = "(a) the old bus: asyncio.PriorityQueue, dataclass, wait_for"

Measure = Callable[[], float]


@dataclass
class Bench:
    """What the rows share; servers and hosts start when a row first wants them.

    Attributes:
        pairs: turns of each row.
        stack: ends what was started.
        sustained_s: length of the sustained row.
        scale: of the numbers of messages; 1 for figures that are reported.
    """

    pairs: int
    stack: ExitStack
    sustained_s: float = 600.0
    scale: float = 1.0
    _products: dict[Outbox, ProductAcross] = field(default_factory=dict)

    def many(self, messages: int) -> int:
        """Return a number of messages, scaled, a multiple of 1,000."""
        return max(1000, int(messages * self.scale) // 1000 * 1000)

    def seconds(self, seconds: float) -> float:
        """Return a length of time, scaled."""
        return max(0.5, seconds * self.scale)

    @cached_property
    def nats(self) -> NatsAcross:
        """NATS with its defaults."""
        return self.stack.enter_context(NatsAcross())

    @cached_property
    def nats_synced(self) -> NatsAcross:
        """NATS that syncs each write of JetStream."""
        return self.stack.enter_context(NatsAcross(is_synced=True))

    @cached_property
    def redis(self) -> RedisAcross:
        """Redis pub/sub."""
        return self.stack.enter_context(RedisAcross())

    @cached_property
    def hosts(self) -> OwnHosts:
        """Two Ray nodes and the services that hosts of agents need."""
        return self.stack.enter_context(own_hosts())

    @cached_property
    def ray(self) -> RayPair:
        """Raw actor calls and a queue."""
        assert self.hosts  # it is their cluster
        pair = RayPair(*MACHINES)
        self.stack.callback(pair.close)
        return pair

    def product(self, outbox: Outbox = "") -> ProductAcross:
        """The hosts of agents whose outbox lies there."""
        if outbox not in self._products:
            self._products[outbox] = self.stack.enter_context(ProductAcross(self.hosts, outbox))
        return self._products[outbox]

    def turns(self, measures: Mapping[str, Measure]) -> dict[str, list[float]]:
        """Measure everything turn by turn, in turned order every second time.

        Returns:
            The figures of each, without those of the first turn.
        """
        found: dict[str, list[float]] = {name: [] for name in measures}
        for turn in range(self.pairs + 1):
            for name in list(measures)[:: -1 if turn % 2 else 1]:
                gc.collect()
                figure = measures[name]()
                if turn:
                    found[name].append(figure)
            said = "  ".join(f"{name} {values[-1]:.4g}" for name, values in found.items() if values)
            sys.stderr.write(f"    turn {turn} of {self.pairs}: {said or 'warmed up'}\n")
        return found


def ratios(own: list[float], other: list[float]) -> list[float]:
    """Return the ratio of each turn."""
    return [one / two for one, two in zip(own, other, strict=True)]


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
            f"{_median(found['bus']):,.0f} against {_median(found['old']):,.0f} messages/s",
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
            "at most", f"{_median(found['bus']) * 1e6:.1f} against {_median(found['old']) * 1e6:.1f} µs",
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
    old_misses = _median(found["old"]) > 0.1
    bus_misses = _median(found["bus"]) > 0.1
    missing = sum(loop.missing for loop in loops["bus"])
    absolute = Row(
        f"{what} from entering `send` to return of `receive`", "ms", spread(found["bus"]),
        bar=None if old_misses and bus_misses else 0.1, note=f"{missing} messages lost in all turns",
    )  # fmt: skip
    relative = Row(
        "the same, as a ratio; the bar where the old bus misses 0.1 ms", "x",
        spread(ratios(found["bus"], found["old"])), OLD, 0.5 if old_misses else None, "at most",
        f"the old bus takes {_median(found['old']):.3g} ms",
    )  # fmt: skip
    from_schedule = Row(
        f"{what} from the schedule", "ms", spread(schedule["bus"]),
        note=f"the old bus takes {_median(schedule['old']):.3g} ms",
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


def across_rate(bench: Bench) -> list[Row]:
    """Throughput between two processes."""
    product, nats, redis, ray = bench.product(), bench.nats, bench.redis, bench.ray
    found = bench.turns(
        {
            "bus": lambda: product.rate(bench.many(200_000)),
            "nats": lambda: nats.rate(bench.many(100_000)),
            "nats, iterator": lambda: nats.iterated_rate(bench.many(50_000)),
            "redis": lambda: redis.rate(bench.many(10_000)),
            "redis, pipelined": lambda: redis.rate(bench.many(30_000), is_pipelined=True),
            "ray calls": lambda: ray.rate(bench.many(2_000), is_in_turn=False),
            "ray queue": lambda: ray.queue_rate(max(100, int(300 * bench.scale))),
        }
    )

    def row(other: str, baseline: str, bar: float | None) -> Row:
        return Row(
            f"across, one sender, one receiver, messages/s ({CONTENT})", "x",
            spread(ratios(found["bus"], found[other]), "at least"), baseline, bar, "at least",
            f"{_median(found['bus']):,.0f} against {_median(found[other]):,.0f} messages/s",
        )  # fmt: skip

    return [
        row("nats", "(c) nats-server through nats-py: publish, and a callback", 2.5),
        row(
            "nats, iterator",
            "nats-server through nats-py: publish, and `async for` over the subscription",
            None,
        ),
        row("redis", "(b) Redis pub/sub: one awaited publish a message", 20),
        row("redis, pipelined", "Redis pub/sub: pipelines of 64 publishes", None),
        row("ray calls", "(d) raw Ray actor calls, 200 under way", None),
        row("ray queue", "(e) ray.util.queue, put and got one by one", None),
    ]


def across_eight(bench: Bench) -> list[Row]:
    """Throughput of eight pairs between two processes."""
    product, nats = bench.product(), bench.nats
    found = bench.turns(
        {
            "bus": lambda: product.rate(bench.many(200_000), 8),
            "nats": lambda: nats.rate(bench.many(100_000), 8),
        }
    )
    return [
        Row(
            "across, 8 senders to 8 receivers, messages/s of all", "x",
            spread(ratios(found["bus"], found["nats"]), "at least"),
            "(c) nats-server through nats-py: 8 tasks that publish, 8 callbacks", 1.5, "at least",
            f"{_median(found['bus']):,.0f} against {_median(found['nats']):,.0f} messages/s",
        )
    ]  # fmt: skip


def across_durable(bench: Bench) -> list[Row]:
    """At-least-once mail with a durable outbox."""
    redis, sqlite = bench.product("redis"), bench.product("sqlite")
    nats, synced = bench.nats, bench.nats_synced
    count = bench.many(20_000)
    found = bench.turns(
        {
            "redis": lambda: redis.durable_rate(count),
            "sqlite": lambda: sqlite.durable_rate(count),
            "jetstream": lambda: nats.durable_rate(count),
            "jetstream, synced": lambda: synced.durable_rate(count // 5),
        }
    )
    return [
        Row(
            f"across, at least once, outbox in {name}, {WAITING:,} under way", "x",
            spread(ratios(found[name.lower()], found["jetstream"]), "at least"),
            "JetStream with its default storage (files, synced every two minutes), acknowledged publish and consume",
            3, "at least",
            f"{_median(found[name.lower()]):,.0f} against {_median(found['jetstream']):,.0f} messages/s; "
            f"{_median(found['jetstream, synced']):,.0f} where JetStream syncs each write",
        )
        for name in ("Redis", "SQLite")
    ]  # fmt: skip


def across_request(bench: Bench) -> list[Row]:
    """Request and response between two processes."""
    product, ray = bench.product(), bench.ray
    count = max(50, int(500 * bench.scale))
    found = bench.turns({"bus": lambda: product.ask_p50_s(count), "ray": lambda: ray.ask_p50_s(count)})
    return [
        Row(
            "across, request and response, idle, p50", "x", spread(ratios(found["bus"], found["ray"])),
            "(d) one awaited actor call that answers with a message", 1.3, "at most",
            f"{_median(found['bus']) * 1e3:.3g} against {_median(found['ray']) * 1e3:.3g} ms",
        )
    ]  # fmt: skip


def across_open(bench: Bench) -> list[Row]:
    """Open loop between two processes, and what it costs them."""
    product = bench.product()
    loops: list[AcrossOpenLoop] = []

    def measured() -> float:
        loops.append(product.open_loop(OPEN_PER_S, bench.seconds(10)))
        return loops[-1].loop.from_send_ms

    found = bench.turns({"bus": measured})["bus"]
    loops = loops[1:]
    missing = sum(each.loop.missing for each in loops)
    what = f"across, open loop at {OPEN_PER_S:,}/s in bursts of 16"
    return [
        Row(
            f"{what}, p95 from entering `send` to return of `receive`", "ms", spread(found), bar=2,
            note=f"from the schedule {_median([each.loop.from_schedule_ms for each in loops]):.3g} ms",
        ),
        Row(f"{what}, messages lost in all turns", "messages", spread([float(missing)]), bar=0),
        Row(
            f"{what}, CPU of the sender's process", "% of a core",
            spread([each.sender_cpu * 100 for each in loops]), bar=60,
        ),
        Row(
            f"{what}, CPU of the receiver's process", "% of a core",
            spread([each.receiver_cpu * 100 for each in loops]), bar=60,
        ),
    ]  # fmt: skip


def idle(bench: Bench) -> list[Row]:
    """CPU of a host whose agents have nothing to do."""
    used = idle_cpu(bench.hosts, 50, bench.seconds(20), min(bench.pairs, 3))
    values = [share * 100 for share in used]
    return [Row("idle CPU of a host with 50 agents", "% of a core", spread(values), bar=2)]


ROWS: Final[dict[str, Callable[[Bench], list[Row]]]] = {
    "local-rate": local_rate,
    "local-request": local_request,
    "local-open": local_open,
    "local-agents": local_agents,
    "local-sustained": local_sustained,
    "across-rate": across_rate,
    "across-eight": across_eight,
    "across-durable": across_durable,
    "across-request": across_request,
    "across-open": across_open,
    "idle": idle,
}


def _fresh(
    make: Callable[[], Awaitable[LocalBus]], measure: Callable[[LocalBus], Awaitable[float]]
) -> Measure:
    """Return a measurement with a bus and an event loop of its own."""

    async def run() -> float:
        return await measure(await make())

    return lambda: asyncio.run(run())


def _median(values: list[float]) -> float:
    return spread(values).median
