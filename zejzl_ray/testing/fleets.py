"""Small fleets for tests, built by hand."""

from typing import Any

from zejzl_ray.fleet.model import AgentDeclaration, Fleet, MachineDeclaration, ServiceDeclaration


def agent(name: str, *dependencies: str, machine: str | None = "mainpc", **fields: Any) -> AgentDeclaration:
    """Return an agent, on MainPC unless said otherwise, that waits for ``dependencies``."""
    return AgentDeclaration(name=name, machine=machine, dependencies=dependencies, **fields)


def fleet_of(*agents: AgentDeclaration, services: tuple[ServiceDeclaration, ...] = ()) -> Fleet:
    """Return a fleet of the machines ``mainpc`` and ``pc2`` with these members."""
    return Fleet(
        machines={name: MachineDeclaration(name=name) for name in ("mainpc", "pc2")},
        services={service.name: service for service in services},
        agents={one.name: one for one in agents},
    )
