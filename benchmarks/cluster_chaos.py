"""Random kills on two hosts while clients of both write, and an account of everything that was acknowledged.

Run as root: ``python -m benchmarks.cluster_chaos [--minutes 30] [--seed 7] [--json]``, or ``make chaos MINUTES=3``. Two
hosts in namespaces with the project's own ``cluster.yaml``; actors, raylets, the control store, Redis and the whole of
PC2 are killed, cut off or frozen, each when the one before has healed. Exit code 1 when anything acknowledged was lost
or a name had two owners; from 30 minutes on also when clients were served for less than 90 % of the time outside of
fault windows, or there was too little of a kind; 2 where hosts cannot be made.
"""

import argparse
import json
import random
import sys
from typing import Final

from benchmarks.bus_machine import machine_line
from benchmarks.on_hosts import host_names
from tests.hosts.chaos import Chaos, chaos
from tests.hosts.faults import KINDS
from tests.hosts.stage import a_cluster, a_stage

SERVED_BAR: Final = 0.9
LONG_MINUTES: Final = 30.0
LEAST_OF_EACH: Final = 20
LEAST_ACKNOWLEDGED: Final = 10_000


def failures(done: Chaos, minutes: float) -> list[str]:
    """Return what missed its bar; times and counts are judged from 30 minutes on, what was lost always."""
    missed = list(done.verdict.faults)
    if done.verdict.acknowledged == 0:
        missed.append("no write was acknowledged, so nothing was tried")
    if minutes >= LONG_MINUTES:
        if done.served_ratio < SERVED_BAR:
            missed.append(
                f"served for {done.served_ratio:.1%} of the time outside fault windows, not {SERVED_BAR:.0%}"
            )
        missed += [
            f"{count} faults of the kind {kind}, not {LEAST_OF_EACH}"
            for kind, count in done.counts().items()
            if count < LEAST_OF_EACH
        ]
        if done.verdict.acknowledged < LEAST_ACKNOWLEDGED:
            missed.append(f"{done.verdict.acknowledged} writes acknowledged, not {LEAST_ACKNOWLEDGED}")
    return missed


def table(done: Chaos) -> str:
    """Return the outcome for people."""
    verdict = done.verdict
    lines = [
        f"random kills for {done.seconds / 60:.1f} min, seed {done.seed}; {machine_line()}",
        f"  {verdict.calls} calls, {verdict.acknowledged} writes acknowledged, {verdict.grants} grants of names",
        f"  lost {len(verdict.lost)}, not explained {len(verdict.unexplained)}, "
        f"double owners {len(verdict.double_owners)}",
        f"  served in {done.served_s} of {done.outside_s} s outside fault windows: {done.served_ratio:.1%}",
        f"  errors: {', '.join(f'{name} {count}' for name, count in sorted(verdict.errors.items())) or 'none'}",
        "  kind     faults  windows   without service: median    worst",
    ]
    times, counts = done.without_service(), done.counts()
    for kind in KINDS:
        median_s, worst_s = times.get(kind, (0.0, 0.0))
        windows = ", ".join(f"{window_s:.0f}" for window_s in done.windows_s(kind))
        lines.append(f"  {kind:8} {counts[kind]:6} {windows:>6} s {median_s:24.1f} s {worst_s:6.1f} s")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=LONG_MINUTES, help="how long faults are planted")
    parser.add_argument(
        "--seed", type=int, default=None, help="of what happens to whom; another one each time"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if not 0 < arguments.minutes <= 24 * 60:
        parser.error("--minutes is above 0, and a day at most")
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1_000_000)
    sys.stderr.write(f"seed {seed}\n")
    try:
        with host_names() as prefix, a_cluster(f"{prefix}c") as cluster:
            a_stage(cluster)
            done = chaos(cluster, arguments.minutes * 60, seed, lambda line: sys.stderr.write(f"{line}\n"))
    except AssertionError as error:  # it did not start, or not heal
        sys.stderr.write(f"error: {error}\n")
        return 1
    missed = failures(done, arguments.minutes)
    if arguments.json:
        sys.stdout.write(json.dumps({**done.as_json(), "missed": missed}, indent=2) + "\n")
    else:
        sys.stdout.write(table(done) + "".join(f"  MISSED: {line}\n" for line in missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
