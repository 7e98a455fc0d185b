"""Is anybody taken for dead while every core is busy?

Run as root: ``python -m benchmarks.full_cpu [--minutes 10] [--json]``. Two hosts in namespaces with the project's own
``cluster.yaml``, each with as many busy programs as the machine has cores. Exit code 1 when a node or a part of one was
taken for dead or started again; 2 where hosts cannot be made.
"""

import argparse
import json
import sys

from benchmarks.bus_machine import machine_line
from benchmarks.on_hosts import host_names
from tests.hosts.full_cpu import full_cpu, lives, load_ratio
from tests.hosts.stage import a_cluster, a_stage


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long every core is busy")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if not 0 < arguments.minutes <= 24 * 60:
        parser.error("--minutes is above 0, and a day at most")
    with host_names() as prefix, a_cluster(f"{prefix}l") as cluster:
        a_stage(cluster)
        before = lives(cluster)
        with full_cpu(cluster):
            busy = load_ratio(arguments.minutes * 60)
        after = lives(cluster)
    died = sorted(before.nodes - after.nodes)
    restarts = sum(count for _, count in after.restarts) - sum(count for _, count in before.restarts)
    found = {"minutes": arguments.minutes, "busy_ratio": busy, "taken_for_dead": died, "restarts": restarts}
    if arguments.json:
        sys.stdout.write(json.dumps({"machine": machine_line(), **found}, indent=2) + "\n")
    else:
        sys.stdout.write(
            f"every core busy for {arguments.minutes:g} min ({busy:.0%} used); {machine_line()}\n"
            f"  nodes taken for dead: {', '.join(died) or 'none'}; parts started again: {restarts}\n"
        )
    return 1 if died or restarts else 0


if __name__ == "__main__":
    sys.exit(main())
