"""Further ports of an agent, which stand in its config."""

from collections.abc import Callable

import pytest

from zejzl_ray.fleet.load import LoadedFleet

LoadText = Callable[..., LoadedFleet]


def found(loaded: LoadedFleet) -> list[tuple[str, str]]:
    return [(finding.code, finding.subject) for finding in loaded.findings]


def fleet(*agents: str) -> str:
    lines = "".join(f"  {agent}\n" for agent in agents)
    return f"schema: zejzl.fleet/1\nmachines: {{mainpc: , pc2: }}\nagents:\n{lines}"


def test_two_agents_with_one_further_port_clash(load_text: LoadText) -> None:
    loaded = load_text(
        fleet(
            "Memory: {machine: mainpc, port: 5713, config: {metrics_port: 8080}}",
            "Sound: {machine: mainpc, port: 5557, config: {a: 1, metrics_port: 8080}}",
        )
    )
    assert found(loaded) == [("config-port-clash", "8080")]
    (finding,) = loaded.warnings
    assert (finding.line, finding.column, finding.path) == (5, 69, "agents.Sound.config.metrics_port")
    assert "by Sound's metrics_port, and by Memory's metrics_port at" in finding.message


def test_an_old_file_is_checked_too(load_text: LoadText) -> None:
    loaded = load_text(
        """
        agent_groups:
          g:
            A: {script_path: main_pc_code/a.py, port: 5001}
            B: {script_path: main_pc_code/b.py, port: 5002, config: {grpc_port: "${PORT_OFFSET}+5001"}}
        """
    )
    assert found(loaded) == [("config-port-clash", "5001")]
    assert loaded.findings[0].line == 5


@pytest.mark.parametrize(
    "second",
    [
        "B: {machine: mainpc, port: 5002, config: {zmq_port: 5002, grpc_port: 5003}}",
        "B: {machine: pc2, port: 5002, config: {grpc_port: 5001}}",
        "B: {machine: mainpc, port: 5002, config: {redis_port: 5001, target_port: 5001, error_bus_port: 5001}}",
        "B: {machine: mainpc, port: 5002, config: {grpc_port: true, zmq_port: '5001'}}",
        "B: {port: 5002, config: {grpc_port: 5001}}",
    ],
)
def test_own_ports_those_of_others_and_of_other_machines_are_no_clash(
    load_text: LoadText, second: str
) -> None:
    assert load_text(fleet("A: {machine: mainpc, port: 5001}", second)).findings == ()


def test_the_port_that_an_error_bus_offers_is_its_own(load_text: LoadText) -> None:
    loaded = load_text(
        fleet(
            "Camera: {machine: pc2, port: 7150}",
            "ErrorBusSuite: {machine: pc2, port: 9002, config: {error_bus_port: 7150}}",
        )
    )
    assert found(loaded) == [("config-port-clash", "7150")]
