"""``zejzl up`` to ready, against two bare ``ray start`` and an empty Serve application.

Run: ``python -m benchmarks.start_time [--pairs 10] [--json]``. Starts clusters of its own, one at a time.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.own_cluster import own_cluster
from benchmarks.report import Row, interleaved_ratios, print_rows, spread
from zejzl_ray.cluster.ports import free_ports

PORTS = ("HTTP", "RESOURCE_MANAGER", "OBSERVABILITY", "ERROR_BUS", "SECURITY", "DASHBOARD")
LIMIT_S = 180

EMPTY_APPLICATION = """
import ray
from ray import serve
ray.init(address={address!r}, log_to_driver=False)
@serve.deployment(ray_actor_options={{"num_cpus": 0.1}})
class Empty:
    async def __call__(self, request):
        return ""
serve.start(proxy_location="HeadOnly", http_options={{"host": "127.0.0.1", "port": {port}}})
serve.run(Empty.bind())
"""


def clean_environment() -> dict[str, str]:
    """Return this process's environment without settings of ours or of Ray."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("ZEJZL_", "RAY_"))}


def time_up() -> float:
    """Return how long ``zejzl up`` takes in an empty data directory, seconds."""
    data_dir = Path(tempfile.mkdtemp(prefix="zjb-", dir="/tmp"))
    ports = dict(zip((f"ZEJZL_{name}_PORT" for name in PORTS), map(str, free_ports(len(PORTS))), strict=True))
    environment = clean_environment() | ports | {"ZEJZL_DATA_DIR": str(data_dir)}
    command = [sys.executable, "-m", "zejzl_ray.cli.main"]
    started_s = time.perf_counter()
    try:
        subprocess.run(
            [*command, "up", "--json"], env=environment, check=True, timeout=LIMIT_S, capture_output=True
        )
        return time.perf_counter() - started_s
    finally:
        subprocess.run([*command, "down"], env=environment, check=True, timeout=LIMIT_S, capture_output=True)
        shutil.rmtree(data_dir, ignore_errors=True)


def time_bare() -> float:
    """Return how long two ``ray start`` with our options and an empty Serve application take, seconds."""
    started_s = time.perf_counter()
    with own_cluster(("mainpc", "pc2"), cpus=1) as cluster:
        program = EMPTY_APPLICATION.format(address=cluster.address, port=free_ports(1)[0])
        subprocess.run(
            [sys.executable, "-c", program],
            env=cluster.environment,
            check=True,
            timeout=LIMIT_S,
            capture_output=True,
        )
        return time.perf_counter() - started_s


def main() -> int:
    """Run and print; exit code 1 when the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10, help="interleaved pairs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    ratios, ups, bares = interleaved_ratios(time_up, time_bare, arguments.pairs)
    row = Row(
        "`zejzl up` to ready", "x", spread(ratios), "two bare `ray start` and an empty Serve application", 1.5,
        "at most", f"{spread(ups).median:.1f} s against {spread(bares).median:.1f} s",
    )  # fmt: skip
    return 0 if print_rows("start of the whole system", [row], is_json=arguments.json) else 1


if __name__ == "__main__":
    sys.exit(main())
