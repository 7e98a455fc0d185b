"""Which declared machine this computer is, and which of its addresses the others reach."""

import ipaddress
import socket
from collections.abc import Mapping

import psutil

from zejzl_ray.cluster.ports import listen_error
from zejzl_ray.errors import ClusterError, MachineNotFound
from zejzl_ray.fleet.model import MachineDeclaration


def machine_of(machines: Mapping[str, MachineDeclaration], node_ip: str, host_name: str) -> str:
    """Return the declared machine whose address is ours; else the one that is called as this host is.

    Args:
        machines: as declared, by name.
        node_ip: address of this computer.
        host_name: its name; the part before the first dot counts too.

    Raises:
        MachineNotFound: none or several fit; the message lists what is declared.
    """
    names = {host_name.lower(), host_name.lower().partition(".")[0]}
    by_address = [
        name
        for name, machine in machines.items()
        if machine.address and machine.address.lower() in {node_ip, *names}
    ]
    found = by_address or [name for name in machines if name.lower() in names]
    if len(found) == 1:
        return found[0]
    declared = ", ".join(f"{name} ({machine.address or 'no address'})" for name, machine in machines.items())
    raise MachineNotFound(
        f"{'Several machines' if found else 'No machine'} of the fleet fit this computer "
        f"({host_name}, {node_ip}); declared: {declared or 'none'}.",
        "Name it with --machine, or write its address into the fleet file.",
    )


def address_towards(head_address: str) -> str:
    """Return the address of this computer from which it reaches the head; sends nothing.

    Args:
        head_address: host:port.

    Raises:
        ClusterError: there is no route, or the name is unknown.
    """
    host, _, port = head_address.rpartition(":")
    try:
        family, _, _, _, target = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"This machine has no way to the head at {head_address}: {error}.",
            "Check the address and the network.",
        ) from None


def resolve(host: str) -> str:
    """Return the IP address of a host name; an IP address stays as it is.

    Raises:
        ClusterError: the name is unknown.
    """
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise ClusterError(f"The address {host} cannot be resolved: {error.strerror}.") from None


def own_addresses() -> tuple[str, ...]:
    """Return the IP addresses of this computer, without those that mean something else on every computer."""
    found = []
    for interface in psutil.net_if_addrs().values():
        for entry in interface:
            if entry.family in (socket.AF_INET, socket.AF_INET6):
                address = ipaddress.ip_address(entry.address.partition("%")[0])
                if not address.is_link_local and not address.is_loopback:
                    found.append(str(address))
    return tuple(found)


def require_own_address(address: str) -> None:
    """Refuse an address at which nobody can listen here, before Ray fails over it without a word.

    Raises:
        ClusterError: it is of another machine.
    """
    if listen_error(address, 0) is not None:
        raise ClusterError(
            f"The head's address {address} is none of this machine's: {', '.join(own_addresses())}.",
            "Correct provider.head_ip in the cluster file; or is another machine meant?",
        )
