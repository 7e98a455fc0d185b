"""Consolidation where both old files have agents of one name."""

from pathlib import Path

from zejzl_ray.fleet.consolidate_files import Consolidation, consolidate_files

MAINPC = """
agent_groups:
  core:
    ObservabilityHub: {script_path: main_pc_code/o.py, port: 9000, health_check_port: 9001}
    Center: {script_path: center/app.py, port: 9200, health_check_port: 9201}
    A: {script_path: main_pc_code/a.py, port: 5001, dependencies: [ObservabilityHub, Center]}
"""
PC2 = """
pc2_services:
  - {name: ObservabilityHub, script_path: pc2_code/o.py, port: 9100, health_check_port: 9110}
  - {name: Center, script_path: center/app.py, port: 9300, health_check_port: 9301}
  - {name: B, script_path: pc2_code/b.py, port: 7101, dependencies: [ObservabilityHub, Center]}
"""


def consolidated(folder: Path, *, is_correcting: bool = False) -> Consolidation:
    mainpc, pc2 = folder / "mainpc.yaml", folder / "pc2.yaml"
    mainpc.write_text(MAINPC)
    pc2.write_text(PC2)
    return consolidate_files(mainpc, pc2, is_correcting=is_correcting)


def test_a_service_takes_the_place_of_both(tmp_path: Path) -> None:
    made = consolidated(tmp_path)
    assert made.removed == {"ObservabilityHub": "observability_hub"}
    assert len(made.old_fleet.agents) == 6
    assert list(made.fleet.agents) == ["Center", "A", "Center_PC2", "B"]
    assert made.fleet.agents["B"].dependencies == ("observability_hub", "Center_PC2")
    assert made.fleet.agents["A"].dependencies == ("observability_hub", "Center")


def test_each_file_keeps_its_own_words(tmp_path: Path) -> None:
    made = consolidated(tmp_path, is_correcting=True)
    assert "dependencies: [observability_hub, Center]" in made.texts["pc2.yaml"]
    assert "Center_PC2" not in made.texts["pc2.yaml"]
    assert "Center_PC2:" in made.unified
