"""The two real files: every finding is a true fault, and every fault that is known of them is found."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from zejzl_ray.fleet.load import load_fleet

FOLDER = Path(__file__).parents[3].parent / "shared" / "data" / "legacy_configs"
MAINPC = FOLDER / "mainpc_startup_config.yaml"
PC2 = FOLDER / "pc2_startup_config.yaml"
SHELL = {"PYTHONPATH": "/usr/lib", "PWD": "/home"}

pytestmark = pytest.mark.skipif(
    not MAINPC.is_file(), reason=f"the real startup configurations are not in {FOLDER}"
)

OF_MAINPC = {
    # its agent GoalManager sits on the port of the security gateway, which falls back to that machine
    ("error", "port-clash", "7005", 298),
    (
        "error",
        "dependency-cycle",
        "TTSService -> StreamingInterruptHandler -> StreamingTTSAgent -> TTSService",
        399,
    ),
}
OF_PC2 = {
    # in pc2_services with health port 8140, in core_services with 7141
    ("error", "duplicate-agent", "MemoryOrchestratorService", 283),
    # error_bus_port is the port of VisionProcessingAgent
    ("error", "port-clash", "7150", 293),
}
OF_BOTH = {
    # ServiceRegistry (mainpc) and TieredResponder (pc2)
    ("warning", "port-clash-single-machine", "7100,8100", 20),
}


def found(*paths: Path, environment: dict[str, str]) -> set[tuple[str, str, str, int]]:
    findings = load_fleet(paths, environment=environment).findings
    result = {(finding.severity.value, finding.code, finding.subject, finding.line) for finding in findings}
    assert len(result) == len(findings)
    return result


def test_each_file_alone_has_its_own_faults_and_no_others() -> None:
    assert found(MAINPC, environment={}) == OF_MAINPC
    assert found(PC2, environment=SHELL) == OF_PC2


def test_both_together_have_the_faults_of_each_and_those_between_them() -> None:
    assert found(MAINPC, PC2, environment=SHELL) == OF_MAINPC | OF_PC2 | OF_BOTH


def test_unset_variables_of_the_pc2_file_are_warnings() -> None:
    assert found(PC2, environment={}) - OF_PC2 == {
        ("warning", "unresolved-variable", "PWD", 254),
        ("warning", "unresolved-variable", "PYTHONPATH", 254),
    }


def test_every_agent_is_read_and_no_field_is_lost() -> None:
    fleet = load_fleet([MAINPC, PC2], environment={}).fleet
    assert fleet is not None
    assert Counter(agent.machine for agent in fleet.agents.values()) == {"mainpc": 56, "pc2": 26}
    assert sum(agent.required for agent in fleet.agents.values() if agent.machine == "mainpc") == 53
    assert len(fleet.machines["mainpc"].groups) == 12
    assert fleet.machines["mainpc"].extras == {}
    assert fleet.machines["pc2"].extras == {}
    assert {name for name, agent in fleet.agents.items() if agent.extras} == set()
    for name, group, entry in raw_entries():
        agent = fleet.agents[name]
        if group == "core_services" and agent.machine == "pc2":
            continue  # the second declaration of one agent
        assert agent.group == group
        assert (agent.entry, agent.port, agent.health_port) == (
            entry["script_path"],
            entry["port"],
            entry["health_check_port"],
        )
        assert agent.dependencies == tuple(entry.get("dependencies", ()))
        assert agent.config == entry.get("config", {})


def test_a_plain_count_over_the_raw_files_finds_the_same_ports_and_names() -> None:
    """Written without any of the readers: ports per machine, and dependencies that nobody declares."""
    ports: dict[tuple[str, int], set[str]] = defaultdict(set)
    names = {name for name, _, _ in raw_entries()}
    unknown = set()
    for name, _, entry in raw_entries():
        machine = entry["script_path"].split("/")[0]
        for key in ("port", "health_check_port"):
            ports[machine, entry[key]].add(name)
        unknown |= set(entry.get("dependencies", ())) - names
    assert unknown == set()
    assert [owners for owners in ports.values() if len(owners) > 1] == []
    reserved = {7000, 7001, 7002, 7003, 7005}
    assert {(port, owner) for (_, port), owners in ports.items() for owner in owners if port in reserved} == {
        (7005, "GoalManager")
    }
    both = {port for machine, port in ports if machine == "main_pc_code"} & {
        port for machine, port in ports if machine == "pc2_code"
    }
    assert both == {7100, 8100}
    assert ports["pc2_code", yaml.safe_load(PC2.read_text())["error_bus_port"]] == {"VisionProcessingAgent"}


def raw_entries() -> list[tuple[str, str, dict[str, Any]]]:
    main, pc2 = yaml.safe_load(MAINPC.read_text()), yaml.safe_load(PC2.read_text())
    found = [
        (name, group, entry)
        for group, members in main["agent_groups"].items()
        for name, entry in (members or {}).items()
    ]
    found += [(entry["name"], key, entry) for key in ("pc2_services", "core_services") for entry in pc2[key]]
    return found
