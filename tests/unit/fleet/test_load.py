import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from zejzl_ray.errors import FleetInvalid
from zejzl_ray.fleet.load import LoadedFleet, load_fleet

LoadText = Callable[..., LoadedFleet]


def test_errors_are_raised_one_a_line_with_place_and_remedy(load_text: LoadText, tmp_path: Path) -> None:
    loaded = load_text(
        """\
        agent_groups:
          g:
            A: {script_path: a.py, port: x}
            B: {script_path: b.py, port: 80, dependencies: [C]}
        """
    )
    with pytest.raises(FleetInvalid) as caught:
        loaded.raise_if_invalid()
    file = tmp_path / "1.yaml"
    assert str(caught.value).splitlines() == [
        f"{file}:3:34: error: agent_groups.g.A.port must be a port number, but it is the text 'x'. "
        "Write a port number.",
        f"{file}:4:53: error: B depends on C, which nobody declares. "
        "Declare it, load the file that does, or remove the line.",
    ]
    assert [finding.code for finding in loaded.warnings] == ["port-privileged"]
    assert loaded.fleet is not None
    assert loaded.fleet.agents["A"].port is None


def test_findings_are_in_order_of_file_line_and_column(load_text: LoadText) -> None:
    faulty = "agent_groups: {g: {A: {script_path: a, port: 5001, x: 1, dependencies: [N, M]}}}"
    loaded = load_text(faulty, faulty.replace("A:", "B:").replace("5001", "5002"))
    keys = [(finding.file, finding.line, finding.column) for finding in loaded.findings]
    assert len(keys) == 6
    assert keys == sorted(keys)


@pytest.mark.parametrize("text", ["", "- a", "{", "x: 1", "include: [a, b]", "agent_group: {}", "a: \x00"])
def test_a_file_that_cannot_be_read_leaves_no_fleet_and_one_finding(load_text: LoadText, text: str) -> None:
    loaded = load_text(
        text, "agent_groups: {g: {A: {script_path: a, port: 5001, dependencies: [Elsewhere]}}}"
    )
    assert loaded.fleet is None
    (finding,) = loaded.findings
    assert finding.remedy
    with pytest.raises(FleetInvalid):
        loaded.raise_if_invalid()


def test_an_unknown_shape_says_what_is_known(load_text: LoadText) -> None:
    assert load_text("agent_group: {}").findings[0].remedy == "Did you mean agent_groups?"
    assert "agent_groups" in load_text("shapes: {}").findings[0].remedy
    assert "included files" in load_text("include: [a]").findings[0].remedy


def test_nothing_to_load_is_an_empty_fleet() -> None:
    loaded = load_fleet([])
    assert loaded.raise_if_invalid().agents == {}


def test_the_environment_of_the_process_is_not_looked_at(
    load_text: LoadText, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT_OFFSET", "1000")
    loaded = load_text("agent_groups: {g: {A: {script_path: a, port: '${PORT_OFFSET}+5001'}}}")
    assert loaded.raise_if_invalid().agents["A"].port == 5001


def test_old_and_new_files_make_one_fleet(load_text: LoadText) -> None:
    loaded = load_text(
        "schema: zejzl.fleet/1\nmachines: {mainpc: {address: x}}\n"
        "agents: {New: {machine: mainpc, dependencies: [Old]}}",
        "agent_groups: {g: {Old: {script_path: main_pc_code/o.py, port: 5001}}}",
    )
    fleet = loaded.raise_if_invalid()
    assert sorted(fleet.agents) == ["New", "Old"]
    assert (fleet.machines["mainpc"].address, fleet.machines["mainpc"].groups) == ("x", ("g",))


def test_findings_travel_between_processes(load_text: LoadText) -> None:
    loaded = load_text("agent_groups: {g: {A: {}}}")
    assert pickle.loads(pickle.dumps(loaded)) == loaded


def test_a_file_cannot_write_into_the_terminal(load_text: LoadText) -> None:
    loaded = load_text('agent_groups: {g: {"A\\e[31m\\nB": {script_path: a, port: 5001}}}')
    (finding,) = loaded.findings
    assert finding.code == "name-invalid"
    assert str(finding).isprintable()


def test_a_report_of_thousands_stays_readable(load_text: LoadText) -> None:
    members = ", ".join(
        f"Agent{n}: {{script_path: a, port: 5001, dependencies: [Agent{n}x]}}" for n in range(150)
    )
    loaded = load_text(f"agent_groups: {{g: {{{members}}}}}")
    (clash,) = [finding for finding in loaded.findings if finding.code == "port-clash"]
    assert "and 109 more" in clash.message
    assert len(clash.related) == 149
    remedies = [finding.remedy for finding in loaded.findings if finding.code == "unknown-dependency"]
    assert sum(remedy.startswith("Did you mean") for remedy in remedies) == 100
    assert len(remedies) == 150
