"""Which ports the machines need from one another, and which must be free on each."""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from zejzl_ray.cluster.node_ports import CONTROL_STORE, DASHBOARD_PORT, GCS_PORT, RAY_PORTS
from zejzl_ray.cluster.redis_address import REDIS_PORT, RedisAddress, with_address
from zejzl_ray.cluster_check.facts import ClusterFacts, MachineFacts, OwnFacts
from zejzl_ray.settings import Settings, port_range

RAYS_OWN: Final = "Ray's own ports"
MAIL: Final = "mail of hosts of agents"
_BETWEEN: Final = tuple(port for port in RAY_PORTS if port.caller in ("all machines", "the head's dashboard"))
_RANGE: Final = "worker_ports"
_SENTINEL_PORT: Final = 26379


@dataclass(frozen=True, slots=True)
class NeededPort:
    """One port of a machine; 0 stands for any free one.

    Attributes:
        port: the number.
        what: who listens there.
        setting: environment variable that moves it; empty when none does.
        is_of_many: whether it is one of a range, of which Ray takes those that are free.
    """

    port: int
    what: str
    setting: str = ""
    is_of_many: bool = False


def outer_ports(own: OwnFacts, *, is_head: bool) -> tuple[NeededPort, ...]:
    """Return the ports that the other machines must reach."""
    found = [NeededPort(gcs_port(own), CONTROL_STORE, "ZEJZL_RAY_PORT")] if is_head else []
    node = _running_node(own)
    for port in _BETWEEN:
        if port.name == "gcs":
            continue
        for number in _numbers(own, node, port.name):
            found.append(NeededPort(number, RAYS_OWN, port.setting, port.name == _RANGE or not number))
    found += [NeededPort(number, MAIL, "ZEJZL_MAIL_PORTS", is_of_many=True) for number in _mail_ports(own)]
    return tuple({need.port: need for need in reversed(found)}.values())[::-1]


def _numbers(own: OwnFacts, node: dict[str, Any] | None, name: str) -> tuple[int, ...]:
    """Return a port as the node that runs has it, else as it would be set; the ends of a range; 0 for any free one."""
    if node is not None:
        value = (node.get("ports") or {}).get(name) or 0
        return (int(value),) if isinstance(value, int) else (int(value[0]), int(value[-1]))
    field = f"ray_{name}" if name == _RANGE else f"ray_{name}_port"
    default, text = Settings.model_fields[field].default, own.settings.get(field.upper(), "")
    if name != _RANGE:
        return (int(text) if text == "0" else _number(own.settings, field.upper(), default),)
    try:
        return port_range(text or default) or (0,)
    except ValueError:
        return (0,)  # refused at the start, by name


def _mail_ports(own: OwnFacts) -> tuple[int, ...]:
    """Return the ends of the range; 0 for any free one."""
    try:
        return port_range(own.settings.get("MAIL_PORTS") or Settings.model_fields["mail_ports"].default) or (
            0,
        )
    except ValueError:
        return ()  # refused at the start, by name


def _running_node(own: OwnFacts) -> dict[str, Any] | None:
    node = (own.node.record or {}).get("node")
    return node if isinstance(node, dict) and own.node.processes else None


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
        NeededPort(dashboard_port(own), "Ray's dashboard", "ZEJZL_DASHBOARD_PORT"),
    )


def gcs_port(own: OwnFacts) -> int:
    """Return where the head's control store listens: where it was started, else where it would be."""
    port = str((_running_node(own) or {}).get("head_address") or "").rpartition(":")[2]
    if port.isdecimal() and own.node.process("gcs_server") is not None:
        return int(port)
    return gcs_port_of(own.settings)


def gcs_port_of(settings: dict[str, str]) -> int:
    """Return where the head's control store would listen by these settings."""
    return _number(settings, "RAY_PORT", GCS_PORT)


def dashboard_port(own: OwnFacts) -> int:
    """Return where the head's dashboard listens."""
    plan = _running_node(own) or {}
    set_port = _number(own.settings, "DASHBOARD_PORT", DASHBOARD_PORT)
    return int((plan.get("ports") or {}).get("dashboard") or set_port)


def store_url(facts: ClusterFacts) -> str:
    """Return the URL of the store: what the cluster file sets at the head, else what is set there.

    A head that has taken over has its own Redis.
    """
    return store_url_of(facts.cluster.environment, facts.head)


def store_url_of(environment: dict[str, str], head: MachineFacts) -> str:
    """Return the URL of the store from what the start command sets, else from the head's own environment."""
    settings = head.own.settings if head.own is not None else {}
    url = environment.get("ZEJZL_STORE_URL") or settings.get("STORE_URL") or "sqlite"
    running = redis_place(head.own.node.redis_url) if head.own is not None else None
    if running is None or redis_place(url) is None:
        return url
    host, port, _ = running
    return with_address(url, RedisAddress(host=host, port=port))


def redis_place(url: str) -> tuple[str, int, bool] | None:
    """Return host, port and whether TLS is spoken; None for another store, or one behind Sentinels."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss") or not parts.hostname:
            return None
        return parts.hostname, parts.port or REDIS_PORT, parts.scheme == "rediss"
    except ValueError:
        return None


def sentinels_of(url: str) -> tuple[str, tuple[tuple[str, int], ...], bool] | None:
    """Return the name of the primary, the Sentinels that watch it, and whether TLS is spoken; None without any."""
    try:
        parts = urlsplit(url)
        if parts.scheme != "redis+sentinel":
            return None
        places = [urlsplit(f"//{text}") for text in parts.netloc.rpartition("@")[2].split(",")]
        found = tuple((place.hostname or "", place.port or _SENTINEL_PORT) for place in places)
        return parts.path.strip("/").partition("/")[0], found, "ssl=true" in parts.query
    except ValueError:
        return None


def _number(settings: dict[str, str], name: str, otherwise: int) -> int:
    text = settings.get(name, "")
    return int(text) if text.isdecimal() and 0 < int(text) < 65536 else otherwise
