"""Which ports the Ray node of one machine of several takes: fixed ones, so that a firewall can be told beforehand."""

import errno
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from zejzl_ray.cluster.node_start import NodePorts, NodeRole, NodeStart
from zejzl_ray.cluster.ports import listen_error, require_distinct
from zejzl_ray.errors import ClusterError, PortInUse, SettingsInvalid
from zejzl_ray.settings import Settings

GCS_PORT: Final = 6379
DASHBOARD_PORT: Final = 8265
CONTROL_STORE: Final = "Ray's control store"
_LOOPBACK: Final = "127.0.0.1"
_ALL: Final = "0.0.0.0"  # noqa: S104  # nosec B104  # tried for a moment only: Ray listens there
_POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class RayPort:
    """One port of a Ray node, or a range.

    Attributes:
        name: field of :class:`NodePorts`; ``gcs`` for the control store's.
        setting: environment variable that moves it.
        what: who listens there.
        caller: who has to reach it.
        is_heads: whether the head alone has it.
        is_inner: whether only the machine itself calls it, on its own address.
    """

    name: str
    setting: str
    what: str
    caller: str
    is_heads: bool = False
    is_inner: bool = False


_MACHINES: Final = "all machines"
RAY_PORTS: Final = (
    RayPort("gcs", "ZEJZL_RAY_PORT", CONTROL_STORE, _MACHINES, is_heads=True),
    RayPort("node_manager", "ZEJZL_RAY_NODE_MANAGER_PORT", "Ray's raylet, work", _MACHINES),
    RayPort("object_manager", "ZEJZL_RAY_OBJECT_MANAGER_PORT", "Ray's raylet, objects", _MACHINES),
    RayPort("agent_grpc", "ZEJZL_RAY_AGENT_GRPC_PORT", "Ray's node agent", _MACHINES),
    RayPort("agent_http", "ZEJZL_RAY_AGENT_HTTP_PORT", "Ray's node agent, HTTP", "the head's dashboard"),
    RayPort("worker_ports", "ZEJZL_RAY_WORKER_PORTS", "calls of actors, tasks and programs", _MACHINES),
    RayPort(
        "runtime_env", "ZEJZL_RAY_RUNTIME_ENV_PORT", "Ray's runtime environment agent", "the machine itself",
        is_inner=True,
    ),
    RayPort(
        "ray_client", "ZEJZL_RAY_CLIENT_PORT", "Ray client", "programs of yours that use ray://", is_heads=True
    ),
    RayPort("metrics", "ZEJZL_RAY_METRICS_PORT", "Ray's figures", "Prometheus"),
)  # fmt: skip


def node_ports(settings: Settings) -> NodePorts:
    """Return the ports of a node of several machines.

    Raises:
        SettingsInvalid: two settings name one port, or one lies in the range of another.
    """
    ports = NodePorts(
        dashboard=settings.dashboard_port or DASHBOARD_PORT,
        ray_client=settings.ray_client_port,
        worker_ports=settings.ray_worker_range,
        node_manager=settings.ray_node_manager_port,
        object_manager=settings.ray_object_manager_port,
        agent_grpc=settings.ray_agent_grpc_port,
        agent_http=settings.ray_agent_http_port,
        runtime_env=settings.ray_runtime_env_port,
        metrics=settings.ray_metrics_port if settings.ray_metrics else None,
    )
    _require_apart(ports, settings)
    return ports


def single_ports(ports: NodePorts, role: NodeRole, gcs_port: int) -> dict[str, int]:
    """Return the fixed ports of a node on its own address, by the environment variable that moves each.

    The workers' range is none of them: Ray takes those of it that are free.
    """
    found = {}
    for port in RAY_PORTS:
        number = gcs_port if port.name == "gcs" else getattr(ports, port.name)
        if isinstance(number, int) and number and (role is NodeRole.HEAD or not port.is_heads):
            found[port.setting] = number
    return found


def taken_ports(node: NodeStart, others: Mapping[str, int] | None = None) -> dict[str, int]:
    """Return those ports of a node that something else listens on now, by environment variable.

    Args:
        node: what is to be started.
        others: further ports, which must be free on loopback.

    Raises:
        ClusterError: nobody may listen on one of them.
    """
    own = single_ports(node.ports, node.role, node.gcs_port)
    near = dict(others or {})
    if node.role is NodeRole.HEAD:
        near["ZEJZL_DASHBOARD_PORT"] = node.ports.dashboard
    return {**_taken(own, _ALL), **_taken(near, _LOOPBACK)}


def require_free_ports(
    node: NodeStart, others: Mapping[str, int] | None = None, instead_of: NodeStart | None = None
) -> None:
    """Check before a start that nothing else listens where the node will.

    Args:
        node: what is to be started.
        others: further ports, which must be free on loopback.
        instead_of: the node that runs now and is to be replaced; its own ports are no fault.

    Raises:
        PortInUse: names each port that is taken and the setting that moves it.
        ClusterError: nobody may listen on one of them.
    """
    taken = taken_ports(node, others)
    if instead_of is not None:
        own = {*single_ports(instead_of.ports, NodeRole.HEAD, instead_of.gcs_port).values()}
        own.add(instead_of.ports.dashboard)
        taken = {name: port for name, port in taken.items() if port not in own}
    if taken:
        raise PortInUse(
            f"Another program listens on port {_listed(taken)} of {node.machine}; nothing was started.",
            "End it, or set the named variable to another port on all machines.",
        )


def wait_for_ports(
    node: NodeStart,
    limit_s: float,
    sleep: Callable[[float], None] = time.sleep,
    now_s: Callable[[], float] = time.monotonic,
) -> None:
    """Wait until the node's ports are free: what is left of a node that was killed may hold one a moment longer.

    Raises:
        PortInUse: they are not after ``limit_s``.
        ClusterError: nobody may listen on one of them.
    """
    deadline_s = now_s() + limit_s
    while taken_ports(node) and now_s() < deadline_s:
        sleep(_POLL_S)
    require_free_ports(node)


def _require_apart(ports: NodePorts, settings: Settings) -> None:
    head = single_ports(ports, NodeRole.HEAD, settings.ray_port or GCS_PORT)
    head["ZEJZL_DASHBOARD_PORT"] = ports.dashboard
    services = {
        "ZEJZL_HTTP_PORT": settings.http_port,
        "ZEJZL_RESOURCE_MANAGER_PORT": settings.resource_manager_port,
        "ZEJZL_OBSERVABILITY_PORT": settings.observability_port,
        "ZEJZL_ERROR_BUS_PORT": settings.error_bus_port,
        "ZEJZL_SECURITY_PORT": settings.security_port,
    }
    require_distinct({**services, **head})
    wanted = {"ZEJZL_MAIL_PORTS": settings.mail_range, "ZEJZL_RAY_WORKER_PORTS": ports.worker_ports}
    ranges = {name: found for name, found in wanted.items() if found is not None}
    for range_name, (first, last) in ranges.items():
        inside = [name for name, port in {**services, **head}.items() if first <= port <= last]
        inside += [
            name for name, (start, _) in ranges.items() if name != range_name and first <= start <= last
        ]
        if inside:
            raise SettingsInvalid(
                f"{', '.join(inside)} lies inside {range_name} {first}-{last}.", "Give each its own."
            )


def _taken(wanted: Mapping[str, int], host: str) -> dict[str, int]:
    found = {}
    for name, port in wanted.items():
        error = listen_error(host, port)
        if error is not None and error.errno != errno.EADDRINUSE:
            raise ClusterError(f"Cannot listen on port {port} ({name}): {error.strerror}.", f"Set {name}.")
        if error is not None:
            found[name] = port
    return found


def _listed(taken: Mapping[str, int]) -> str:
    return ", ".join(f"{port} ({name})" for name, port in taken.items())
