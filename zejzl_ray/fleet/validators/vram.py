"""Video memory that no declared card has."""

from collections.abc import Iterable

from zejzl_ray.fleet.drafts import FleetContext
from zejzl_ray.fleet.finding import Finding


class VramFits:
    """What an agent or a host needs must fit one card of its machine, or one of any where it is tied to none.

    Machines without declared cards are not judged: what they have is found at run time.
    """

    name = "vram"

    def check(self, context: FleetContext) -> Iterable[Finding]:
        """Return one finding for each agent and host that fits nowhere."""
        largest = {
            name: max((card.vram_mib for card in machine.gpus), default=None)
            for name, machine in context.fleet.machines.items()
        }
        for draft in context.running_agents:
            agent = draft.declaration
            asked = (agent.machine,) if agent.machine is not None else tuple(largest)
            sizes = [size for name in asked if (size := largest.get(name)) is not None]
            if len(sizes) < len(asked) or not sizes or agent.needs.vram_mib <= max(sizes):
                continue
            where = f"of {agent.machine}" if agent.machine is not None else "of the fleet"
            yield draft.error(
                "vram-too-large",
                "needs.vram_mib",
                f"{draft.name} needs {agent.needs.vram_mib} MiB of video memory, but the largest card "
                f"{where} has {max(sizes)} MiB",
                "Lower the need, or place it on another machine.",
            )
        for host in context.hosts:
            wanted, most = host.declaration.vram_mib, largest.get(host.declaration.machine)
            if most is not None and wanted > most:
                yield host.error(
                    "vram-too-large",
                    "vram_mib",
                    f"the host {host.name} asks for {wanted} MiB of video memory, but the largest card of "
                    f"{host.declaration.machine} has {most} MiB",
                    "Lower it, or place the host on another machine.",
                )
