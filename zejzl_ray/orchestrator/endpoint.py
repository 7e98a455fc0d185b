"""Checks of addresses: what may be registered, and who already answers there."""

import ipaddress
import re
from typing import Final

from zejzl_ray.contracts.orchestrator import Agent
from zejzl_ray.errors import InvalidInput

_LABEL: Final = re.compile(r"^(?!-)[A-Za-z0-9_-]{1,63}(?<!-)$")
_WILDCARDS: Final = frozenset({"0.0.0.0", "::", "[::]"})  # noqa: S104  # nosec B104  # compared with, never bound
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"}) | _WILDCARDS
_known_good: set[str] = set()
_KNOWN_GOOD_LIMIT: Final = 4096


def check_host(name: str, host: str) -> None:
    """Refuse a host that is neither an IP address nor a host name (RFC 1123, underscores allowed).

    Raises:
        InvalidInput: names the agent and the host.
    """
    if host in _known_good:
        return
    is_bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if is_bracketed else host
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        labels = bare.removesuffix(".").split(".")
        is_number_like = labels[-1].isdigit()
        if (
            is_bracketed
            or is_number_like
            or len(bare) > 253
            or not all(_LABEL.match(label) for label in labels)
        ):
            raise InvalidInput(
                f"Agent {name}: {host!r} is neither an IP address nor a host name.",
                "Give the address that others can reach, without port and scheme.",
            ) from None
    if len(_known_good) < _KNOWN_GOOD_LIMIT:
        _known_good.add(host)


def check_ports(name: str, port: int | None, health_port: int | None) -> None:
    """Refuse an agent whose two ports are the same.

    Raises:
        InvalidInput: names the agent and the port.
    """
    if port is not None and port == health_port:
        raise InvalidInput(
            f"Agent {name}: port and health_port are both {port}; two sockets cannot share one.",
            "Leave health_port out when the agent has none.",
        )


def endpoint_keys(machine: str, host: str, port: int | None, health_port: int | None) -> tuple[str, ...]:
    """Return what tells two endpoints apart: where the host is, and the port.

    A local or wildcard host means something only on its machine; with no machine known there is nothing to
    compare, and the answer is empty.
    """
    if port is None and health_port is None:
        return ()
    if host in _LOCAL or host.startswith("127."):
        if not machine:
            return ()
        place = f"{machine}|*"
    else:
        place = host.lower()
    if port is None:
        return (f"{place}:{health_port}",)
    if health_port is None:
        return (f"{place}:{port}",)
    return (f"{place}:{port}", f"{place}:{health_port}")


def agent_endpoint_keys(agent: Agent) -> tuple[str, ...]:
    """Return the endpoint keys of a record."""
    return endpoint_keys(agent.machine, agent.host, agent.port, agent.health_port)


def reachable_host(host: str, machine_address: str) -> str:
    """Return where to connect: a wildcard means the machine's address, or this machine when none is known."""
    if host in _WILDCARDS:
        return machine_address or "127.0.0.1"
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host
