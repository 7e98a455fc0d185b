"""A random fleet, written in each schema, reads back the same."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from zejzl_ray.fleet.load import load_fleet
from zejzl_ray.fleet.model import (
    SCHEMA,
    AgentDeclaration,
    AgentKind,
    Fleet,
    GpuDeclaration,
    MachineDeclaration,
    Needs,
    ServiceDeclaration,
)
from zejzl_ray.fleet.topology import SERVICE_NAMES

NAMES = st.from_regex(r"\A[A-Za-z][A-Za-z0-9_.-]{0,12}\Z").filter(lambda name: name not in SERVICE_NAMES)
PRINTABLE = st.characters(
    codec="utf-8", exclude_categories=("Cc", "Cs", "Co", "Cn"), exclude_characters="$\ufeff"
)
TEXTS = st.text(PRINTABLE, min_size=1, max_size=12).filter(lambda text: text.strip() == text)
KEYS = st.from_regex(r"\A[a-z][a-z_]{0,8}\Z")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
TABLES = st.dictionaries(KEYS, VALUES, max_size=3)
ENVIRONMENTS = st.dictionaries(st.from_regex(r"\A[A-Z_]{1,8}\Z"), TEXTS | st.just(""), max_size=3)
PORTS = st.none() | st.integers(1, 65535)


def old_agents(machine: str, groups: list[str]) -> st.SearchStrategy[dict[str, AgentDeclaration]]:
    def named(names: list[str]) -> st.SearchStrategy[dict[str, AgentDeclaration]]:
        one = st.fixed_dictionaries(
            {
                "group": st.sampled_from(groups),
                "entry": TEXTS,
                "host": TEXTS,
                "port": PORTS,
                "health_port": PORTS,
                "required": st.booleans(),
                "dependencies": st.lists(st.sampled_from(names), unique=True, max_size=3).map(tuple),
                "config": TABLES,
                "environment": ENVIRONMENTS,
                "extras": st.dictionaries(
                    st.sampled_from(["description", "startup", "module", "class"]), TEXTS
                ),
            }
        )
        return st.fixed_dictionaries(dict.fromkeys(names, one)).map(
            lambda values: {
                name: AgentDeclaration(name=name, machine=machine, **value) for name, value in values.items()
            }
        )

    return st.lists(NAMES, min_size=1, max_size=5, unique=True).flatmap(named)


def old_fleets(machine: str, groups: list[str]) -> st.SearchStrategy[Fleet]:
    machines = st.builds(
        MachineDeclaration,
        name=st.just(machine),
        groups=st.just(tuple(groups)),
        environment=ENVIRONMENTS,
        resource_limits=TABLES,
        health_checks=TABLES,
        volumes=st.lists(TABLES, max_size=2).map(tuple),
        network=TABLES,
        error_bus_port=PORTS,
        extras=st.dictionaries(st.sampled_from(["docker_groups", "features"]), TABLES),
    )
    return st.builds(
        lambda machine, agents: Fleet(machines={machine.name: machine}, agents=agents),
        machines,
        old_agents(machine, groups),
    )


def old_entry(agent: AgentDeclaration) -> dict[str, Any]:
    return {
        "script_path": agent.entry,
        "host": agent.host,
        "port": agent.port,
        "health_check_port": agent.health_port,
        "required": agent.required,
        "dependencies": list(agent.dependencies),
        "config": agent.config,
        "env_vars": agent.environment,
        **agent.extras,
    }


def settings_of(machine: MachineDeclaration) -> dict[str, Any]:
    return {
        "environment": machine.environment,
        "resource_limits": machine.resource_limits,
        "health_checks": machine.health_checks,
        "volumes": list(machine.volumes),
    }


def as_mainpc(fleet: Fleet) -> dict[str, Any]:
    machine = fleet.machines["mainpc"]
    groups: dict[str, Any] = {group: {} for group in machine.groups}
    for agent in fleet.agents.values():
        assert agent.group is not None
        groups[agent.group][agent.name] = old_entry(agent)
    return {
        "global_settings": {**settings_of(machine), "network": machine.network},
        "agent_groups": {name: members or None for name, members in groups.items()},
        "error_bus_port": machine.error_bus_port,
        **machine.extras,
    }


def as_pc2(fleet: Fleet) -> dict[str, Any]:
    machine = fleet.machines["pc2"]
    lists: dict[str, list[dict[str, Any]]] = {group: [] for group in machine.groups}
    for agent in fleet.agents.values():
        assert agent.group is not None
        lists[agent.group].append({"name": agent.name, **old_entry(agent)})
    return {
        **lists,
        **settings_of(machine),
        "pc2_network": machine.network,
        "error_bus_port": machine.error_bus_port,
        **machine.extras,
    }


def as_unified(fleet: Fleet) -> dict[str, Any]:
    data = fleet.model_dump(mode="json")
    for section in ("machines", "services", "agents"):
        for declaration in data[section].values():
            del declaration["name"]
    return {"schema": SCHEMA, **data}


def read_back(data: dict[str, Any]) -> Fleet | None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.yaml"
        path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")
        return load_fleet([path], validators=[]).fleet


@settings(max_examples=25)
@given(old_fleets("mainpc", ["core", "empty", "memory"]))
def test_a_fleet_in_groups_reads_back_the_same(fleet: Fleet) -> None:
    assert read_back(as_mainpc(fleet)) == sorted_like(fleet, "mainpc")


@settings(max_examples=25)
@given(old_fleets("pc2", ["pc2_services", "core_services"]))
def test_a_fleet_in_lists_reads_back_the_same(fleet: Fleet) -> None:
    assert read_back(as_pc2(fleet)) == sorted_like(fleet, "pc2")


def sorted_like(fleet: Fleet, machine: str) -> Fleet:
    """Agents come back group by group; models compare mappings without order, so nothing else changes."""
    order = fleet.machines[machine].groups
    agents = sorted(fleet.agents.items(), key=lambda item: order.index(item[1].group or ""))
    return fleet.model_copy(update={"agents": dict(agents)})


@st.composite
def unified_fleets(draw: st.DrawFn) -> Fleet:
    machines = draw(st.lists(NAMES, max_size=3, unique=True))
    names = draw(st.lists(NAMES, max_size=5, unique=True))
    anybody = st.lists(st.sampled_from([*names, *SERVICE_NAMES]), unique=True, max_size=3).map(tuple)
    somewhere = st.none() | st.sampled_from(machines) if machines else st.none()
    needs = st.builds(
        Needs, vram_mib=st.integers(0, 10**6), cpus=st.floats(0, 512), memory_mib=st.integers(0, 10**7)
    )
    gpus = st.builds(GpuDeclaration, name=TEXTS, vram_mib=st.integers(1, 10**6))
    return Fleet(
        machines={
            name: draw(
                st.builds(
                    MachineDeclaration,
                    name=st.just(name),
                    address=st.none() | TEXTS,
                    gpus=st.lists(gpus, max_size=2).map(tuple),
                    groups=st.lists(TEXTS, unique=True, max_size=3).map(tuple),
                    environment=ENVIRONMENTS,
                    resource_limits=TABLES,
                    health_checks=TABLES,
                    volumes=st.lists(TABLES, max_size=2).map(tuple),
                    network=TABLES,
                    error_bus_port=PORTS,
                    extras=TABLES,
                )
            )
            for name in machines
        },
        services={
            name: draw(
                st.builds(
                    ServiceDeclaration,
                    name=st.just(name),
                    home=NAMES,
                    fallback=st.none() | NAMES,
                    port=st.integers(1, 65535),
                    dependencies=anybody,
                    aliases=st.lists(NAMES, unique=True, max_size=2).map(tuple),
                )
            )
            for name in draw(st.lists(st.sampled_from(SERVICE_NAMES), unique=True))
        },
        agents={
            name: draw(
                st.builds(
                    AgentDeclaration,
                    name=st.just(name),
                    kind=st.sampled_from(AgentKind),
                    machine=somewhere,
                    group=st.none() | TEXTS,
                    entry=st.none() | TEXTS,
                    host=TEXTS,
                    port=PORTS,
                    health_port=PORTS,
                    required=st.booleans(),
                    dependencies=anybody,
                    capabilities=st.lists(TEXTS, unique=True, max_size=2).map(tuple),
                    aliases=st.lists(NAMES, unique=True, max_size=2).map(tuple),
                    needs=needs,
                    environment=ENVIRONMENTS,
                    config=TABLES,
                    extras=TABLES,
                )
            )
            for name in names
        },
    )


@settings(max_examples=25)
@given(unified_fleets())
def test_a_unified_fleet_reads_back_the_same(fleet: Fleet) -> None:
    assert read_back(as_unified(fleet)) == fleet
