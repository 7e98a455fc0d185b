"""What the fleet file says of machines, for commands that are about machines and not about the fleet."""

import socket
from typing import TYPE_CHECKING

from zejzl_ray.cluster.this_machine import machine_of
from zejzl_ray.errors import ZejzlError
from zejzl_ray.settings import Settings

if TYPE_CHECKING:
    from zejzl_ray.fleet.model import Fleet


def declared_names(settings: Settings) -> dict[str, str]:
    """Return address -> name of the fleet's machines; nothing where no fleet can be read, which others tell."""
    try:
        fleet = _fleet(settings)
    except ZejzlError:
        return {}
    return {machine.address: name for name, machine in fleet.machines.items() if machine.address}


def declared_machine(settings: Settings, node_ip: str) -> str:
    """Return the name of the fleet's machine that this computer is.

    Raises:
        MachineNotFound: none or several fit.
        FleetInvalid: the fleet file is wrong.
    """
    return machine_of(_fleet(settings).machines, node_ip, socket.gethostname())


def _fleet(settings: Settings) -> "Fleet":
    # Here, since most starts of a node need no fleet and would wait for what reads it.
    from zejzl_ray.cli.checked_fleet import load_checked_fleet

    return load_checked_fleet(settings, None)[0]
