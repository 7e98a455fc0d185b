from collections.abc import Callable
from pathlib import Path

import pytest

from zejzl_ray.fleet.load import LoadedFleet, load_fleet

LoadText = Callable[..., LoadedFleet]


def test_a_pc2_file_is_read_whole(load_text: LoadText) -> None:
    loaded = load_text(
        """
        pc2_services:
          - {name: A, script_path: pc2_code/a.py, host: 0.0.0.0, port: 7110, required: true}
          - {name: B, script_path: pc2_code/b.py, port: 7111, dependencies: [A, C]}
        environment: {LOG_LEVEL: INFO}
        resource_limits: {memory_mb: 4096}
        health_checks: {retries: 3}
        pc2_network: {host: 0.0.0.0, agent_ports: {start: 7100, end: 7199}}
        core_services:
          - {name: C, script_path: pc2_code/c.py, module: agents.c, class: C, port: 7140, startup_priority: 1}
        error_bus_port: ${PORT_OFFSET}+7150
        """
    )
    assert loaded.findings == ()
    assert loaded.fleet is not None
    machine = loaded.fleet.machines["pc2"]
    assert machine.groups == ("pc2_services", "core_services")
    assert machine.environment == {"LOG_LEVEL": "INFO"}
    assert machine.network == {"host": "0.0.0.0", "agent_ports": {"start": 7100, "end": 7199}}
    assert machine.error_bus_port == 7150
    assert list(loaded.fleet.agents) == ["A", "B", "C"]
    assert loaded.fleet.agents["C"].extras == {"module": "agents.c", "class": "C", "startup_priority": 1}
    assert {agent.machine for agent in loaded.fleet.agents.values()} == {"pc2"}


def test_the_july_form_with_global_settings_is_read(load_text: LoadText) -> None:
    loaded = load_text(
        """
        global_settings: {environment: {A: b}, health_checks: {retries: 3}}
        health_checks: {start_period_seconds: 300}
        pc2_services: []
        """
    )
    assert loaded.findings == ()
    assert loaded.fleet is not None
    assert loaded.fleet.machines["pc2"].health_checks == {"retries": 3, "start_period_seconds": 300}


def test_flat_lists_of_the_first_files_are_read(load_text: LoadText) -> None:
    loaded = load_text(
        """
        core_services:
          - {name: A, script_path: agents/a.py, port: 5001, params: {x: 1, env_vars: {B: "true"}}}
        main_pc_gpu_services:
          - {name: B, script_path: FORMAINPC/b.py, port: 5002, startup_priority: 1, description: d}
        planning_execution:
        environment: {LOG_LEVEL: INFO}
        volumes: [./logs]
        network: {name: net}
        """
    )
    assert [finding.code for finding in loaded.findings] == ["wrong-type"]  # a volume must be a mapping
    assert loaded.fleet is not None
    assert list(loaded.fleet.agents) == ["A", "B"]
    assert loaded.fleet.machines["mainpc"].groups == (
        "core_services",
        "main_pc_gpu_services",
        "planning_execution",
    )


def test_the_settings_form_is_read(load_text: LoadText) -> None:
    loaded = load_text(
        """
        settings:
          error_bus_port: 7150
          error_bus_host: "${PC2_IP:-pc2}"
          default_startup_timeout: 30
          health_check_interval: 15
          max_restart_attempts: 3
        core_agents:
          - {name: A, script: pc2_code/a.py, port: 5001, health_port: 6001, critical: true}
        model_agents:
          - {name: B, script: pc2_code/b.py, port: 5002, critical: false, dependencies: [A]}
        """
    )
    assert loaded.findings == ()
    assert loaded.fleet is not None
    assert loaded.fleet.machines["pc2"].error_bus_port == 7150
    assert loaded.fleet.machines["pc2"].extras["error_bus_host"] == "pc2"
    assert loaded.fleet.agents["B"].required is False


def test_a_small_file_with_a_list_of_agents_is_read(load_text: LoadText) -> None:
    loaded = load_text("agents: [{name: A, path: agents/a.py, port: 5001, enabled: false, args: [--x]}]")
    assert loaded.findings == ()
    assert loaded.fleet is not None
    assert loaded.fleet.agents["A"].entry == "agents/a.py"
    assert loaded.fleet.agents["A"].extras == {"enabled": False, "args": ["--x"]}


def test_a_list_of_named_agents_under_any_key_is_read(load_text: LoadText) -> None:
    loaded = load_text(
        "pc2_services: []\nextra_services: [{name: A, script_path: a.py, port: 5001}]\nnotes: [a, b]\n"
    )
    assert loaded.findings == ()
    assert loaded.fleet is not None
    assert loaded.fleet.agents["A"].group == "extra_services"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("pc2_services: [7]", "wrong-type"),
        ("pc2_services: [{port: 5001}]", "missing-field"),
        ("pc2_services: [{name: [x], port: 5001}]", "wrong-type"),
        ("pc2_services: []\nerror_bus_port: x", "wrong-type"),
    ],
)
def test_a_fault_in_a_list_is_one_finding(load_text: LoadText, text: str, code: str) -> None:
    assert [finding.code for finding in load_text(text).findings] == [code]


def test_the_caller_can_say_whose_file_it_is(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("agent_groups: {g: {A: {script_path: a.py, port: 5001}}}")
    loaded = load_fleet([path], machines={path: "third"})
    assert loaded.fleet is not None
    assert loaded.fleet.agents["A"].machine == "third"
    assert list(loaded.fleet.machines) == ["third"]


def test_two_files_of_one_machine_make_one_machine(load_text: LoadText) -> None:
    loaded = load_text(
        "environment: {A: first}\nagent_groups: {g: {A: {script_path: a.py, port: 5001}}}",
        "environment: {A: second}\nresource_limits: {x: 1}\n"
        "agent_groups: {h: {B: {script_path: b.py, port: 5002}}}",
    )
    assert loaded.findings == ()
    assert loaded.fleet is not None
    machine = loaded.fleet.machines["mainpc"]
    assert (machine.environment, machine.resource_limits, machine.groups) == (
        {"A": "first"},
        {"x": 1},
        ("g", "h"),
    )
