"""The message bus against the old bus, Redis pub/sub, NATS, JetStream, raw actor calls and Ray's queue.

Run: ``python -m benchmarks.bus [--rows local-rate,across-rate] [--pairs 10] [--json]``. Starts servers and a cluster of
its own on loopback. All rows take about half an hour, ten minutes of it for the sustained one.
"""

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from benchmarks import bus_rows_across, bus_rows_local
from benchmarks.bus_bench import Bench
from benchmarks.bus_machine import machine_line
from benchmarks.report import Row, print_rows
from zejzl_ray.log import configure_logging

ROWS: Final[dict[str, Callable[[Bench], list[Row]]]] = {
    "local-rate": bus_rows_local.local_rate,
    "local-request": bus_rows_local.local_request,
    "local-open": bus_rows_local.local_open,
    "local-agents": bus_rows_local.local_agents,
    "local-sustained": bus_rows_local.local_sustained,
    "across-rate": bus_rows_across.across_rate,
    "across-eight": bus_rows_across.across_eight,
    "across-durable": bus_rows_across.across_durable,
    "across-request": bus_rows_across.across_request,
    "across-open": bus_rows_across.across_open,
    "idle": bus_rows_across.idle,
}


def main() -> int:
    """Run and print; exit code 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", default=",".join(ROWS), help=f"which, of: {', '.join(ROWS)}")
    parser.add_argument("--pairs", type=int, default=10, help="interleaved turns of each row")
    parser.add_argument("--sustained-s", type=float, default=600.0, help="length of the sustained row")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of the numbers of messages, for a quick look"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    wanted = [name.strip() for name in arguments.rows.split(",")]
    if unknown := [name for name in wanted if name not in ROWS]:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    if arguments.pairs < 1 or arguments.scale <= 0:
        parser.error("--pairs and --scale are above 0")
    configure_logging("WARNING")
    title = f"message bus; {machine_line()}"
    rows: list[Row] = []
    failed: list[str] = []
    with ExitStack() as stack:
        bench = Bench(arguments.pairs, stack, arguments.sustained_s, arguments.scale)
        for name in wanted:
            sys.stderr.write(f"{name}\n")
            began_s = time.monotonic()
            try:
                rows += ROWS[name](bench)
            except Exception as error:  # the other rows are of use all the same
                failed.append(name)
                sys.stderr.write(f"    failed: {error!r}\n")
            sys.stderr.write(f"    {time.monotonic() - began_s:.0f} s\n")
    is_met = print_rows(title, rows, is_json=arguments.json)
    if failed:
        sys.stderr.write(f"rows that could not be measured: {', '.join(failed)}\n")
    return 0 if is_met and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
