"""The rows of ``benchmarks/bus.py`` that take place between two processes."""

from benchmarks.bus_across import WAITING
from benchmarks.bus_bench import Bench, middle, ratios
from benchmarks.bus_mail import CONTENT, OPEN_PER_S
from benchmarks.bus_product import AcrossOpenLoop, idle_cpu
from benchmarks.report import Row, spread


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
            f"{middle(found['bus']):,.0f} against {middle(found[other]):,.0f} messages/s",
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
            f"{middle(found['bus']):,.0f} against {middle(found['nats']):,.0f} messages/s",
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
            f"{middle(found[name.lower()]):,.0f} against {middle(found['jetstream']):,.0f} messages/s; "
            f"{middle(found['jetstream, synced']):,.0f} where JetStream syncs each write",
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
            f"{middle(found['bus']) * 1e3:.3g} against {middle(found['ray']) * 1e3:.3g} ms",
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
            note=f"from the schedule {middle([each.loop.from_schedule_ms for each in loops]):.3g} ms",
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
