"""``ray up cluster.yaml`` to all services ready, against a bare ``ray up`` of an empty cluster of the same two hosts.

Run as root: ``python -m benchmarks.ray_up_time [--pairs 5] [--json]``. Two hosts in namespaces of this machine, as in
tests/hosts, the release installed on both. A bare cluster is ready when both nodes are alive, ours when
``zejzl status`` says that every service is.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.report import Row, interleaved_ratios, print_rows, spread
from tests.hosts.hosts import reason_to_skip
from tests.hosts.leftovers import clean_leftovers, own_prefix
from tests.hosts.ray_cluster import RayCluster, two_hosts_with_release
from tests.hosts.release_of import release_of_this_tree

_LIMIT_S: Final = 180.0
_DOWN_LIMIT_S: Final = 60.0
_BIN: Final = "~/.local/share/zejzl/releases/current/venv/bin"
_BARE: Final = """
cluster_name: bare
provider: {{type: local, head_ip: {head}, worker_ips: [{worker}]}}
auth: {{ssh_user: root, ssh_private_key: ~/.ssh/id_ed25519}}
min_workers: 1
max_workers: 1
head_start_ray_commands:
  - >-
    RAY_enable_autoscaler_v2=0 {bin}/ray start --head --port=6379 --num-cpus=1 --object-store-memory=209715200
    --node-ip-address={head} --autoscaling-config=~/ray_bootstrap_config.yaml
worker_start_ray_commands:
  - {bin}/ray start --address=$RAY_HEAD_IP:6379 --num-cpus=1 --object-store-memory=209715200
"""
_BOTH_ALIVE: Final = """
import time, ray
ray.init(address="{head}:6379", log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < 2:
    time.sleep(0.1)
"""


def time_ours(cluster: RayCluster) -> float:
    """Return how long ``ray up`` of the project's file takes until every service is ready, seconds."""
    started_s = time.perf_counter()
    cluster.up()
    cluster.mainpc.run(f"until {_BIN}/zejzl status >/dev/null 2>&1; do sleep 0.1; done", timeout_s=_LIMIT_S)
    took_s = time.perf_counter() - started_s
    cluster.down()
    _wait_until_nothing_runs(cluster)
    return took_s


def time_bare(cluster: RayCluster) -> float:
    """Return how long ``ray up`` of an empty cluster takes until both nodes are alive, seconds."""
    mainpc, pc2 = cluster.mainpc, cluster.pc2
    text = _BARE.format(head=mainpc.address, worker=pc2.address, bin=_BIN)
    (mainpc.folder / "home/bare.yaml").write_text(text)
    (mainpc.folder / "home/alive.py").write_text(_BOTH_ALIVE.format(head=mainpc.address))
    started_s = time.perf_counter()
    mainpc.run("ray up -y --no-config-cache ~/bare.yaml", timeout_s=_LIMIT_S)
    mainpc.run(f"{_BIN}/python ~/alive.py >/dev/null 2>&1", timeout_s=_LIMIT_S)
    took_s = time.perf_counter() - started_s
    for host in (mainpc, pc2):  # namespaces of their own: it sees the processes of the host only
        host.run(f"{_BIN}/ray stop --force", timeout_s=60, is_checked=False)
        host.run("rm -rf /tmp/ray", is_checked=False)
    _wait_until_nothing_runs(cluster)
    return took_s


def _wait_until_nothing_runs(cluster: RayCluster) -> None:
    deadline_s = time.monotonic() + _DOWN_LIMIT_S
    while any(_is_of_a_node(line) for host in (cluster.mainpc, cluster.pc2) for line in host.processes()):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"something of a cluster still runs after {_DOWN_LIMIT_S:g} s")
        time.sleep(0.2)


def _is_of_a_node(line: str) -> bool:
    return any(word in line for word in ("raylet", "gcs_server", "node run", "monitor.py"))


def main() -> int:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if reason := reason_to_skip():
        print(f"not measured: {reason}", file=sys.stderr)
        return 0
    clean_leftovers()
    root = Path(tempfile.mkdtemp(prefix="zjr-"))
    try:
        release_of_this_tree(root / "release")
        with two_hosts_with_release(f"{own_prefix()}b", root / "release") as cluster:
            cluster.prepare()
            ratios, ours, bares = interleaved_ratios(
                lambda: time_ours(cluster), lambda: time_bare(cluster), given.pairs
            )
    finally:
        shutil.rmtree(root, ignore_errors=True)
    row = Row(
        "`ray up` to all services ready", "x", spread(ratios), "bare `ray up` of an empty cluster, both nodes alive",
        2.0, "at most", f"{spread(ours).median:.1f} s against {spread(bares).median:.1f} s",
    )  # fmt: skip
    return 0 if print_rows("ray up on two hosts", [row], is_json=given.json) else 1


if __name__ == "__main__":
    sys.exit(main())
