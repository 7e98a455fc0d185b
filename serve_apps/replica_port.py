"""Closes a port of Ray Serve that would let anybody run code in a replica.

Every replica of Serve (2.60) opens a gRPC server on a free port of all interfaces and unpickles what arrives
there, without a token; only ``RAY_USE_TLS`` protects it. Serve's own calls do not use it unless
``RAY_SERVE_USE_GRPC_BY_DEFAULT`` is set. Here it is bound to a socket file in a directory that only this user
can enter, so that nothing listens on the network.
"""

import os
import tempfile
from pathlib import Path
from typing import Any, Final

import psutil
from ray.serve._private import replica as serve_replica

from zejzl_ray.errors import ClusterError

_DIRECTORY_VARIABLE: Final = "RAY_SERVE_HAPROXY_SERVER_STATE_BASE"
_FUNCTION: Final = "add_port_to_grpc_server"


def close_replica_port() -> None:
    """Let this process open its replica's gRPC server on a private socket file; call it before it starts.

    Raises:
        ClusterError: this version of Serve opens the port in another way.
    """
    if not hasattr(serve_replica, _FUNCTION):
        raise ClusterError(
            "Serve's replica opens its gRPC port in a way that is not known here, so it cannot be closed.",
            "Use the version of Ray that zejzl-ray names.",
        )
    setattr(serve_replica, _FUNCTION, _bind_to_private_file)


def _bind_to_private_file(server: Any, _address: str) -> int:
    # mode 0700 both: made by haproxy_environment, or here
    directory = Path(os.environ.get(_DIRECTORY_VARIABLE) or tempfile.mkdtemp(prefix="zejzl-replica-"))
    for left in directory.glob("replica-*.sock"):
        if not psutil.pid_exists(int(left.stem.removeprefix("replica-"))):
            left.unlink(missing_ok=True)
    port: int = server.add_insecure_port(f"unix:{directory / f'replica-{os.getpid()}.sock'}")
    return port
