"""A fleet as the command that the registry gets."""

from datetime import date

import pytest

from zejzl_ray.contracts.orchestrator import AgentKind as WireKind
from zejzl_ray.errors import FleetInvalid
from zejzl_ray.fleet.declare import declare_command
from zejzl_ray.fleet.model import AgentDeclaration, AgentKind, Fleet, Needs, ServiceDeclaration


def test_agents_are_declared_with_everything_that_is_known() -> None:
    agent = AgentDeclaration(
        name="Scout",
        kind=AgentKind.PROCESS,
        machine="pc2",
        group="core",
        entry="scout.py",
        port=5000,
        health_port=6000,
        required=False,
        dependencies=("Base",),
        capabilities=("look",),
        aliases=("OldScout",),
        needs=Needs(vram_mib=2048),
        environment={"A": "b"},
        config={"since": date(2024, 1, 2), "ports": {5: "x"}},
    )
    command = declare_command(Fleet.model_construct(agents={"Scout": agent}, services={}), "fleet.yaml")
    assert command.source == "fleet.yaml"
    (entry,) = command.agents
    assert (entry.name, entry.kind, entry.machine, entry.port) == ("Scout", WireKind.PROCESS, "pc2", 5000)
    assert (entry.dependencies, entry.aliases, entry.vram_mib) == (("Base",), ("OldScout",), 2048)
    assert entry.metadata == {
        "required": False,
        "group": "core",
        "entry": "scout.py",
        "config": {"since": "2024-01-02", "ports": {"5": "x"}},
        "environment": {"A": "b"},
    }


def test_a_service_answers_for_the_agents_it_replaces_unless_they_still_exist() -> None:
    service = ServiceDeclaration(name="error_bus", home="pc2", port=7003, aliases=("ErrorBus", "Kept"))
    fleet = Fleet(services={"error_bus": service}, agents={"Kept": AgentDeclaration(name="Kept")})
    entry, kept = declare_command(fleet, "f").agents
    assert (entry.name, entry.agent_type, entry.aliases) == ("error_bus", "service", ("ErrorBus",))
    assert (entry.machine, entry.health_port) == ("pc2", 7003)
    assert kept.machine == ""


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"config": {"f": object()}}, "object"), ({"host": "x" * 5000}, "host: ")],
)
def test_what_does_not_fit_the_wire_is_named(fields: dict[str, object], reason: str) -> None:
    agent = AgentDeclaration.model_validate({"name": "Scout", **fields})
    with pytest.raises(FleetInvalid) as caught:
        declare_command(Fleet(agents={"Scout": agent}), "f")
    assert "Agent 'Scout' cannot be declared" in str(caught.value)
    assert reason in str(caught.value)
