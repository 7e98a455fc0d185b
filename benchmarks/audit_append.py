"""The audit trail against a plain log: telling, sealing, hashing and storing entries on SQLite.

Run as ``python -m benchmarks.audit_append [--json] [--pairs 10] [--entries 10240]``; exit status 1 when a bar is
missed.
"""

import argparse
import asyncio
import gc
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Row, interleaved_ratios, print_rows, spread
from zejzl_ray.auth.audit_chain import encode_entry, verify_chain
from zejzl_ray.auth.audit_store import StoreAuditSink
from zejzl_ray.auth.audit_trail import AuditTrail, TrailLimits
from zejzl_ray.clock import SystemClock
from zejzl_ray.contracts.audit import AuditEntry, ReadAudit
from zejzl_ray.ids import new_id
from zejzl_ray.store import Store, open_store
from zejzl_ray.store.protocol import Append

CHAIN = "core_orchestrator"
BATCH = TrailLimits().batch


async def open_fresh(folder: Path) -> Store:
    """Return an empty SQLite store."""
    return await open_store(f"sqlite://{folder}", new_id("audit"), clock=SystemClock(), owner="benchmark")


def make_calls(count: int) -> list[dict[str, Any]]:
    """Return what a guard tells of so many denied calls."""
    return [
        {
            "subject": f"user:ada{number % 7}",
            "operation": "core_orchestrator.register_agent",
            "target": f"Agent{number:05d}",
            "outcome": "forbidden",
            "reason": "The caller lacks core_orchestrator:agents:write.",
            "address": "192.168.1.20",
            "request_id": f"req-1f0a9c23d4e5-{number}",
        }
        for number in range(count)
    ]


async def time_trail(folder: Path, calls: Sequence[dict[str, Any]]) -> float:
    """Return how long it takes from telling of the calls until all entries are durable, seconds."""
    store = await open_fresh(folder)
    trail = AuditTrail(CHAIN, StoreAuditSink(store), SystemClock())
    await trail.start()
    stop = asyncio.Event()
    running = asyncio.create_task(trail.run(stop))
    gc.collect()
    started = time.perf_counter()
    await tell_many(trail, calls)
    elapsed_s = time.perf_counter() - started
    stop.set()
    await running
    await store.close()
    return elapsed_s


async def tell_many(trail: AuditTrail, calls: Sequence[dict[str, Any]]) -> None:
    """Tell as fast as the trail takes it, letting other tasks run in between as a service does; then all is durable."""
    for number, call in enumerate(calls):
        trail.record("denied", **call)
        if number % BATCH == BATCH - 1:
            await asyncio.sleep(0)
            if trail.waiting >= 16 * BATCH:
                await trail.flush()
    await trail.flush()


async def make_values(folder: Path, calls: Sequence[dict[str, Any]]) -> list[bytes]:
    """Return the entries of one run as they are stored, after checking that all of them were and that they link."""
    store = await open_fresh(folder)
    sink = StoreAuditSink(store, own_chain=CHAIN)
    trail = AuditTrail(CHAIN, sink, SystemClock())
    await tell_many(trail, calls)
    entries: list[AuditEntry] = []
    while page := (await sink.read(ReadAudit(after=len(entries), limit=1000))).entries:
        entries += page
    await store.close()
    if len(entries) != len(calls) or verify_chain(entries) is not None:
        raise SystemExit("the trail did not keep what it was told")
    return [encode_entry(entry) for entry in entries]


async def time_log(folder: Path, values: list[bytes]) -> float:
    """Return how long the same bytes take as entries of a log, as many in a commit, seconds."""
    store = await open_fresh(folder)
    epoch = await store.take_epoch()
    gc.collect()
    started = time.perf_counter()
    for start in range(0, len(values), BATCH):
        await store.commit([Append("log", value) for value in values[start : start + BATCH]], epoch=epoch)
    elapsed_s = time.perf_counter() - started
    await store.close()
    return elapsed_s


def measure(pairs: int, count: int) -> list[Row]:
    """Compare the rates turn by turn."""
    with asyncio.Runner() as runner, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calls = make_calls(count)
        values = runner.run(make_values(folder, calls))
        runner.run(time_log(folder, values))
        gc.collect()
        gc.freeze()  # what the benchmark itself holds is no work of either side
        ratios, of_log, of_trail = interleaved_ratios(
            lambda: runner.run(time_log(folder, values)), lambda: runner.run(time_trail(folder, calls)), pairs
        )
    size = sum(map(len, values)) / count
    return [
        Row(
            name=f"audit append, {BATCH} entries a flush, SqliteStore: rate",
            unit="x",
            values=spread(ratios, "at least"),
            baseline=f"log append of the same bytes, one entry of the log each, {BATCH} in a commit",
            bar=0.8,
            sense="at least",
            note=f"{spread(of_trail).median / count * 1e6:.1f} us an entry of {size:.0f} bytes, "
            f"{spread(of_log).median / count * 1e6:.1f} us in the plain log",
        )
    ]


def main() -> int:
    """Run all and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    parser.add_argument("--pairs", type=int, default=10, help="interleaved pairs (default 10)")
    parser.add_argument("--entries", type=int, default=40 * BATCH, help="entries a run (default 10240)")
    options = parser.parse_args()
    return (
        0 if print_rows("audit trail", measure(options.pairs, options.entries), is_json=options.json) else 1
    )


if __name__ == "__main__":
    raise SystemExit(main())
