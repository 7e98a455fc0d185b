"""The fifteen old agents become five services: the decision, on a fleet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zejzl_ray.fleet.model import Fleet, ServiceDeclaration
from zejzl_ray.fleet.replacements import REPLACEMENTS, Replacement, service_of


@dataclass(frozen=True)
class Rewired:
    """An agent whose dependencies changed."""

    agent: str
    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True)
class Merged:
    """A consolidated fleet.

    ``removed`` maps each old agent that was there to its service; ``rewired`` is in fleet order.
    """

    fleet: Fleet
    removed: Mapping[str, str]
    rewired: tuple[Rewired, ...]


def consolidate_fleet(fleet: Fleet) -> Merged:
    """Return the fleet with the five services in place of the agents that they replace.

    Dependencies on an old name become dependencies on its service, each once. What the services themselves
    wait for comes from the plan alone: a service that waited for an agent would wait for something that waits
    for it. Doing it again changes nothing, and old agents that are not there are no error.
    """
    meaning = service_of()
    removed = {name: meaning[name] for name in fleet.agents if name in meaning}
    mentioned = {name for agent in fleet.agents.values() for name in agent.dependencies} | set(removed)
    services = {
        plan.service: _declared(plan, fleet.services.get(plan.service), mentioned) for plan in REPLACEMENTS
    }
    rewired: list[Rewired] = []
    agents = {}
    for agent in fleet.agents.values():
        if agent.name in removed:
            continue
        new = rewire(agent.dependencies)
        if new != agent.dependencies:
            rewired.append(Rewired(agent.name, agent.dependencies, new))
        agents[agent.name] = agent.model_copy(update={"dependencies": new})
    return Merged(fleet.model_copy(update={"services": services, "agents": agents}), removed, tuple(rewired))


def rewire(dependencies: Sequence[str]) -> tuple[str, ...]:
    """Return the dependencies with old names replaced by their services, each once, in their order."""
    meaning = service_of()
    return tuple(dict.fromkeys(meaning.get(name, name) for name in dependencies))


def _declared(plan: Replacement, known: ServiceDeclaration | None, mentioned: set[str]) -> ServiceDeclaration:
    """The service as planned; where the files already declare it, their home, port and dependencies stand."""
    planned = plan.declaration(tuple(name for name in plan.former_names if name in mentioned))
    if known is None:
        return planned
    return known.model_copy(
        update={
            "dependencies": known.dependencies or planned.dependencies,
            "aliases": tuple(dict.fromkeys((*known.aliases, *planned.aliases))),
        }
    )
