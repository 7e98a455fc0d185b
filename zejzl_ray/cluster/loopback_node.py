"""``ray start`` of a second node on loopback: ``python -m zejzl_ray.cluster.loopback_node start --address=...``.

Ray keeps to loopback when it is told so by ``RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0``, as it does on a laptop; then its
command line refuses a second node, although nothing else minds one. This is that command line without the refusal.
"""

from typing import Final

from ray._private import ray_constants, services
from ray.scripts.scripts import main

from zejzl_ray.errors import ClusterError

_LOOPBACK: Final = "127.0.0.1"


def allow_second_node() -> None:
    """Let this process start a node that joins another one on loopback.

    Raises:
        ClusterError: this version of Ray chooses its address in another way.
    """
    if not hasattr(ray_constants, "ENABLE_RAY_CLUSTER") or not hasattr(services, "get_node_ip_address"):
        raise ClusterError(
            "Ray chooses the address of a node in a way that is not known here, so it would not stay on loopback.",
            "Use the version of Ray that zejzl-ray names.",
        )
    ray_constants.ENABLE_RAY_CLUSTER = True
    services.get_node_ip_address = _loopback


def _loopback(address: str | None = None) -> str:
    return _LOOPBACK


if __name__ == "__main__":
    allow_second_node()
    main()
