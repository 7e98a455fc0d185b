"""An hour of mixed mail between two hosts of agents, and the resident memory of every process meanwhile.

Run: ``python -m benchmarks.soak [--minutes 60] [--per-s 3000] [--output build/soak]``. Local and remote mail, requests,
requests out of handlers of requests, a topic and mail that is sent at least once flow all the time. Every 10 s the
memory of every process of the cluster is sampled; the bar is for what it grows by after the first quarter, in which
rings and caches fill. Nobody is stuck, so the hub must tell of no deadlock. Writes ``memory.png`` and ``soak.json``.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from benchmarks.bus_machine import machine_line
from benchmarks.own_hosts import MACHINES, AgentToRun, Host, OwnHosts, own_hosts
from benchmarks.report import Row, print_rows, spread
from benchmarks.soak_agents import ERRAND_WAY, Talker
from benchmarks.soak_memory import MemoryLine, MemorySampler, draw
from zejzl_ray.cluster.node_processes import find_node_processes
from zejzl_ray.log import configure_logging

if TYPE_CHECKING:
    from benchmarks.soak_deadlocks import DeadlockWatch  # it imports Ray

TALKERS: Final = 4  # of each host
BEAT_S: Final = 0.02
SAMPLE_S: Final = 10.0
ASK_EVERY: Final = 3  # samples between two questions to the hub
SETTLE_S: Final = 5.0
BAR_MB: Final = 1.0
# kind of mail -> how many of it one message or request makes; an errand counts each of its steps
_COPIES: Final = {"chat": 1, "question": 1, "errand": 1, "kept": 1, "news": 2 * TALKERS - 1}
_REQUESTS: Final = ("question", "errand")
_ENTRY: Final = f"{Talker.__module__}:{Talker.__qualname__}"


@dataclass(frozen=True, slots=True)
class Soaked:
    """What was seen.

    Attributes:
        lines: memory of each process.
        counts: of the talkers, after all mail has arrived.
        took_s: how long they talked.
        deadlocks: that the hub told of.
        asked: how many times the hub was asked for them.
        most_busy: the most agents that the hub told of as busy at once.
        problem: why the hub could not tell at the end; empty when it could.
    """

    lines: Sequence[MemoryLine]
    counts: Counter[str]
    took_s: float
    deadlocks: int
    asked: int
    most_busy: int
    problem: str


def start_talkers(hosts: OwnHosts, per_s: float) -> tuple[Host, ...]:
    """Start both hosts; each talker has a neighbour and somebody far away, and all talk ``per_s`` messages together."""
    burst = max(1, round(per_s * BEAT_S / (2 * TALKERS * 2)))
    names = [[f"{side}{number}" for number in range(TALKERS)] for side in ("East", "West")]
    started = []
    for side, (own, others) in enumerate((names, names[::-1])):
        agents = tuple(
            AgentToRun(
                name,
                _ENTRY,
                {
                    "near": own[(number + 1) % TALKERS], "far": others[number], "beat_s": BEAT_S, "burst": burst,
                },
            )
            for number, name in enumerate(own)
        )  # fmt: skip
        started.append(hosts.start(("East", "West")[side], MACHINES[side], agents))
    for host, own, others in zip(started, names, names[::-1], strict=True):
        host.call("greet", tuple(zip(own, others, strict=True)), "hello")
    return tuple(started)


def process_names(hosts: OwnHosts, talking: Sequence[Host]) -> dict[int, str]:
    """Return all processes of the cluster and this one: process id -> name."""
    own = {int(host.call("pid")): f"host {host.name}" for host in talking}
    found = {psutil.Process().pid: "this benchmark"}
    for process in find_node_processes(hosts.cluster_id):
        try:
            words = process.cmdline()
            name = process.name()
        except psutil.Error:
            continue
        title = words[0] if words else name
        if title.startswith("ray::IDLE"):
            continue  # comes and goes
        title = title if title.startswith("ray") else f"{name} {process.pid}"
        found[process.pid] = own.get(process.pid) or title.partition(".")[0]
    return found


def totals(talking: Sequence[Host]) -> Counter[str]:
    """Return the sums of what all talkers count."""
    found: Counter[str] = Counter()
    for host in talking:
        metrics: Mapping[str, Mapping[str, Any]] = host.call("metrics")
        for counts in metrics.values():
            found.update({name: count for name, count in counts.items() if isinstance(count, int)})
    return found


def soak(hosts: OwnHosts, per_s: float, minutes: float) -> Soaked:
    """Let them talk, and look at them."""
    talking = start_talkers(hosts, per_s)
    with hosts.watch_deadlocks() as watch:
        for host in talking:
            host.call("tell_all", "talk")
        sampler = MemorySampler(process_names(hosts, talking))
        took_s = _look(sampler, watch, talking, max(1, round(minutes * 60 / SAMPLE_S)))
        for host in talking:
            host.call("tell_all", "hush")
        time.sleep(SETTLE_S)
        watch.ask()
        return Soaked(
            tuple(sampler.lines.values()), totals(talking), took_s,
            watch.detected, watch.asked, watch.most_busy, watch.problem,
        )  # fmt: skip


def _look(sampler: MemorySampler, watch: "DeadlockWatch", talking: Sequence[Host], samples: int) -> float:
    """Sample so many times; return how long it took, seconds."""
    began_s = time.monotonic()
    for number in range(1, samples + 1):
        time.sleep(max(0.0, began_s + number * SAMPLE_S - time.monotonic()))
        for ended in sampler.sample(time.monotonic() - began_s):
            sys.stderr.write(f"{ended} has ended\n")
        if not number % ASK_EVERY:
            watch.ask()
        if not number % 30 or number == samples:
            said = f"deadlocks: {watch.detected}, {watch.problem or f'asked {watch.asked} times'}"
            sys.stderr.write(f"minute {number * SAMPLE_S / 60:g}: {said}; {dict(totals(talking))}\n")
    return time.monotonic() - began_s


def rows_of(soaked: Soaked, since_s: float) -> list[Row]:
    """Return the growth of each process, whether all mail arrived, and whether anybody was called stuck."""

    def growth(line: MemoryLine, bar: float | None, more: str = "") -> Row:
        last_mb = line.resident_bytes[-1] / 1e6 if line.resident_bytes else 0.0
        return Row(
            f"{line.name}{more}: growth of resident memory after minute {since_s / 60:.3g}", "MB",
            spread([line.growth_bytes(since_s) / 1e6]), bar=bar, note=f"{last_mb:.0f} MB at the end",
        )  # fmt: skip

    counts, took_s = soaked.counts, soaked.took_s
    ordered = sorted(soaked.lines, key=lambda each: each.growth_bytes(since_s), reverse=True)
    rows = [growth(line, BAR_MB) for line in ordered if _is_ours(line)]
    rows += [growth(line, None, ", the most of Ray's own") for line in ordered if not _is_ours(line)][:1]
    arrived = 0
    for kind, copies in _COPIES.items():
        sent, got = counts[f"sent{{{kind}}}"] * copies, counts[f"got{{{kind}}}"]
        arrived += got
        rows.append(
            Row(
                f"mail of kind {kind} that did not arrive", "messages", spread([float(sent - got)]), bar=0,
                note=f"{got:,} arrived, {got / took_s:,.0f} a second",
            )
        )  # fmt: skip
    refused = {name: count for name, count in counts.items() if name.startswith("refused")}
    rows.append(Row("refused", "messages", spread([float(sum(refused.values()))]), bar=0, note=str(refused)))
    requests = sum(counts[f"got{{{kind}}}"] for kind in _REQUESTS)
    told = (
        f"{requests:,} requests, {requests / took_s:,.0f} a second, errands over {len(ERRAND_WAY)} agents; the hub was "
        f"asked {soaked.asked} times and told of up to {soaked.most_busy} busy agents"
    )
    deadlocks = float("inf") if soaked.problem else float(soaked.deadlocks)
    rows.append(Row("deadlocks told by the hub", "", spread([deadlocks]), bar=0, note=soaked.problem or told))
    whole = (arrived + requests) / took_s
    rows.append(Row("all mail, replies too", "messages/s", spread([whole], "at least"), sense="at least"))
    return rows


def _is_ours(line: MemoryLine) -> bool:
    return line.name.startswith("host ") or (line.name.startswith("ray::") and line.name.endswith("Actor"))


def main() -> int:
    """Run and print; exit code 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument(
        "--per-s", type=float, default=3000.0, help="plain messages a second, half of them across"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("build/soak"), help="folder for picture and figures"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if arguments.minutes <= 0 or arguments.per_s <= 0:
        parser.error("--minutes and --per-s are above 0")
    configure_logging("WARNING")
    arguments.output.mkdir(parents=True, exist_ok=True)
    machine = machine_line()
    with own_hosts() as hosts:
        soaked = soak(hosts, arguments.per_s, arguments.minutes)
    since_s = soaked.took_s / 4
    rows = rows_of(soaked, since_s)
    figures = {
        "machine": machine, "seconds": soaked.took_s, "since_s": since_s, "counts": dict(soaked.counts),
        "deadlocks": soaked.deadlocks, "asked": soaked.asked, "most_busy": soaked.most_busy,
        "problem": soaked.problem, "memory": [asdict(line) for line in soaked.lines],
    }  # fmt: skip
    (arguments.output / "soak.json").write_text(json.dumps(figures))
    draw(soaked.lines, _is_ours, since_s, arguments.output / "memory.png")
    title = f"soak, {soaked.took_s / 60:.0f} minutes; {machine}"
    return 0 if print_rows(title, rows, is_json=arguments.json) else 1


if __name__ == "__main__":
    sys.exit(main())
