"""``ray up cluster.yaml`` to all services ready, against a bare ``ray up`` of an empty cluster of the same two hosts.

Run as root: ``python -m benchmarks.ray_up_time [--runs 5] [--rows installed] [--json]``. Two hosts in namespaces of
this machine, as in tests/hosts; a turn of one, a turn of the other. A bare cluster is ready when both nodes are alive,
ours when both machines are and every service says that it is ready. Two rows: with everything installed on both
machines, as any start after the first; and with nothing there but Python, where ours carries its release and installs
it, and the bare one carries the same wheels and installs ``ray[default]`` from them. A run of both takes about six
minutes.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.bus_machine import machine_line
from benchmarks.on_hosts import host_names
from benchmarks.report import Row, interleaved_ratios, print_rows, spread
from tests.hosts.ray_cluster import DATA_DIR, RayCluster, two_hosts_with_release
from tests.hosts.release_of import release_of_this_tree
from tests.hosts.waiting import wait_until

BAR_RATIO: Final = 2.0
ROWS: Final = ("nothing", "installed")
_LIMIT_S: Final = 300.0
_DOWN_LIMIT_S: Final = 60.0
_OURS: Final = f"{DATA_DIR}/releases/current/venv/bin"
_WHEELS: Final = f"{DATA_DIR}/release/wheels"
_BARE_ENVIRONMENT: Final = "~/bare"
_BARE: Final = """
cluster_name: bare
provider: {{type: local, head_ip: {head}, worker_ips: [{worker}]}}
auth: {{ssh_user: root, ssh_private_key: ~/.ssh/id_ed25519}}
min_workers: 1
max_workers: 1
file_mounts: {{"{wheels}": "{wheels}"}}
setup_commands:
  - >-
    test -x {bare}/bin/ray || {{ python3 -m venv {bare} &&
    {bare}/bin/python -m pip install -q --no-index --find-links {wheels} 'ray[default]'; }}
head_start_ray_commands:
  - >-
    RAY_enable_autoscaler_v2=0 {bare}/bin/ray start --head --port=6379 --num-cpus=1 --object-store-memory=209715200
    --node-ip-address={head} --autoscaling-config=~/ray_bootstrap_config.yaml
worker_start_ray_commands:
  - {bare}/bin/ray start --address=$RAY_HEAD_IP:6379 --num-cpus=1 --object-store-memory=209715200
"""
_BOTH_ALIVE: Final = """
import time, ray
ray.init(address="{head}:6379", log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < 2:
    time.sleep(0.1)
"""
_ALL_READY: Final = """
import time
from zejzl_ray import connect
from zejzl_ray.cluster.names import SERVICES
from zejzl_ray.errors import ZejzlError
is_ready = False
while not is_ready:
    try:
        with connect(timeout_s=5) as client:
            while not is_ready:
                alive = {machine.name for machine in client.machines() if machine.is_alive}
                health = [client.service_health(service) for service in SERVICES]
                is_ready = alive == {"mainpc", "pc2"} and all(one.is_ready for one in health)
                time.sleep(0 if is_ready else 0.1)
    except (ZejzlError, OSError):
        time.sleep(0.1)
"""


class Turns:
    """Starts the one or the other on the hosts, and takes it down.

    Args:
        cluster: the hosts.
        is_first: nothing is installed before each start.
    """

    def __init__(self, cluster: RayCluster, *, is_first: bool) -> None:
        self._cluster = cluster
        self._is_first = is_first
        self.returned_s: dict[str, list[float]] = {"ours": [], "bare": []}
        mainpc, pc2 = cluster.mainpc, cluster.pc2
        text = _BARE.format(head=mainpc.address, worker=pc2.address, wheels=_WHEELS, bare=_BARE_ENVIRONMENT)
        (mainpc.folder / "home/bare.yaml").write_text(text)
        (mainpc.folder / "home/alive.py").write_text(_BOTH_ALIVE.format(head=mainpc.address))
        (mainpc.folder / "home/ready.py").write_text(_ALL_READY)

    def ours(self) -> float:
        """Return how long ``ray up`` of the project's file takes until every service is ready, seconds."""
        if self._is_first:
            self._forget(f"{DATA_DIR}/releases")
        ready_s = self._time("ours", "cluster.yaml", f"{_OURS}/python ~/ready.py")
        self._cluster.down()
        self._wait_until_nothing_runs()
        return ready_s

    def bare(self) -> float:
        """Return how long ``ray up`` of an empty cluster takes until both nodes are alive, seconds."""
        if self._is_first:
            self._forget(_BARE_ENVIRONMENT)
        ready_s = self._time("bare", "bare.yaml", f"{_BARE_ENVIRONMENT}/bin/python ~/alive.py")
        for host in (self._cluster.mainpc, self._cluster.pc2):  # it sees the processes of its host only
            host.run(f"{_BARE_ENVIRONMENT}/bin/ray stop --force; rm -rf /tmp/ray", timeout_s=60)
        self._wait_until_nothing_runs()
        return ready_s

    def _time(self, who: str, file: str, until: str) -> float:
        began_s = time.perf_counter()
        self._cluster.mainpc.run(f"ray up -y --no-config-cache ~/{file}", timeout_s=_LIMIT_S)
        returned_s = time.perf_counter() - began_s
        self._cluster.mainpc.run(f"{until} >/dev/null 2>&1", timeout_s=_LIMIT_S)
        ready_s = time.perf_counter() - began_s
        self.returned_s[who].append(returned_s)
        what = "nothing installed" if self._is_first else "installed"
        sys.stderr.write(f"  {who}, {what}: `ray up` returned {returned_s:.1f} s, ready {ready_s:.1f} s\n")
        return ready_s

    def _forget(self, installed: str) -> None:
        for host in (self._cluster.mainpc, self._cluster.pc2):
            host.run(f"rm -rf {installed}")
        self._cluster.pc2.run(f"rm -rf {DATA_DIR}/release")

    def _wait_until_nothing_runs(self) -> None:
        hosts = (self._cluster.mainpc, self._cluster.pc2)
        wait_until(
            lambda: not any(_is_of_a_node(line) for host in hosts for line in host.processes()),
            limit_s=_DOWN_LIMIT_S,
            what="nothing of a cluster runs",
        )


def _is_of_a_node(line: str) -> bool:
    return any(word in line for word in ("raylet", "gcs_server", "node run", "monitor.py"))


def measured(cluster: RayCluster, runs: int, *, is_first: bool) -> Row:
    """Measure one row."""
    turns = Turns(cluster, is_first=is_first)
    if not is_first:  # what the first turns leave behind is the same for both
        turns.bare()
        turns.ours()
    ratios, ours, bares = interleaved_ratios(turns.ours, turns.bare, runs)
    returned = spread(turns.returned_s["ours"]).median
    return Row(
        f"`ray up` to all services ready, {'nothing installed before' if is_first else 'all installed'}",
        "x",
        spread(ratios),
        "bare `ray up` of an empty cluster to both nodes alive, likewise",
        BAR_RATIO,
        "at most",
        f"{spread(ours).median:.1f} s against {spread(bares).median:.1f} s; `ray up` returned after {returned:.1f} s",
    )


def main() -> int:
    """Run and print; exit code 1 when a median misses its bar."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="of each kind")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="what was there before")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if arguments.runs < 1:
        parser.error("--runs is 1 or more")
    with host_names() as prefix, tempfile.TemporaryDirectory(prefix="zjr-") as folder:
        release = Path(folder) / "release"
        release_of_this_tree(release)
        with two_hosts_with_release(f"{prefix}u", release) as cluster:
            cluster.prepare()
            rows = [measured(cluster, arguments.runs, is_first=row == "nothing") for row in arguments.rows]
    is_met = print_rows(f"ray up on two hosts; {machine_line()}", rows, is_json=arguments.json)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
