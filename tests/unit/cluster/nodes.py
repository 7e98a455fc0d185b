"""The two nodes of a cluster as the tests describe them: mainpc is the head, pc2 a worker."""

from pathlib import Path
from typing import Any, Final

from zejzl_ray.cluster.node_start import NodeRole, NodeStart

_BOTH: Final[dict[str, Any]] = {
    "cluster_id": "c1",
    "head_address": "10.0.0.1:6379",
    "temp_dir": Path("/tmp/c1"),
    "token_path": Path("/home/me/ray_token"),
    "cpus": 1,
}


def a_head(**changes: Any) -> NodeStart:
    """Return mainpc at 10.0.0.1, changed as told."""
    return NodeStart(
        **{**_BOTH, "machine": "mainpc", "role": NodeRole.HEAD, "node_ip": "10.0.0.1", **changes}
    )


def a_worker(**changes: Any) -> NodeStart:
    """Return pc2 at 10.0.0.2, changed as told."""
    return NodeStart(**{**_BOTH, "machine": "pc2", "role": NodeRole.WORKER, "node_ip": "10.0.0.2", **changes})
