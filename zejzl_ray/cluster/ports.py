"""Ports of this machine: which are taken, and which are free."""

import errno
import socket
from collections.abc import Iterable

from zejzl_ray.errors import ClusterError, PortInUse, SettingsInvalid


def is_port_free(host: str, port: int) -> bool:
    """Return whether a program could listen on the port now."""
    return listen_error(host, port) is None


def listen_error(host: str, port: int) -> OSError | None:
    """Return why no program could listen on the port now; None when one could."""
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        # As the servers do: connections of a program that has just ended do not count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def free_ports(count: int, host: str = "127.0.0.1", *, avoid: Iterable[int] = ()) -> list[int]:
    """Return different ports that are free now, none of ``avoid``.

    Somebody else may take one before it is used.
    """
    found: list[int] = []
    held: list[socket.socket] = []
    unwanted = set(avoid)
    try:
        while len(found) < count:
            probe = socket.socket(_family(host), socket.SOCK_STREAM)
            held.append(probe)
            probe.bind((host, 0))
            port = probe.getsockname()[1]
            if port not in unwanted:
                found.append(port)
    finally:
        for probe in held:
            probe.close()
    return found


def require_distinct(wanted: dict[str, int]) -> None:
    """Check that no two settings (environment variable -> port) name the same port.

    Raises:
        SettingsInvalid: two do; names them.
    """
    owner: dict[int, str] = {}
    for name, port in wanted.items():
        if port in owner:
            raise SettingsInvalid(f"{owner[port]} and {name} both name port {port}.", "Give each its own.")
        owner[port] = name


def require_free(wanted: dict[str, int], host: str) -> None:
    """Check that every named port is free.

    Args:
        wanted: setting (environment variable) -> port.
        host: address to listen on.

    Raises:
        PortInUse: names the ports that are taken and the settings that move them.
        ClusterError: nobody can listen there: the address is not of this machine, or the port is reserved.
    """
    taken: dict[str, int] = {}
    for name, port in wanted.items():
        error = listen_error(host, port)
        if error is not None and error.errno != errno.EADDRINUSE:
            raise ClusterError(
                f"Cannot listen on {host}, port {port} ({name}): {error.strerror}.",
                "Set ZEJZL_BIND_HOST to an address of this machine, and ports above 1023.",
            )
        if error is not None:
            taken[name] = port
    if taken:
        listed = ", ".join(f"{port} ({name})" for name, port in taken.items())
        raise PortInUse(
            f"Another program listens on {host}, port {listed}.",
            "Stop it, or set the named variables to other ports.",
        )
