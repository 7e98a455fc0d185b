"""Ports of this machine: which are taken, and which are free."""

import socket
from collections.abc import Iterable

from zejzl_ray.errors import PortInUse


def is_port_free(host: str, port: int) -> bool:
    """Return whether a program could listen on the port now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the servers do: connections of a program that has just ended do not count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_ports(count: int, host: str = "127.0.0.1", *, avoid: Iterable[int] = ()) -> list[int]:
    """Return different ports that are free now, none of ``avoid``; somebody else may take one before it is used."""
    found: list[int] = []
    held: list[socket.socket] = []
    unwanted = set(avoid)
    try:
        while len(found) < count:
            probe = socket.socket()
            held.append(probe)
            probe.bind((host, 0))
            port = probe.getsockname()[1]
            if port not in unwanted:
                found.append(port)
    finally:
        for probe in held:
            probe.close()
    return found


def require_free(wanted: dict[str, int], host: str) -> None:
    """Check that every named port is free.

    Args:
        wanted: setting (environment variable) -> port.
        host: address to listen on.

    Raises:
        PortInUse: names the ports that are taken and the settings that move them.
    """
    taken = {name: port for name, port in wanted.items() if not is_port_free(host, port)}
    if taken:
        listed = ", ".join(f"{port} ({name})" for name, port in taken.items())
        raise PortInUse(
            f"Another program listens on {host}, port {listed}.",
            "Stop it, or set the named variables to other ports.",
        )
