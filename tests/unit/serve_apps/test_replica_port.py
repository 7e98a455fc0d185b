import asyncio
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from ray.serve._private import replica

from serve_apps.replica_port import close_replica_port
from zejzl_ray.errors import ClusterError

# Serve's module, of which only a function that it does not export matters here
serve_replica: Any = replica


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(serve_replica, "add_port_to_grpc_server", serve_replica.add_port_to_grpc_server)
    with tempfile.TemporaryDirectory(prefix="z", dir="/tmp") as name:
        monkeypatch.setenv("RAY_SERVE_HAPROXY_SERVER_STATE_BASE", name)
        yield Path(name)


def open_port() -> None:
    """Open a server as Serve's replica does."""

    async def run() -> None:
        server = grpc.aio.server()
        serve_replica.add_port_to_grpc_server(server, "[::]:0")
        await server.start()
        await server.stop(None)

    asyncio.run(run())


def test_the_replicas_grpc_server_gets_a_socket_file_instead_of_a_port(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound: list[str] = []

    class Server:
        def add_insecure_port(self, address: str) -> int:
            bound.append(address)
            return 1

    close_replica_port()
    serve_replica.add_port_to_grpc_server(Server(), "[::]:0")
    assert len(bound) == 1
    assert bound[0].startswith(f"unix:{directory}/replica-")


def test_a_real_grpc_server_starts_on_it(directory: Path) -> None:
    close_replica_port()
    open_port()


def test_files_of_replicas_that_are_gone_are_removed(directory: Path) -> None:
    gone = directory / "replica-4194999.sock"  # above the largest process id of Linux
    gone.touch()
    close_replica_port()
    open_port()
    assert not gone.exists()


def test_without_a_directory_of_the_cluster_a_private_one_is_made(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_SERVE_HAPROXY_SERVER_STATE_BASE")
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    close_replica_port()
    open_port()
    (made,) = directory.glob("zejzl-replica-*")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_a_serve_that_opens_it_otherwise_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(serve_replica, "add_port_to_grpc_server")
    with pytest.raises(ClusterError, match="cannot be closed"):
        close_replica_port()
