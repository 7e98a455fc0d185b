"""One name in the files of both machines."""

from collections.abc import Callable
from pathlib import Path

import pytest

from zejzl_ray.fleet.load import LoadedFleet, load_fleet
from zejzl_ray.fleet.migrate import migrate_files

LoadText = Callable[..., LoadedFleet]

MAINPC = """
agent_groups:
  g:
    Watcher: {script_path: main_pc_code/w.py, port: "${PORT_OFFSET}+9000", dependencies: []}
    User: {script_path: main_pc_code/u.py, port: 5001, dependencies: [Watcher]}
"""
PC2 = """
pc2_services:
  - {name: Watcher, script_path: pc2_code/w.py, port: "${PORT_OFFSET}+9100"}
  - {name: Reader, script_path: pc2_code/r.py, port: 7101, dependencies: [Watcher]}  # reads
"""


def found(loaded: LoadedFleet) -> list[tuple[str, str]]:
    return [(finding.code, finding.subject) for finding in loaded.findings]


def test_each_machine_may_have_an_agent_of_that_name(load_text: LoadText) -> None:
    loaded = load_text(MAINPC, PC2)
    assert found(loaded) == [("same-name", "Watcher")]
    assert loaded.errors == ()
    assert "read as Watcher_PC2" in loaded.findings[0].message
    fleet = loaded.fleet
    assert fleet is not None
    assert (fleet.agents["Watcher"].port, fleet.agents["Watcher_PC2"].port) == (9000, 9100)


def test_a_dependency_means_the_agent_of_its_own_machine(load_text: LoadText) -> None:
    fleet = load_text(MAINPC, PC2).fleet
    assert fleet is not None
    assert fleet.agents["User"].dependencies == ("Watcher",)
    assert fleet.agents["Reader"].dependencies == ("Watcher_PC2",)


def test_a_fault_in_a_renamed_dependency_still_has_its_place(load_text: LoadText) -> None:
    loaded = load_text(MAINPC, PC2.replace("w.py,", "w.py, dependencies: [Reader],"))
    assert [finding.code for finding in loaded.findings] == ["same-name", "dependency-cycle"]
    assert loaded.findings[1].column > 40


def test_an_entry_that_says_the_same_for_both_machines_is_a_copy(load_text: LoadText) -> None:
    loaded = load_text(
        "agent_groups: {g: {Bus: {script_path: services/bus.py, port: 7150}}}",
        "pc2_services: [{name: Bus, script_path: services/bus.py, port: 7150}]",
    )
    assert found(loaded) == [("duplicate-agent", "Bus")]


def test_a_name_that_is_taken_is_not_given_again(load_text: LoadText) -> None:
    loaded = load_text(MAINPC, PC2 + "  - {name: Watcher_PC2, script_path: pc2_code/x.py, port: 7102}\n")
    assert found(loaded) == [("duplicate-agent", "Watcher")]


POINTER = """
agent_groups:
  outside:
    Memory: {endpoint: "http://pc2:7010", port: 7010, machine: PC2}
"""


def test_a_pointer_to_the_other_machine_is_no_second_declaration(load_text: LoadText) -> None:
    loaded = load_text(POINTER, "pc2_services: [{name: Memory, script_path: pc2_code/m.py, port: 7010}]")
    assert loaded.findings == ()
    assert loaded.fleet is not None
    assert loaded.fleet.agents["Memory"].entry == "pc2_code/m.py"


def test_a_pointer_alone_is_an_agent(load_text: LoadText) -> None:
    fleet = load_text(POINTER).fleet
    assert fleet is not None
    assert fleet.agents["Memory"].machine == "pc2"


@pytest.mark.parametrize("offset", ["0", "100"])
def test_the_converted_file_says_the_same(tmp_path: Path, offset: str) -> None:
    old = [tmp_path / "mainpc.yaml", tmp_path / "pc2.yaml"]
    old[0].write_text(MAINPC)
    old[1].write_text(PC2)
    new = tmp_path / "fleet.yaml"
    migrated = migrate_files(old)
    new.write_text(migrated.text)
    environment = {"PORT_OFFSET": offset}
    agents = [load_fleet(files, environment=environment).fleet for files in (old, [new])]
    assert agents[0] is not None
    assert agents[1] is not None
    assert agents[0].agents == agents[1].agents
    assert "declared again" not in migrated.text
