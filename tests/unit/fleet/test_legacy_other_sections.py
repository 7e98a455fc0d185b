"""Sections that only some revisions of the old files have."""

from collections.abc import Callable

from zejzl_ray.fleet.load import LoadedFleet

LoadText = Callable[..., LoadedFleet]


def found(loaded: LoadedFleet) -> list[tuple[str, str]]:
    return [(finding.code, finding.subject) for finding in loaded.findings]


def test_a_mapping_of_agents_at_the_top_is_a_group(load_text: LoadText) -> None:
    loaded = load_text(
        """
        small_set:
          A: {script_path: main_pc_code/a.py, port: 5001, startup_order: 0}
          B: {script_path: pc2_code/b.py, port: 5002, dependencies: [A]}
          A: {script_path: main_pc_code/a.py, port: 5003}
        global_settings: {hybrid_routing: {words: [x]}}
        feature_flags: {fast: 1.0}
        network_config: {tls: false}
        """
    )
    assert found(loaded) == [("duplicate-agent", "A")]
    assert loaded.fleet is not None
    assert {agent.group for agent in loaded.fleet.agents.values()} == {"small_set"}


def test_the_error_bus_of_a_file_may_stand_under_error_handling(load_text: LoadText) -> None:
    loaded = load_text(
        """
        agent_groups: {g: {Camera: {script_path: main_pc_code/c.py, port: 7150}}}
        error_handling:
          max_retries: 3
          error_bus_port: ${PORT_OFFSET}+7150
        """
    )
    assert found(loaded) == [("port-clash", "7150")]
    assert (loaded.findings[0].line, loaded.findings[0].path) == (5, "error_handling.error_bus_port")
    assert loaded.fleet is not None
    assert loaded.fleet.machines["mainpc"].error_bus_port == 7150


def test_an_error_bus_port_that_is_none_is_one_fault(load_text: LoadText) -> None:
    loaded = load_text("agent_groups: {}\nerror_handling: {error_bus_port: soon}")
    assert found(loaded) == [("wrong-type", "error_bus_port")]


PROFILES = """
agent_groups:
  both: {A: {script_path: main_pc_code/a.py, port: 7100}}
  one: {B: {script_path: main_pc_code/b.py, port: 7103}}
  other:
    C: {script_path: pc2_code/c.py, port: %s}
    D: {script_path: pc2_code/d.py, port: 5009, machine: mainpc}
  nobodys: {E: {script_path: main_pc_code/e.py, port: 5010}}
machine_profiles:
  MainPC: {enabled_groups: [both, one]}
  pc2: {enabled_groups: [both, other], hardware: {gpu: none}}
  spare:
"""


def test_profiles_say_which_machine_runs_a_group(load_text: LoadText) -> None:
    loaded = load_text(PROFILES % 7101)
    assert loaded.findings == ()
    assert loaded.fleet is not None
    machines = {name: agent.machine for name, agent in loaded.fleet.agents.items()}
    assert machines == {"A": None, "B": "mainpc", "C": "pc2", "D": "mainpc", "E": "mainpc"}


def test_ports_clash_on_the_machine_that_runs_both(load_text: LoadText) -> None:
    assert found(load_text(PROFILES % 7103)) == [("port-clash-single-machine", "7103")]
    loaded = load_text(PROFILES % 7100)
    assert found(loaded) == [("port-clash", "7100")]
    assert "port 7100 on pc2" in loaded.findings[0].message


def test_profiles_and_compose_groups_of_another_shape_say_nothing(load_text: LoadText) -> None:
    loaded = load_text(
        """
        agent_groups: {g: {A: {script_path: main_pc_code/a.py, port: 5001}}}
        machine_profiles: {mainpc: {enabled_groups: [[g]]}, pc2: fast}
        docker_groups: {x: {agents: [[A], 7]}, y: {agents: all}, z: }
        """
    )
    assert loaded.findings == ()
    assert loaded.fleet is not None
    assert loaded.fleet.agents["A"].machine == "mainpc"


def test_a_file_of_includes_names_them(load_text: LoadText) -> None:
    (finding,) = load_text("version: 3.0\ninclude: [a.yaml, b/c.yaml]").findings
    assert finding.remedy == "Name the included files themselves: a.yaml b/c.yaml."
    (finding,) = load_text("include: a.yaml").findings
    assert finding.remedy == "Name the included files themselves."


def test_a_list_of_agents_in_another_shape_is_not_called_misspelled(load_text: LoadText) -> None:
    (finding,) = load_text(
        """
        pc2_services: [{name: A, script_path: pc2_code/a.py, port: 7101}]
        core_services: {a: b}
        """
    ).findings
    assert str(finding).endswith(
        "warning: core_services holds a mapping, and no agents are found in it. "
        "List the agents below it, or rename it."
    )
