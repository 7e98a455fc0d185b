"""Ray nodes for a benchmark alone: started as the project starts its own, and ended without touching others."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from zejzl_ray.cluster.node_processes import stop_node
from zejzl_ray.cluster.node_start import NodePorts, NodeRole, NodeStart, ray_start_command
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.cluster.secret_file import ensure_token

_LIMIT_S = 180


@dataclass(frozen=True, slots=True)
class OwnCluster:
    """A running cluster: its address, and the environment that its clients need before they import Ray."""

    address: str
    environment: dict[str, str]


@contextmanager
def own_cluster(
    machines: tuple[str, ...], *, cpus: int, extra: Mapping[str, str] | None = None
) -> Iterator[OwnCluster]:
    """Start one node for each machine on this computer, the first is the head; end them all at the end.

    Args:
        machines: labels of the nodes.
        cpus: CPUs of each.
        extra: further environment of the nodes.
    """
    directory = Path(tempfile.mkdtemp(prefix="zjb-", dir="/tmp"))
    identity = f"bench-{secrets.token_hex(4)}"
    ensure_token(directory / "token")
    gcs, dashboard, client = free_ports(3)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ZEJZL_", "RAY_"))}
    environment |= extra or {}
    try:
        for index, machine in enumerate(machines):
            made = ray_start_command(
                NodeStart(
                    cluster_id=identity,
                    machine=machine,
                    role=NodeRole.WORKER if index else NodeRole.HEAD,
                    head_address=f"127.0.0.1:{gcs}",
                    node_ip="127.0.0.1",
                    temp_dir=directory / "ray",
                    token_path=directory / "token",
                    cpus=cpus,
                    object_store_mib=256,
                    ports=NodePorts(dashboard=dashboard, ray_client=client),
                    ray_executable=str(Path(sys.executable).with_name("ray")),
                )
            )
            environment |= made.environment
            subprocess.run(
                made.argv, env=environment, check=True, timeout=_LIMIT_S, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        yield OwnCluster(f"127.0.0.1:{gcs}", environment)
    finally:
        stop_node(identity)
        shutil.rmtree(directory, ignore_errors=True)
