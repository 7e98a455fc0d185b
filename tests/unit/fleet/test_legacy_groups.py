from collections.abc import Callable

import pytest

from zejzl_ray.fleet.load import Family, LoadedFleet

LoadText = Callable[..., LoadedFleet]

AGENT = "{script_path: main_pc_code/a.py, port: 5001, health_check_port: 6001, dependencies: []}"


def found(loaded: LoadedFleet) -> list[tuple[str, str]]:
    return [(finding.code, finding.subject) for finding in loaded.findings]


def test_an_agent_keeps_every_field(load_text: LoadText) -> None:
    loaded = load_text(
        """
        agent_groups:
          core:
            First: {script_path: main_pc_code/f.py, port: 5001}
            Second:
              script_path: main_pc_code/s.py
              host: 127.0.0.1
              port: "${PORT_OFFSET}+7200"
              health_check_port: ${PORT_OFFSET}+8200
              required: false
              dependencies: [First]
              config: {redis: {port: "${PORT_OFFSET}+6379", url: "${URL:-redis://x}"}, list: [1, a]}
              env_vars: {USE_DUMMY: true, N: 7, EMPTY: }
              startup_priority: 2
        """,
        environment={"PORT_OFFSET": "100"},
    )
    assert loaded.findings == ()
    assert loaded.fleet is not None
    agent = loaded.fleet.agents["Second"]
    assert (agent.kind, agent.machine, agent.group) == ("external", "mainpc", "core")
    assert (agent.entry, agent.host, agent.port, agent.health_port) == (
        "main_pc_code/s.py",
        "127.0.0.1",
        7300,
        8300,
    )
    assert agent.required is False
    assert agent.dependencies == ("First",)
    assert agent.config == {"redis": {"port": 6479, "url": "redis://x"}, "list": [1, "a"]}
    assert agent.environment == {"USE_DUMMY": "true", "N": "7", "EMPTY": ""}
    assert agent.extras == {"startup_priority": 2}


def test_other_spellings_of_keys_are_read(load_text: LoadText) -> None:
    loaded = load_text(
        """
        core_agents:
          - name: A
            script: main_pc_code/a.py
            ip: localhost
            port: 5001
            health_port: 6001
            critical: false
            params: {batch_max_size: 5}
            env_vars: {X: y}
        """
    )
    assert loaded.findings == ()
    assert loaded.fleet is not None
    agent = loaded.fleet.agents["A"]
    assert (agent.entry, agent.host, agent.health_port, agent.required) == (
        "main_pc_code/a.py",
        "localhost",
        6001,
        False,
    )
    assert agent.config == {"batch_max_size": 5}
    assert agent.environment == {"X": "y"}


def test_a_second_spelling_of_a_field_is_kept(load_text: LoadText) -> None:
    loaded = load_text(
        "agent_groups: {g: {A: {script_path: main_pc_code/a.py, port: 5001, config: {a: 1}, params: {b: 2}}}}"
    )
    assert loaded.findings == ()
    assert loaded.fleet is not None
    assert loaded.fleet.agents["A"].config == {"a": 1}
    assert loaded.fleet.agents["A"].extras == {"params": {"b": 2}}


def test_required_is_true_unless_the_file_says_otherwise(load_text: LoadText) -> None:
    loaded = load_text(
        f"agent_groups: {{g: {{A: {AGENT},"
        " B: {script_path: x, port: 1025, required: \"${R:-false} == 'true'\"}}}"
    )
    assert loaded.fleet is not None
    assert loaded.fleet.agents["A"].required is True
    assert loaded.fleet.agents["B"].required is False


def test_empty_and_nested_groups_are_no_faults(load_text: LoadText) -> None:
    loaded = load_text(
        f"""
        agent_groups:
          utilities_support: null
          foundation: &f
            A: {AGENT}
            observability_ui:
            inner:
              B: {{script_path: main_pc_code/b.py, port: 5002}}
          odd: []
        """
    )
    assert loaded.findings == ()
    assert loaded.fleet is not None
    assert loaded.fleet.machines["mainpc"].groups == (
        "utilities_support",
        "foundation",
        "observability_ui",
        "inner",
        "odd",
    )
    assert loaded.fleet.agents["B"].group == "inner"


@pytest.mark.parametrize(
    "text",
    [
        f"agent_groups: {{g: {{A: {AGENT}}}}}\ndocker_groups: {{x: {{description: d, agents: [A, Gone]}}}}",
        f"agent_groups: {{g: {{A: {AGENT}}}, docker_groups: {{x: {{description: d, agents: [A, Gone]}}}}}}",
        f"agent_groups: {{g: {{A: {AGENT}, docker_groups: {{x: {{description: d, agents: [A, Gone]}}}}}}}}",
    ],
)
def test_compose_groups_are_kept_wherever_they_are_indented(load_text: LoadText, text: str) -> None:
    loaded = load_text(text)
    assert found(loaded) == [("unknown-member", "x -> Gone")]
    assert text.splitlines()[loaded.findings[0].line - 1][loaded.findings[0].column - 1 :].startswith("Gone")
    assert loaded.fleet is not None
    assert list(loaded.fleet.agents) == ["A"]
    assert loaded.fleet.machines["mainpc"].extras["docker_groups"] == {
        "x": {"description": "d", "agents": ["A", "Gone"]}
    }


def test_compose_groups_under_another_name_are_told_by_their_shape(load_text: LoadText) -> None:
    loaded = load_text(f"agent_groups: {{g: {{A: {AGENT}}}, stacks: {{x: {{agents: [A]}}}}}}")
    assert loaded.findings == ()
    assert loaded.fleet is not None
    assert list(loaded.fleet.agents) == ["A"]


def test_group_config_among_agents_is_no_agent(load_text: LoadText) -> None:
    loaded = load_text(f"agent_groups: {{g: {{group_config: {{gpu: true}}, A: {AGENT}}}}}")
    assert loaded.findings == ()
    assert loaded.fleet is not None
    assert loaded.fleet.machines["mainpc"].extras == {"group_config": {"g": {"gpu": True}}}


def test_a_group_may_be_a_list(load_text: LoadText) -> None:
    loaded = load_text("agent_groups: {g: [{name: A, script_path: main_pc_code/a.py, port: 5001}]}")
    assert loaded.findings == ()
    assert loaded.fleet is not None
    assert loaded.fleet.agents["A"].group == "g"


def test_an_agent_outside_of_a_group_is_a_warning(load_text: LoadText) -> None:
    loaded = load_text(f"agent_groups: {{A: {AGENT}}}")
    assert found(loaded) == [("agent-outside-group", "A")]
    assert loaded.fleet is not None
    assert loaded.fleet.agents["A"].group is None


def test_settings_of_the_machine_are_read_and_the_rest_is_kept(load_text: LoadText) -> None:
    loaded = load_text(
        f"""
        version: "3.0"
        global_settings:
          environment: {{LOG_LEVEL: INFO, DEBUG_MODE: 'false'}}
          resource_limits: {{cpu_percent: 80}}
          health_checks: {{interval_seconds: 30}}
          volumes: [{{source: ./logs, target: /app/logs}}]
          network: {{name: net}}
          performance_tuning: {{gpu_memory_fraction: 0.9}}
          features: {{RTAP_ENABLED: "${{RTAP_ENABLED:-false}}"}}
        health_checks: {{start_period_seconds: 300}}
        hybrid_inference_policy: {{strategy: local_first}}
        port_allocation:
        startup_check_list: {{a: b}}
        agent_groups: {{g: {{A: {AGENT}}}}}
        """
    )
    assert loaded.findings == ()
    assert loaded.fleet is not None
    machine = loaded.fleet.machines["mainpc"]
    assert machine.environment == {"LOG_LEVEL": "INFO", "DEBUG_MODE": "false"}
    assert machine.resource_limits == {"cpu_percent": 80}
    assert machine.health_checks == {"interval_seconds": 30, "start_period_seconds": 300}
    assert machine.volumes == ({"source": "./logs", "target": "/app/logs"},)
    assert machine.network == {"name": "net"}
    assert machine.extras == {
        "version": "3.0",
        "performance_tuning": {"gpu_memory_fraction": 0.9},
        "features": {"RTAP_ENABLED": "false"},
        "hybrid_inference_policy": {"strategy": "local_first"},
        "port_allocation": None,
        "startup_check_list": {"a": "b"},
    }


def test_the_machine_is_told_by_the_scripts_or_by_the_entry(load_text: LoadText) -> None:
    loaded = load_text(
        """
        agent_groups:
          g:
            A: {script_path: pc2_code/a.py, port: 5001}
            B: {script_path: main_pc_code/b.py, port: 5002}
            C: {script_path: pc2_code/c.py, port: 5003}
            D: {endpoint: "http://x", port: 5004, machine: MainPC}
        """
    )
    assert loaded.findings == ()
    assert loaded.fleet is not None
    assert {name: agent.machine for name, agent in loaded.fleet.agents.items()} == {
        "A": "pc2",
        "B": "pc2",
        "C": "pc2",
        "D": "mainpc",
    }
    assert loaded.sources[0].family is Family.LEGACY
    assert loaded.sources[0].machine == "pc2"


@pytest.mark.parametrize(
    ("entry", "code", "subject"),
    [
        ("A: 7", "wrong-type", "A"),
        ("A: [x]", "wrong-type", "A"),
        ("'9x': {script_path: s, port: 5001}", "name-invalid", "9x"),
        ("A: {script_path: s, port: abc}", "wrong-type", "port"),
        ("A: {script_path: s, port: 7100.5}", "wrong-type", "port"),
        ("A: {script_path: s, port: true}", "wrong-type", "port"),
        ("A: {script_path: s, port: [1]}", "wrong-type", "port"),
        ("A: {script_path: s, port: 0}", "port-range", "0"),
        ("A: {script_path: s, port: 70000}", "port-range", "70000"),
        ("A: {script_path: s, port: '${PORT_OFFSET}+70000'}", "port-range", "70000"),
        ("A: {script_path: s, port: 80}", "port-privileged", "80"),
        ("A: {script_path: s, port: '${NO_SUCH}'}", "unresolved-variable", "NO_SUCH"),
        ("A: {script_path: s, port: '${NO_SUCH'}", "bad-expression", "port"),
        ("A: {script_path: s, port: 5001, required: perhaps}", "wrong-type", "required"),
        ("A: {script_path: s, port: 5001, required: {}}", "wrong-type", "required"),
        ("A: {script_path: s, port: 5001, required: ' '}", "wrong-type", "required"),
        (
            "A: {script_path: s, port: 5001, required: \"${NO_SUCH} == 'x'\"}",
            "unresolved-variable",
            "NO_SUCH",
        ),
        ("A: {script_path: s, port: 5001, dependencies: B}", "wrong-type", "dependencies"),
        ("A: {script_path: s, port: 5001, dependencies: [{}]}", "wrong-type", "dependencies[0]"),
        ("A: {script_path: s, port: 5001, dependencies: [~]}", "wrong-type", "dependencies[0]"),
        ("A: {script_path: s, port: 5001, config: [1]}", "wrong-type", "config"),
        ("A: {script_path: s, port: 5001, environment: {X: {}}}", "wrong-type", "X"),
        ("A: {script_path: {}, port: 5001}", "wrong-type", "script_path"),
        ("A: {script_path: '${NO_SUCH}/a.py', port: 5001}", "unresolved-variable", "NO_SUCH"),
        ("A: {port: 5001}", "missing-field", "A"),
        ("A: {script_path: s}", "missing-field", "A"),
        ("A: {script_path: s, port: 5001, prot: 5002}", "unknown-key", "prot"),
        ("A: {script_path: s, port: 5001, config: {x: '${NO_SUCH}'}}", "unresolved-variable", "NO_SUCH"),
        ("A: {script_path: s, port: 5001, config: {x: '${NO_SUCH}+1'}}", "unresolved-variable", "NO_SUCH"),
        ("A: {script_path: s, port: 5001, config: {x: 'a ${ b'}}", "bad-expression", "x"),
    ],
)
def test_a_fault_in_an_entry_is_one_finding_with_place_and_remedy(
    load_text: LoadText, entry: str, code: str, subject: str
) -> None:
    loaded = load_text(f"agent_groups:\n  g:\n    {entry}\n")
    assert (code, subject) in found(loaded)
    assert {c for c, _ in found(loaded)} <= {code, "missing-field"}
    finding = next(finding for finding in loaded.findings if finding.code == code)
    assert finding.line == 3
    assert finding.column > 1
    assert finding.remedy
    assert finding.path.startswith("agent_groups.g.")
    assert loaded.fleet is not None


def test_an_unknown_key_suggests_the_known_one(load_text: LoadText) -> None:
    loaded = load_text("agent_groups: {g: {A: {script_path: s, port: 5001, depndencies: []}}}")
    (finding,) = loaded.findings
    assert not finding.is_error
    assert finding.remedy == "Did you mean dependencies?"


def test_what_is_only_handed_on_warns_and_stays_as_written(load_text: LoadText) -> None:
    loaded = load_text(
        "global_settings: {environment: {P: '${PYTHONPATH}:${PWD}/..'}}\nagent_groups: {g: {}}",
        environment={"PWD": "/here"},
    )
    assert [(f.code, f.subject, f.is_error) for f in loaded.findings] == [
        ("unresolved-variable", "PYTHONPATH", False)
    ]
    assert loaded.fleet is not None
    assert loaded.fleet.machines["mainpc"].environment == {"P": "${PYTHONPATH}:${PWD}/.."}


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("agent_groups: {}\nresource_limit: {}", "resource_limit"),
        ("agent_groups: {}\nglobal_setings: {}", "global_setings"),
        ("agent_groups: {}\nanswer: 42", "answer"),
        ("agent_groups: {}\nglobal_settings: {enviroment: {}}", "enviroment"),
    ],
)
def test_a_slip_in_the_name_of_a_block_is_a_warning(load_text: LoadText, text: str, subject: str) -> None:
    assert found(load_text(text)) == [("unknown-key", subject)]


@pytest.mark.parametrize(
    "text", ["agent_groups: 7", "agent_groups: {g: 7}", "agent_groups: {}\nglobal_settings: [1]"]
)
def test_a_section_of_another_type_is_one_finding(load_text: LoadText, text: str) -> None:
    assert [code for code, _ in found(load_text(text))] == ["wrong-type"]


def test_a_key_that_stands_twice_is_an_error_that_names_both_places(load_text: LoadText) -> None:
    loaded = load_text(
        """\
        agent_groups:
          g:
            A:
              script_path: a.py
              port: 5001
              port: 5002
        """
    )
    (finding,) = loaded.findings
    assert (finding.code, finding.subject, finding.line) == ("duplicate-key", "port", 6)
    assert finding.related[0].line == 5


def test_a_dependency_that_stands_twice_is_a_warning(load_text: LoadText) -> None:
    loaded = load_text(
        f"agent_groups: {{g: {{A: {AGENT}, B: {{script_path: b, port: 5002, dependencies: [A, A]}}}}}}"
    )
    assert found(loaded) == [("repeated-value", "A")]
    assert loaded.fleet is not None
    assert loaded.fleet.agents["B"].dependencies == ("A",)
