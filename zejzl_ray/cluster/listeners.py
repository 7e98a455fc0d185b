"""What listens now: the sockets of processes on which somebody else could call, read from the kernel."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

import psutil

from zejzl_ray.cluster.names import SERVICES
from zejzl_ray.errors import ClusterError

_TITLE_CHARS: Final = 80


class ProcessKind(StrEnum):
    """What a process of the system is, as its name and command line tell."""

    CONTROL_STORE = "Ray control store"
    RAYLET = "Ray raylet"
    NODE_AGENT = "Ray node agent"
    RUNTIME_AGENT = "Ray runtime environment agent"
    DASHBOARD = "Ray dashboard"
    DASHBOARD_PART = "part of Ray's dashboard"
    FORK_SERVER = "starter of the dashboard's parts"
    AUTOSCALER = "Ray autoscaler"
    CLIENT_SERVER = "Ray client server"
    CLIENT_PROXIED = "Ray client server of one client"
    PROXY = "HAProxy"
    REPLICA = "ingress replica"
    FALLBACK_PROXY = "Ray Serve's own proxy"
    SERVICE = "service with a health port"
    AGENT_HOST = "host of agents"
    WORKER = "other Ray worker"
    OTHER = "other process"


class Transport(StrEnum):
    """What kind of socket it is."""

    TCP = "tcp"
    UDP = "udp"
    FILE = "unix"


class Reach(StrEnum):
    """Who gets as far as the socket."""

    FILE = "socket file"
    LOOPBACK = "loopback"
    ONE_ADDRESS = "one address of the machine"
    ALL = "all interfaces"


@dataclass(frozen=True, slots=True)
class Listener:
    """One socket on which a process waits for others.

    Attributes:
        pid: of the process.
        kind: what the process is.
        title: the start of its command line, for a person; the program and its first words only.
        transport: what kind of socket.
        address: IP address, or the path of a socket file.
        port: 0 for a socket file.
    """

    pid: int
    kind: ProcessKind
    title: str
    transport: Transport
    address: str
    port: int = 0

    @property
    def reach(self) -> Reach:
        """Who gets as far as the socket."""
        if self.transport is Transport.FILE:
            return Reach.FILE
        address = ip_address(self.address.partition("%")[0])
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if address.is_unspecified:
            return Reach.ALL
        return Reach.LOOPBACK if address.is_loopback else Reach.ONE_ADDRESS

    @property
    def is_ipv6(self) -> bool:
        """Whether the socket is of IPv6, also where it takes callers of IPv4, as those of gRPC do."""
        return self.transport is not Transport.FILE and ":" in self.address

    @property
    def place(self) -> str:
        """Where it is, for a person."""
        if self.transport is Transport.FILE:
            return self.address
        return f"[{self.address}]:{self.port}" if self.is_ipv6 else f"{self.address}:{self.port}"


def _actor_title(service: str) -> str:
    return "ray::" + "".join(part.title() for part in service.split("_")) + "Actor"


_BY_NAME: Final = {
    "gcs_server": ProcessKind.CONTROL_STORE,
    "raylet": ProcessKind.RAYLET,
    "haproxy": ProcessKind.PROXY,
}
# First the titles that Ray's processes write over their command line, the narrower first.
_BY_START: Final = (
    ("ray::DashboardAgent", ProcessKind.NODE_AGENT),
    ("ray::RuntimeEnvAgent", ProcessKind.RUNTIME_AGENT),
    ("ray::ServeReplica:ingress:", ProcessKind.REPLICA),
    ("ray::ProxyActor", ProcessKind.FALLBACK_PROXY),
    *((_actor_title(name), ProcessKind.SERVICE) for name in SERVICES if name != "core_orchestrator"),
    ("ray::AgentHostActor", ProcessKind.AGENT_HOST),
    ("ray::", ProcessKind.WORKER),
    ("ray-dashboard-", ProcessKind.DASHBOARD_PART),
)
# Then the command lines of those that write none, or have not done so yet.
_BY_WORD: Final = (
    ("--mode=specific-server", ProcessKind.CLIENT_PROXIED),
    ("ray.util.client.server", ProcessKind.CLIENT_SERVER),
    ("ray/dashboard/dashboard.py", ProcessKind.DASHBOARD),
    ("ray/dashboard/agent.py", ProcessKind.NODE_AGENT),
    ("ray/_private/runtime_env/agent/main.py", ProcessKind.RUNTIME_AGENT),
    ("multiprocessing.forkserver", ProcessKind.FORK_SERVER),
    ("ray/autoscaler/_private/monitor.py", ProcessKind.AUTOSCALER),
    ("ray/autoscaler/v2/monitor.py", ProcessKind.AUTOSCALER),
    ("ray/_private/workers/default_worker.py", ProcessKind.WORKER),
)


def kind_of(name: str, command: str) -> ProcessKind:
    """Return what a process is.

    Args:
        name: as the kernel knows it.
        command: its command line, or the title that it wrote over it.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    for start, kind in _BY_START:
        if command.startswith(start):
            return kind
    for word, kind in _BY_WORD:
        if word in command:
            return kind
    return ProcessKind.OTHER


def find_listeners(processes: Iterable[psutil.Process]) -> tuple[Listener, ...]:
    """Return every socket on which these processes wait for others; a process that has ended has none.

    TCP sockets that listen, UDP sockets that are bound without a peer, socket files by their names.

    Raises:
        ClusterError: a process does not let this user see its sockets.
    """
    found: list[Listener] = []
    for process in processes:
        try:
            with process.oneshot():
                name, command = process.name(), " ".join(process.cmdline()).strip()
            sockets = process.net_connections("all")
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        except psutil.AccessDenied:
            raise ClusterError(
                f"Cannot see what process {process.pid} listens on.",
                "Ask as the user that runs the cluster.",
            ) from None
        kind = kind_of(name, command)
        title = command[:_TITLE_CHARS] or name
        places = {place for one in sockets if (place := _place(one)) is not None}
        found += [Listener(process.pid, kind, title, *place) for place in sorted(places)]
    return tuple(found)


def _place(found: Any) -> tuple[Transport, str, int] | None:
    local = found.laddr
    if isinstance(local, str):  # a socket file, or one without a name, on which nobody can call
        return (Transport.FILE, local, 0) if local else None
    if not local:
        return None
    if found.type == socket.SOCK_DGRAM:
        return None if found.raddr else (Transport.UDP, local.ip, local.port)
    return (Transport.TCP, local.ip, local.port) if found.status == psutil.CONN_LISTEN else None
