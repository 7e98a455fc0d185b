"""Ports that stand in an agent's ``config`` and belong to somebody else."""

from collections.abc import Iterable, Iterator
from typing import Final

from zejzl_ray.fleet.drafts import Draft, FleetContext
from zejzl_ray.fleet.finding import Finding
from zejzl_ray.fleet.model import AgentDeclaration
from zejzl_ray.fleet.validators.binds import Bind, binds_by_machine
from zejzl_ray.fleet.validators.names import listed

#: keys under which agents name further ports of their own; ``redis_port`` and the like are other people's
OWN_PORTS: Final = (
    "zmq_port",
    "grpc_port",
    "rest_port",
    "metrics_port",
    "proxy_grpc_port",
    "proxy_metrics_port",
)
_OF_AN_ERROR_BUS: Final = ("error_bus_port", "zmq_broadcast_port")


class ConfigPortClashes:
    """A warning and not an error: what an agent does with its ``config`` is its own affair."""

    name = "config-port-clash"

    def check(self, context: FleetContext) -> Iterable[Finding]:
        """Return one finding for each further port that an earlier or a declared owner has too."""
        declared = binds_by_machine(context)
        for machine, binds in declared.items():
            known = list(binds)
            for draft in context.running_agents:
                if draft.declaration.machine != machine:
                    continue
                for bind in _further_ports(draft):
                    others = [other for other in known if bind.is_clash(other)]
                    if others:
                        yield _finding(draft, bind, machine, others)
                    known.append(bind)


def _further_ports(draft: Draft[AgentDeclaration]) -> Iterator[Bind]:
    agent = draft.declaration
    is_bus = "errorbus" in agent.name.lower().replace("_", "")
    for key in (*OWN_PORTS, *(_OF_AN_ERROR_BUS if is_bus else ())):
        port = agent.config.get(key)
        if isinstance(port, int) and not isinstance(port, bool):
            yield Bind(port, agent.host, agent.name, f"{agent.name}'s {key}", f"config.{key}", draft)


def _finding(draft: Draft[AgentDeclaration], bind: Bind, machine: str, others: list[Bind]) -> Finding:
    return draft.warning(
        "config-port-clash",
        bind.field,
        f"port {bind.port} on {machine} is taken twice: by {bind.owner}, and by "
        f"{listed([other.owner_and_place for other in others], ' and ')}",
        "Give one of them another port.",
        subject=str(bind.port),
        related=tuple(other.place for other in others if other.source is not None),
    )
