"""What the fleet file says of machines, for commands that are about machines and not about the fleet."""

import socket

from zejzl_ray.cli.up import load_checked_fleet
from zejzl_ray.cluster.this_machine import machine_of
from zejzl_ray.errors import ZejzlError
from zejzl_ray.settings import Settings


def declared_names(settings: Settings) -> dict[str, str]:
    """Return address -> name of the fleet's machines; nothing where no fleet can be read, which others tell."""
    try:
        fleet, _ = load_checked_fleet(settings, None)
    except ZejzlError:
        return {}
    return {machine.address: name for name, machine in fleet.machines.items() if machine.address}


def declared_machine(settings: Settings, node_ip: str) -> str:
    """Return the name of the fleet's machine that this computer is.

    Raises:
        MachineNotFound: none or several fit.
        FleetInvalid: the fleet file is wrong.
    """
    fleet, _ = load_checked_fleet(settings, None)
    return machine_of(fleet.machines, node_ip, socket.gethostname())
