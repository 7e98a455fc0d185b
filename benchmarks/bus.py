"""The message bus against the old bus, Redis pub/sub, NATS, JetStream, raw actor calls and Ray's queue.

Run: ``python -m benchmarks.bus [--rows local-rate,across-rate] [--pairs 10] [--json]``. Starts servers and a cluster of
its own on loopback. All rows take about half an hour, ten minutes of it for the sustained one.
"""

import argparse
import sys
import time
from contextlib import ExitStack

from benchmarks.bus_machine import machine_line
from benchmarks.bus_rows import ROWS, Bench
from benchmarks.report import Row, print_rows
from zejzl_ray.log import configure_logging


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
    with ExitStack() as stack:
        bench = Bench(arguments.pairs, stack, arguments.sustained_s, arguments.scale)
        for name in wanted:
            sys.stderr.write(f"{name}\n")
            began_s = time.monotonic()
            rows += ROWS[name](bench)
            sys.stderr.write(f"    {time.monotonic() - began_s:.0f} s\n")
    return 0 if print_rows(title, rows, is_json=arguments.json) else 1


if __name__ == "__main__":
    sys.exit(main())
