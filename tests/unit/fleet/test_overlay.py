from collections.abc import Callable
from pathlib import Path

import pytest

from zejzl_ray.fleet.load import Family, LoadedFleet, load_fleet

LoadText = Callable[..., LoadedFleet]

BASE = """
schema: zejzl.fleet/1
machines: {mainpc: {environment: {LOG_LEVEL: INFO, KEEP: x}}}
agents:
  A: {machine: mainpc, port: 5001, dependencies: [B]}
  B: {machine: mainpc, port: 5002, group: g}
"""
OVERLAYS = sorted((Path(__file__).parents[3] / "config" / "overlays").glob("*.yaml"))


def test_an_overlay_changes_adds_and_removes(load_text: LoadText) -> None:
    loaded = load_text(
        BASE,
        overlay="""
        machines: {mainpc: {environment: {LOG_LEVEL: DEBUG}}}
        agents:
          A: {port: 5101, dependencies: []}
          B: ~
          C: {machine: mainpc, port: 5003, group: ~, config: {x: ~, y: 1}}
          D: ~
        """,
    )
    assert loaded.findings == ()
    fleet = loaded.raise_if_invalid()
    assert fleet.machines["mainpc"].environment == {"LOG_LEVEL": "DEBUG", "KEEP": "x"}
    assert sorted(fleet.agents) == ["A", "C"]
    assert (fleet.agents["A"].port, fleet.agents["A"].dependencies) == (5101, ())
    assert fleet.agents["C"].config == {"y": 1}
    assert [source.family for source in loaded.sources] == [Family.UNIFIED, Family.OVERLAY]


def test_a_fault_of_the_overlay_stands_in_the_overlay(load_text: LoadText) -> None:
    loaded = load_text(BASE, overlay="agents:\n  A:\n    port: x\n")
    (finding,) = loaded.findings
    assert finding.file.endswith("overlay.yaml")
    assert (finding.code, finding.line) == ("wrong-type", 3)


def test_a_key_that_stands_twice_in_the_overlay_is_found(load_text: LoadText) -> None:
    loaded = load_text(BASE, overlay="agents: {A: {port: 1, port: 5001}}")
    assert [finding.code for finding in loaded.findings] == ["duplicate-key"]


@pytest.mark.parametrize("texts", [(), (BASE, BASE), ("agent_groups: {}",)])
def test_an_overlay_needs_exactly_one_unified_file(load_text: LoadText, texts: tuple[str, ...]) -> None:
    loaded = load_text(*texts, overlay="agents: {}")
    assert [finding.code for finding in loaded.findings] == ["overlay-misplaced"]
    assert loaded.fleet is None


def test_an_overlay_that_is_not_there_leaves_no_fleet(tmp_path: Path) -> None:
    base = tmp_path / "base.yaml"
    base.write_text(BASE)
    loaded = load_fleet([base], overlay=tmp_path / "none.yaml")
    assert [finding.code for finding in loaded.findings] == ["file-missing"]
    assert loaded.fleet is None


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_the_shipped_overlays_fit_a_fleet_of_both_machines(tmp_path: Path, path: Path) -> None:
    base = tmp_path / "base.yaml"
    base.write_text("schema: zejzl.fleet/1\nmachines: {mainpc: {}, pc2: {}}\n")
    loaded = load_fleet([base], overlay=path)
    assert loaded.findings == ()
    fleet = loaded.raise_if_invalid()
    assert list(fleet.machines) == ["mainpc", "pc2"]
    assert all("LOG_LEVEL" in machine.environment for machine in fleet.machines.values())


def test_all_three_overlays_are_shipped() -> None:
    assert [path.stem for path in OVERLAYS] == ["dev", "prod", "staging"]
