"""Machines that nobody declares."""

from collections.abc import Iterable

from zejzl_ray.fleet.drafts import Draft, FleetContext
from zejzl_ray.fleet.finding import Finding
from zejzl_ray.fleet.model import AgentDeclaration, HostDeclaration, ServiceDeclaration
from zejzl_ray.fleet.suggest import did_you_mean


class UnknownMachines:
    """Agents, services and hosts name machines of the same fleet; what an old file implies is not asked."""

    name = "unknown-machine"

    def check(self, context: FleetContext) -> Iterable[Finding]:
        """Return one finding for each machine that is named and not declared."""
        known = context.fleet.machines
        if not known:
            return
        drafts: tuple[Draft[AgentDeclaration] | Draft[ServiceDeclaration] | Draft[HostDeclaration], ...] = (
            *context.agents,
            *context.services,
            *context.hosts,
        )
        for draft in drafts:
            for field in ("machine", "home", "fallback"):
                machine = getattr(draft.declaration, field, None)
                if field in draft.places and machine is not None and machine not in known:
                    yield draft.error(
                        "unknown-machine",
                        field,
                        f"{draft.name} names the machine {machine}, which is not declared",
                        did_you_mean(machine, known, f"Declared are {', '.join(known)}."),
                    )
