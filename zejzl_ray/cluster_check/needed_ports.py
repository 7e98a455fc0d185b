"""Which ports the machines need from one another, and which must be free on each."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from zejzl_ray.cluster.launched_node import GCS_PORT
from zejzl_ray.cluster.node_start import NodePorts
from zejzl_ray.cluster_check.facts import ClusterFacts, MachineFacts, OwnFacts

RAYS_OWN: Final = "Ray's own ports"
CONTROL_STORE: Final = "Ray's control store"
_REDIS_PORT: Final = 6380


@dataclass(frozen=True, slots=True)
class NeededPort:
    """One port of a machine; 0 stands for any free one.

    Attributes:
        port: the number.
        what: who listens there.
        setting: environment variable that moves it; empty when none does.
    """

    port: int
    what: str
    setting: str = ""


def outer_ports(own: OwnFacts, *, is_head: bool) -> tuple[NeededPort, ...]:
    """Return the ports that the other machines must reach."""
    found = [NeededPort(gcs_port(own), CONTROL_STORE, "ZEJZL_RAY_PORT")] if is_head else []
    plan = (own.node.record or {}).get("node") or {}
    ports = plan.get("ports") or NodePorts().model_dump()
    fixed = {int(ports.get(name) or 0) for name in ("node_manager", "object_manager")}
    return (*found, *(NeededPort(port, RAYS_OWN) for port in sorted(fixed)))


def loopback_ports(own: OwnFacts, *, is_head: bool) -> tuple[NeededPort, ...]:
    """Return the ports that must be free on loopback: services may run on any machine, the rest is the head's."""
    settings = own.settings
    services = (
        NeededPort(
            _number(settings, "RESOURCE_MANAGER_PORT", 7001),
            "resource_manager",
            "ZEJZL_RESOURCE_MANAGER_PORT",
        ),
        NeededPort(
            _number(settings, "OBSERVABILITY_PORT", 7002), "observability_hub", "ZEJZL_OBSERVABILITY_PORT"
        ),
        NeededPort(_number(settings, "ERROR_BUS_PORT", 7003), "error_bus", "ZEJZL_ERROR_BUS_PORT"),
        NeededPort(_number(settings, "SECURITY_PORT", 7005), "security_gateway", "ZEJZL_SECURITY_PORT"),
    )
    if not is_head:
        return services
    return (
        NeededPort(_number(settings, "HTTP_PORT", 7000), "the ingress", "ZEJZL_HTTP_PORT"),
        *services,
        NeededPort(dashboard_port(own), "Ray's dashboard"),
    )


def gcs_port(own: OwnFacts) -> int:
    """Return where the head's control store listens."""
    return _number(own.settings, "RAY_PORT", GCS_PORT)


def dashboard_port(own: OwnFacts) -> int:
    """Return where the head's dashboard listens."""
    plan = (own.node.record or {}).get("node") or {}
    return int((plan.get("ports") or {}).get("dashboard") or NodePorts().dashboard)


def store_url(facts: ClusterFacts) -> str:
    """Return the URL of the store: what the cluster file sets at the head, else what is set there."""
    return store_url_of(facts.cluster.environment, facts.head)


def store_url_of(environment: dict[str, str], head: MachineFacts) -> str:
    """Return the URL of the store from what the start command sets, else from the head's own environment."""
    settings = head.own.settings if head.own is not None else {}
    return environment.get("ZEJZL_STORE_URL") or settings.get("STORE_URL") or "sqlite"


def redis_place(url: str) -> tuple[str, int, bool] | None:
    """Return host, port and whether TLS is spoken; None for another store, or one behind Sentinels."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss") or not parts.hostname:
            return None
        return parts.hostname, parts.port or _REDIS_PORT, parts.scheme == "rediss"
    except ValueError:
        return None


def _number(settings: dict[str, str], name: str, otherwise: int) -> int:
    text = settings.get(name, "")
    return int(text) if text.isdecimal() and 0 < int(text) < 65536 else otherwise
