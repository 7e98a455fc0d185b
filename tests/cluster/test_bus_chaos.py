"""A few seconds of ``make bench-chaos``: hosts are killed while mail flows, and every message is accounted for."""

import random
from pathlib import Path

from actors.identities import ensure_identities
from benchmarks.bus_chaos import SMALL, chaos
from benchmarks.own_hosts import OwnHosts
from tests.cluster.mail_stage import forget_agents
from tests.cluster.system import System
from zejzl_ray.cluster.local_plan import cluster_id

SECONDS = 8.0
RATE = 1000.0


def test_every_message_is_accounted_for_while_processes_are_killed(
    ray_cluster: System, tmp_path: Path
) -> None:
    hosts = OwnHosts(
        ray_cluster.data_dir,
        ensure_identities(ray_cluster.data_dir),
        cluster_id(ray_cluster.data_dir),
        namespace=ray_cluster.info["namespace"],
    )
    try:
        done = chaos(hosts, tmp_path, SECONDS, RATE, random.Random(7), SMALL)
    finally:
        forget_agents(ray_cluster, ["Writer1", "Reader1", "Reader2"])
    counts = done.verdict.counts
    assert counts["kills"] >= 1
    assert counts["sent k"] == counts["delivered k"] + counts["dead only k"] > 0
    assert counts["delivered p"] > 0
    # How much a busy machine brings to living receivers in a few seconds is for the long run.
    assert done.verdict.faults.keys() <= {"too little arrived at living receivers"}, done.verdict.faults
