"""What listens, read from the kernel: real sockets of this process and of a child."""

import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from zejzl_ray.cluster.listeners import Listener, ProcessKind, Reach, Transport, find_listeners, kind_of
from zejzl_ray.errors import ClusterError


def of(address: str, transport: Transport = Transport.TCP) -> Listener:
    return Listener(1, ProcessKind.OTHER, "x", transport, address, 7)


@pytest.fixture
def sockets(tmp_path: Path) -> Iterator[dict[str, socket.socket]]:
    """One of each: listening, bound without listening, connected, UDP, a socket file."""
    made = {
        "listening": socket.socket(),
        "six": socket.socket(socket.AF_INET6),
        "bound": socket.socket(),
        "udp": socket.socket(type=socket.SOCK_DGRAM),
        "sender": socket.socket(type=socket.SOCK_DGRAM),
        "file": socket.socket(socket.AF_UNIX),
        "nameless": socket.socket(socket.AF_UNIX),
    }
    for name in ("listening", "bound", "udp"):
        made[name].bind(("127.0.0.1", 0))
    made["six"].bind(("::1", 0))
    made["sender"].connect(made["udp"].getsockname())
    made["file"].bind(str(tmp_path / "s"))
    for name in ("listening", "six", "file"):
        made[name].listen()
    yield made
    for one in made.values():
        one.close()


def test_only_sockets_on_which_somebody_can_call_are_found(sockets: dict[str, socket.socket]) -> None:
    found = find_listeners([psutil.Process()])
    places = {(one.transport, one.address, one.port) for one in found}
    ports = {name: one.getsockname()[1] for name, one in sockets.items() if one.family != socket.AF_UNIX}

    assert (Transport.TCP, "127.0.0.1", ports["listening"]) in places
    assert (Transport.TCP, "::1", ports["six"]) in places
    assert (Transport.UDP, "127.0.0.1", ports["udp"]) in places
    assert (Transport.FILE, sockets["file"].getsockname(), 0) in places
    seen = {port for _, _, port in places}
    assert not {ports["bound"], ports["sender"]} & seen
    assert all(one.address for one in found)


class Process:
    """A process that answers as told."""

    pid = 17

    def __init__(self, error: psutil.Error | None, sockets: list[Any] | None = None) -> None:
        self.error = error
        self.sockets = sockets or []

    def oneshot(self) -> Any:
        from contextlib import nullcontext

        return nullcontext()

    def name(self) -> str:
        return "raylet"

    def cmdline(self) -> list[str]:
        return []

    def net_connections(self, kind: str) -> list[Any]:
        if self.error is not None:
            raise self.error
        return self.sockets


@pytest.mark.parametrize("error", [psutil.NoSuchProcess(17), psutil.ZombieProcess(17)])
def test_a_process_that_has_ended_listens_nowhere(error: psutil.Error) -> None:
    process: Any = Process(error)
    assert find_listeners([process]) == ()


def test_a_process_that_hides_its_sockets_is_no_process_without_sockets() -> None:
    process: Any = Process(psutil.AccessDenied(17))
    with pytest.raises(ClusterError, match="17"):
        find_listeners([process])


def test_a_socket_without_an_address_is_no_door() -> None:
    process: Any = Process(
        None, [SimpleNamespace(laddr=(), raddr=(), type=socket.SOCK_STREAM, status="NONE")]
    )
    assert find_listeners([process]) == ()


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("127.0.0.1", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("::ffff:127.0.0.1", Reach.LOOPBACK),
        ("0.0.0.0", Reach.ALL),
        ("::", Reach.ALL),
        ("::ffff:0.0.0.0", Reach.ALL),
        ("192.0.2.2", Reach.ONE_ADDRESS),
        ("::ffff:192.0.2.2", Reach.ONE_ADDRESS),
        ("fe80::1%eth0", Reach.ONE_ADDRESS),
    ],
)
def test_how_wide_an_address_is(address: str, reach: Reach) -> None:
    assert of(address).reach is reach


def test_places_are_written_as_people_do() -> None:
    assert of("127.0.0.1").place == "127.0.0.1:7"
    assert of("::1").place == "[::1]:7"
    assert of("/run/x.sock", Transport.FILE).place == "/run/x.sock"
    assert of("/run/x.sock", Transport.FILE).reach is Reach.FILE


@pytest.mark.parametrize(
    ("name", "command", "kind"),
    [
        # the raylet's command line holds those of its agents
        ("raylet", "/x/raylet --agent='python /x/ray/dashboard/agent.py'", ProcessKind.RAYLET),
        ("gcs_server", "/x/gcs_server", ProcessKind.CONTROL_STORE),
        ("haproxy", "/x/haproxy -db", ProcessKind.PROXY),
        ("ray::DashboardA", "ray::DashboardAgent", ProcessKind.NODE_AGENT),
        ("python3", "python3 /x/ray/dashboard/agent.py --node", ProcessKind.NODE_AGENT),
        ("ray::RuntimeEnv", "ray::RuntimeEnvAgent", ProcessKind.RUNTIME_AGENT),
        ("ray::ServeRepli", "ray::ServeReplica:ingress:Ingress.handle_request", ProcessKind.REPLICA),
        ("ray::SecurityGa", "ray::SecurityGatewayActor.watch_feed", ProcessKind.SERVICE),
        ("ray::ErrorBusAc", "ray::ErrorBusActor", ProcessKind.SERVICE),
        ("ray::CoreOrches", "ray::CoreOrchestratorActor", ProcessKind.WORKER),
        ("ray::AgentHostA", "ray::AgentHostActor.deliver_mail", ProcessKind.AGENT_HOST),
        ("ray::IDLE", "ray::IDLE", ProcessKind.WORKER),
        ("python3", "python3 /x/ray/_private/workers/default_worker.py", ProcessKind.WORKER),
        ("python3", "python3 -m ray.util.client.server --mode=proxy", ProcessKind.CLIENT_SERVER),
        ("python3", "python3 -m ray.util.client.server --mode=specific-server", ProcessKind.CLIENT_PROXIED),
        ("nc", "nc -l 4444", ProcessKind.OTHER),
    ],
)
def test_what_a_process_is(name: str, command: str, kind: ProcessKind) -> None:
    assert kind_of(name, command) is kind
