"""What the registry is told of a fleet file."""

from typing import Any

import orjson
from pydantic import ValidationError

from zejzl_ray.contracts.orchestrator import AgentKind, DeclareFleet, RegisterAgent
from zejzl_ray.errors import FleetInvalid
from zejzl_ray.fleet.model import AgentDeclaration, Fleet, ServiceDeclaration


def declare_command(fleet: Fleet, source: str) -> DeclareFleet:
    """Return the command that makes the registry know every agent and service of the fleet.

    A service is an entry of type ``service`` whose aliases are the old agents that it replaces, so that their names
    go on being resolved.

    Raises:
        FleetInvalid: an entry does not fit the wire, for example settings that are no JSON; names it.
    """
    entries = [_service(service, fleet) for service in fleet.services.values()]
    entries += [_agent(agent) for agent in fleet.agents.values()]
    return DeclareFleet(source=source, agents=tuple(entries))


def _agent(agent: AgentDeclaration) -> RegisterAgent:
    metadata: dict[str, Any] = {"required": agent.required}
    for key in ("agent_host", "group", "entry", "config", "environment", "extras"):
        value = getattr(agent, key)
        if value:
            metadata[key] = value
    return _entry(
        agent.name,
        kind=AgentKind(agent.kind.value),
        machine=agent.machine or "",
        host=agent.host,
        port=agent.port,
        health_port=agent.health_port,
        dependencies=agent.dependencies,
        capabilities=agent.capabilities,
        aliases=agent.aliases,
        vram_mib=agent.needs.vram_mib,
        metadata=metadata,
    )


def _service(service: ServiceDeclaration, fleet: Fleet) -> RegisterAgent:
    return _entry(
        service.name,
        agent_type="service",
        kind=AgentKind.ACTOR,
        machine=service.home,
        host="127.0.0.1",
        health_port=service.port,
        dependencies=service.dependencies,
        aliases=tuple(alias for alias in service.aliases if alias not in fleet.agents),
    )


def _entry(name: str, **fields: Any) -> RegisterAgent:
    try:
        # Settings come from YAML, which knows dates and the like; the wire knows JSON only.
        fields["metadata"] = orjson.loads(
            orjson.dumps(fields.get("metadata", {}), option=orjson.OPT_NON_STR_KEYS)
        )
        return RegisterAgent(name=name, **fields)
    except (ValidationError, orjson.JSONEncodeError) as error:
        raise FleetInvalid(
            f"Agent {name!r} cannot be declared: {_first_problem(error)}.", "Correct it in the fleet file."
        ) from None


def _first_problem(error: ValidationError | orjson.JSONEncodeError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors()[0]
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
