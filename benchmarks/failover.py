"""How long a lost machine is missed: this project's services, and an actor of Ray as it comes, turn by turn.

Run as root: ``python -m benchmarks.failover [--runs 5] [--ways killed] [--json]``. Two hosts in namespaces. PC2 is
killed, cut off or frozen, until what ran there answers from MainPC; then all of Ray on the head is killed, until the
ingress answers again, which bare Ray never does. A run of each takes about five minutes, most of it Ray's 65 s until
it misses a silent machine.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Final

from benchmarks.bare_ray import bare_ray, heal, lose
from benchmarks.bus_machine import machine_line
from benchmarks.on_hosts import host_names
from benchmarks.report import Row, print_rows, spread
from tests.hosts.stage import Probe, Stage, a_cluster, a_stage
from zejzl_ray.cluster.names import CORE_ORCHESTRATOR

WAYS: Final = ("killed", "cut off", "frozen", "head killed")
BARS_S: Final = {"killed": 10.0, "cut off": 15.0, "frozen": 15.0, "head killed": 30.0}
_HEAD: Final = "pkill -9 'raylet|gcs_server'; pkill -9 -f '^ray::|/ray/dashboard/|ray.util.client'"
_LIMIT_S: Final = 90.0


def own_times(stage: Stage, way: str) -> tuple[float, float]:
    """Return for how many seconds what was lost did not answer, and how long all took to be whole again."""
    stage.home_s()
    lost_at_s = time.time()
    if way == "head killed":
        stage.mainpc.run(_HEAD)
        failover_s = (
            stage.http.wait_for(CORE_ORCHESTRATOR, lost_at_s + 1, _LIMIT_S, lambda row: True) - lost_at_s
        )
        # the eye that was a process of Ray went with the head
        stage.ray = Probe(stage.mainpc, f"ray{lost_at_s:.0f}", f"{stage.mainpc.address}:6379")
        return failover_s, stage.rejoin_s(lost_at_s)
    lose(stage.pc2, way)
    failover_s = stage.failover_s(lost_at_s, _LIMIT_S)
    healed_at_s = time.time()
    heal(stage.pc2, way, "setsid zejzl node run >~/run.log 2>&1 </dev/null &")
    return failover_s, stage.rejoin_s(healed_at_s)


def own(prefix: str, ways: Sequence[str], runs: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Measure this project: way -> times until it answers, and until both machines are members again."""
    failovers: dict[str, list[float]] = {way: [] for way in ways}
    rejoins: dict[str, list[float]] = {way: [] for way in ways}
    with a_cluster(f"{prefix}o") as cluster:
        stage = a_stage(cluster)
        for run in range(runs):
            for way in ways:
                failover_s, rejoin_s = own_times(stage, way)
                failovers[way].append(failover_s)
                rejoins[way].append(rejoin_s)
                told = f"{failover_s:.1f} s, whole again after {rejoin_s:.1f} s"
                sys.stderr.write(f"  own, {way}, run {run + 1}: {told}\n")
    return failovers, rejoins


def rays(prefix: str, ways: Sequence[str], runs: int) -> dict[str, list[float]]:
    """Measure Ray as it comes: way -> times until the actor answers from the other machine."""
    times: dict[str, list[float]] = {way: [] for way in ways if way != "head killed"}
    with bare_ray(f"{prefix}b") as bare:
        for way, found in times.items():
            for run in range(runs):
                bare.start()
                found.append(bare.failover_s(lose(bare.pc2, way)))
                bare.stop()
                sys.stderr.write(f"  bare Ray, {way}, run {run + 1}: {found[-1]:.1f} s\n")
    return times


def rows(
    failovers: dict[str, list[float]], rejoins: dict[str, list[float]], bare: dict[str, list[float]]
) -> list[Row]:
    """Return the table: one row a way, with Ray's own time beside it, and one for the way back."""
    found = []
    for way, times in failovers.items():
        baseline = "" if way not in bare else f"Ray's defaults: median {spread(bare[way]).median:.1f} s"
        whose = "the ingress answers again" if way == "head killed" else "PC2's services answer from MainPC"
        name = f"{'' if way == 'head killed' else 'PC2 '}{way}: {whose}"
        found.append(Row(name, "s", spread(times), baseline=baseline, bar=BARS_S[way]))
        if way != "head killed":
            found.append(Row(f"PC2 {way}: a member again", "s", spread(rejoins[way]), bar=30.0))
    return found


def main() -> int:
    """Run and print; exit code 1 when a median misses its bar."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="of each way")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="what is lost")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if arguments.runs < 1:
        parser.error("--runs is 1 or more")
    with host_names() as prefix:
        bare = rays(prefix, arguments.ways, arguments.runs)
        failovers, rejoins = own(prefix, arguments.ways, arguments.runs)
    is_met = print_rows(
        f"a machine is lost; {machine_line()}", rows(failovers, rejoins, bare), is_json=arguments.json
    )
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
