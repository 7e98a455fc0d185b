"""The doors of a running system, and what they answer to somebody who shows nothing."""

import grpc

from tests.cluster.system import System
from zejzl_ray.cli.doors import setup_of
from zejzl_ray.cluster.doors import OpenDoor, match_doors
from zejzl_ray.cluster.listeners import Listener, Reach, find_listeners
from zejzl_ray.cluster.node_processes import find_node_processes
from zejzl_ray.cluster.record import require_record
from zejzl_ray.settings import Settings

_LIMIT_S = 10.0


def open_doors(system: System) -> tuple[OpenDoor, ...]:
    """Return every socket on which a process of the system waits for others."""
    record = require_record(system.data_dir)
    return match_doors(find_listeners(find_node_processes(record.cluster_id)), setup_of(Settings(), record))


def host_of(listener: Listener) -> str:
    """Return where this machine reaches the socket."""
    address = listener.address.removeprefix("::ffff:")
    return "127.0.0.1" if listener.reach is Reach.ALL else f"[{address}]" if ":" in address else address


async def without_token(listener: Listener, method: str) -> str:
    """Return the status with which a gRPC server answers an empty call that carries no token."""
    async with grpc.aio.insecure_channel(f"{host_of(listener)}:{listener.port}") as channel:
        try:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
            await call(b"", timeout=_LIMIT_S)
        except grpc.aio.AioRpcError as error:
            return str(error.code().name)
    return "OK"
