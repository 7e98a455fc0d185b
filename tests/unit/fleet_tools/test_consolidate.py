"""Fifteen agents become five services."""

import difflib
from pathlib import Path

import pytest

from zejzl_ray.errors import FleetInvalid
from zejzl_ray.fleet.consolidate import consolidate_fleet, rewire
from zejzl_ray.fleet.consolidate_files import consolidate_files
from zejzl_ray.fleet.consolidation_files import consolidation_files
from zejzl_ray.fleet.consolidation_report import report_data, report_markdown
from zejzl_ray.fleet.corrections import CORRECTIONS, TEXT_CORRECTIONS
from zejzl_ray.fleet.load import load_fleet
from zejzl_ray.fleet.model import Fleet, ServiceDeclaration
from zejzl_ray.fleet.order import canonical_names, start_levels
from zejzl_ray.fleet.replacements import REPLACEMENTS, service_of
from zejzl_ray.fleet.topology import DEFAULT_SERVICES
from zejzl_ray.testing.fleets import agent, fleet_of

REPOSITORY = Path(__file__).parents[3]
LEGACY = REPOSITORY.parent / "shared" / "data" / "legacy_configs"
REAL = (LEGACY / "mainpc_startup_config.yaml", LEGACY / "pc2_startup_config.yaml")
real_files = pytest.mark.skipif(
    not LEGACY.is_dir(), reason="the real startup files are not beside the repository"
)

MAINPC = """\
agent_groups:
  core_services:
    ServiceRegistry: {script_path: main_pc_code/r.py, port: 7100, health_check_port: 8100}
  speech:
    TTSService:
      script_path: main_pc_code/t.py
      port: ${PORT_OFFSET}+5801
      dependencies: [ServiceRegistry, StreamingInterruptHandler]   # both
    StreamingInterruptHandler:
      script_path: main_pc_code/s.py
      port: 5576
      dependencies:
        - TTSService
"""
PC2 = """\
pc2_services:
  - name: HealthMonitor
    script_path: pc2_code/h.py
    port: 7114
  - name: VisionProcessingAgent
    script_path: pc2_code/v.py
    port: ${PORT_OFFSET}+7150
    health_check_port: 8150
    dependencies: [HealthMonitor]
core_services:
  - {name: VisionProcessingAgent, port: 7150, class: Vision, health_check_port: 8151}
environment: {PATHS: "${PWD}/x"}
error_bus_port: 7150
"""


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Path]:
    mainpc, pc2 = tmp_path / "mainpc.yaml", tmp_path / "pc2.yaml"
    mainpc.write_text(MAINPC)
    pc2.write_text(PC2)
    return mainpc, pc2


def test_the_plan_replaces_fifteen_agents_with_five_services() -> None:
    assert sum(len(plan.replaces) for plan in REPLACEMENTS) == 15
    planned = {plan.service: (plan.home, plan.fallback, plan.port) for plan in REPLACEMENTS}
    assert planned == {name: (s.home, s.fallback, s.port) for name, s in DEFAULT_SERVICES.items()}
    assert start_levels(Fleet(services={plan.service: plan.declaration() for plan in REPLACEMENTS}))[0] == (
        "security_gateway",
    )


def test_dependencies_on_old_names_become_dependencies_on_services(old_fleet: Fleet) -> None:
    merged = consolidate_fleet(old_fleet)
    assert list(merged.fleet.agents) == ["Responder", "Voice", "Utils"]
    assert merged.fleet.agents["Responder"].dependencies == ("core_orchestrator", "Voice")
    assert merged.fleet.agents["Utils"].dependencies == ("observability_hub",)
    assert [one.agent for one in merged.rewired] == ["Responder", "Utils"]
    assert merged.removed["HealthMonitor"] == "observability_hub"
    assert len(merged.removed) == 5


def test_old_names_go_on_being_understood(old_fleet: Fleet) -> None:
    names = canonical_names(consolidate_fleet(old_fleet).fleet)
    meaning = service_of()
    assert all(names[old] == meaning[old] for plan in REPLACEMENTS for old in plan.replaces)


def test_doing_it_again_changes_nothing(old_fleet: Fleet) -> None:
    once = consolidate_fleet(old_fleet).fleet
    twice = consolidate_fleet(once)
    assert (twice.fleet, dict(twice.removed), twice.rewired) == (once, {}, ())


def test_forerunners_of_a_service_are_replaced_where_they_occur() -> None:
    merged = consolidate_fleet(
        fleet_of(agent("CoreOrchestrator"), agent("A", "CoreOrchestrator", "ErrorBusSuite"))
    )
    assert merged.fleet.agents["A"].dependencies == ("core_orchestrator", "error_bus")
    assert merged.fleet.services["core_orchestrator"].aliases[-1] == "CoreOrchestrator"
    assert merged.fleet.services["error_bus"].aliases == ("ErrorBusSuite",)


def test_what_the_files_say_about_a_service_stands() -> None:
    own = ServiceDeclaration(name="error_bus", home="third", port=9999, dependencies=("security_gateway",))
    service = consolidate_fleet(fleet_of(services=(own,))).fleet.services["error_bus"]
    assert (service.home, service.port, service.dependencies) == ("third", 9999, ("security_gateway",))


def test_names_that_become_one_are_kept_once() -> None:
    assert rewire(("ServiceRegistry", "X", "SystemDigitalTwin", "X")) == ("core_orchestrator", "X")


def test_without_corrections_only_the_consolidation_is_made(small: tuple[Path, Path]) -> None:
    made = consolidate_files(*small)
    assert made.corrected == ()
    assert "    dependencies: [observability_hub]\n" in made.texts["pc2.yaml"]
    assert "port: ${PORT_OFFSET}+7150\n" in made.texts["pc2.yaml"]
    assert (
        "dependencies: [core_orchestrator, StreamingInterruptHandler]   # both\n" in made.texts["mainpc.yaml"]
    )
    assert {finding.code for finding in made.after.errors} >= {"dependency-cycle", "port-clash"}


def test_with_corrections_the_faults_are_gone(small: tuple[Path, Path]) -> None:
    made = consolidate_files(*small, is_correcting=True)
    assert made.after.findings == ()
    assert {one.name for one in made.corrected} == {
        "speech-circle",
        "vision-port",
        "merge-repeated",
        "pwd-default",
    }
    text = made.texts["pc2.yaml"]
    assert "port: ${PORT_OFFSET}+7160\n" in text
    assert "class: Vision\n" in text
    assert "core_services" not in text
    assert '"${PWD:-.}/x"' in text
    assert "dependencies: [core_orchestrator]   # both\n" in made.texts["mainpc.yaml"]
    assert {finding.code for finding in made.gone} >= {"dependency-cycle", "port-clash", "duplicate-agent"}


def test_the_new_files_say_what_the_unified_one_says(small: tuple[Path, Path], tmp_path: Path) -> None:
    made = consolidate_files(*small, is_correcting=True)
    unified = tmp_path / "fleet.yaml"
    unified.write_text(made.unified)
    assert load_fleet([unified]).fleet == made.fleet
    assert "port: ${PORT_OFFSET}+7160" in made.unified


def test_consolidated_files_consolidate_to_themselves(small: tuple[Path, Path], tmp_path: Path) -> None:
    made = consolidate_files(*small, is_correcting=True)
    for name, text in made.texts.items():
        (tmp_path / name).write_text(text)
    again = consolidate_files(*small, is_correcting=True)
    assert again.texts == made.texts
    assert (again.rewired, again.corrected, dict(again.removed)) == ((), (), {})


def test_a_service_that_lacks_its_aliases_gets_them(tmp_path: Path) -> None:
    mainpc, pc2 = tmp_path / "a.yaml", tmp_path / "b.yaml"
    mainpc.write_text("agents:\n- {name: core_orchestrator, kind: service, port: 7000}\n")
    pc2.write_text(PC2)
    made = consolidate_files(mainpc, pc2)
    assert "aliases: [ServiceRegistry, SystemDigitalTwin" in made.texts["a.yaml"]
    assert "dependencies: [security_gateway]" in made.texts["a.yaml"]


def test_files_of_one_name_get_their_machine_in_front(tmp_path: Path) -> None:
    paths = []
    for folder, text in (("one", MAINPC), ("two", PC2)):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "startup_config.yaml")
        paths[-1].write_text(text)
    assert list(consolidate_files(*paths).texts) == ["mainpc_startup_config.yaml", "pc2_startup_config.yaml"]


def test_files_in_the_wrong_order_or_schema_are_refused(small: tuple[Path, Path], tmp_path: Path) -> None:
    mainpc, pc2 = small
    with pytest.raises(FleetInvalid, match=r"pc2\.yaml is not an old startup file of mainpc"):
        consolidate_files(pc2, mainpc)
    unified = tmp_path / "fleet.yaml"
    unified.write_text(consolidate_files(mainpc, pc2).unified)
    with pytest.raises(FleetInvalid, match=r"fleet\.yaml is not an old startup file of pc2"):
        consolidate_files(mainpc, unified)


def test_what_cannot_be_edited_in_place_is_refused(tmp_path: Path) -> None:
    mainpc, pc2 = tmp_path / "mainpc.yaml", tmp_path / "pc2.yaml"
    mainpc.write_text(
        "x: &base {script_path: main_pc_code/a.py, dependencies: [ServiceRegistry]}\n"
        "agent_groups:\n  g:\n    A:\n      <<: *base\n      port: 1\n"
    )
    pc2.write_text(PC2)
    with pytest.raises(FleetInvalid, match="would not say what was intended"):
        consolidate_files(mainpc, pc2)


@pytest.mark.parametrize("text", ["just text", "a: [", "nothing: here\n"])
def test_a_file_that_cannot_be_read_is_refused(text: str, small: tuple[Path, Path]) -> None:
    small[1].write_text(text)
    with pytest.raises(FleetInvalid, match=r"pc2\.yaml"):
        consolidate_files(*small)
    small[1].write_bytes(b"\xff")
    with pytest.raises(FleetInvalid, match="cannot be read"):
        consolidate_files(*small)


@pytest.mark.parametrize(
    ("added", "said"),
    [("x: &x [*x]\n", "contains itself"), ("---\ny: 1\n", "a second document begins")],
)
def test_a_file_whose_text_cannot_be_followed_is_refused(
    added: str, said: str, small: tuple[Path, Path]
) -> None:
    with small[1].open("a") as stream:
        stream.write(added)
    with pytest.raises(FleetInvalid, match=rf"^pc2\.yaml:\d+:\d+: error: .*{said}"):
        consolidate_files(*small)


def test_the_unified_fleet_is_refused_where_it_would_lack_something(
    small: tuple[Path, Path], tmp_path: Path
) -> None:
    small[1].write_text(PC2 + "logging: {level: [INFO]}\nhealth_checks: seven\n")
    made = consolidate_files(*small)
    assert (
        "health_checks: seven" in consolidation_files(made, tmp_path / "out")[tmp_path / "out" / "pc2.yaml"]
    )
    with pytest.raises(FleetInvalid, match="seven"):
        consolidation_files(made, tmp_path / "out", tmp_path / "fleet.yaml")


def test_lines_end_as_they_did(small: tuple[Path, Path]) -> None:
    mainpc, pc2 = small
    plain = consolidate_files(mainpc, pc2)
    pc2.write_bytes(pc2.read_bytes().replace(b"\n", b"\r\n"))
    made = consolidate_files(mainpc, pc2)
    assert made.texts["pc2.yaml"] == plain.texts["pc2.yaml"].replace("\n", "\r\n")
    assert made.texts["mainpc.yaml"] == plain.texts["mainpc.yaml"]
    assert made.unified == plain.unified


def test_the_report_says_what_changed(small: tuple[Path, Path]) -> None:
    made = consolidate_files(*small, is_correcting=True)
    page = report_markdown(made)
    assert page.startswith("# Consolidation report\n\n5 agents became 3 agents and 5 services; 2 old agents")
    assert "| ServiceRegistry | core_orchestrator | 7100 |" in page
    assert "| VisionProcessingAgent | HealthMonitor | observability_hub |" in page
    assert "## Faults that remain\n\nNone.\n" in page
    data = report_data(made)
    assert data["aliases"]["TaskScheduler"] == "resource_manager"
    assert data["faults_left"] == []
    assert all("tmp" not in finding["file"] for finding in data["faults_gone"])


def test_every_file_of_the_result_is_named(small: tuple[Path, Path], tmp_path: Path) -> None:
    made = consolidate_files(*small)
    files = consolidation_files(made, tmp_path / "out", tmp_path / "fleet.yaml")
    names = {path.name for path in files if path.suffix != ".svg"}
    assert names == {
        "mainpc.yaml",
        "pc2.yaml",
        "report.md",
        "before.mmd",
        "before.dot",
        "after.mmd",
        "after.dot",
        "fleet.yaml",
    }


@real_files
def test_the_real_files_become_67_agents_and_5_services_without_faults() -> None:
    made = consolidate_files(*REAL, is_correcting=True)
    assert (len(made.old_fleet.agents), len(made.fleet.agents), len(made.fleet.services)) == (82, 67, 5)
    assert sum(len(service.aliases) for service in made.fleet.services.values()) == 15
    assert made.after.findings == ()
    old = set(service_of())
    assert not any(old & set(one.dependencies) for one in made.fleet.agents.values())
    assert start_levels(made.fleet)


@real_files
def test_the_rest_of_the_real_files_keeps_its_text() -> None:
    made = consolidate_files(*REAL)
    for path in REAL:
        before, after = path.read_text().splitlines(), made.texts[path.name].splitlines()
        touched = ("dependencies", "- ", "core_orchestrator", "kind:", "home:", "fallback:", "aliases:", "#")
        service_lines = ("name:", "port:", "health_check_port:", "script_path: actors/", "required:", "}")
        for line in difflib.unified_diff(before, after, n=0, lineterm=""):
            if line.startswith("+") and not line.startswith("+++"):
                assert any(mark in line for mark in (*touched, *service_lines)), line


@real_files
def test_the_shipped_fleet_is_what_consolidation_makes_of_the_real_files() -> None:
    made = consolidate_files(*REAL, is_correcting=True)
    assert (REPOSITORY / "config" / "fleet.yaml").read_text(encoding="utf-8") == made.unified


def test_the_shipped_fleet_has_no_faults() -> None:
    loaded = load_fleet([REPOSITORY / "config" / "fleet.yaml"])
    assert loaded.findings == ()
    fleet = loaded.raise_if_invalid()
    assert (len(fleet.agents), len(fleet.services)) == (67, 5)


def test_the_migration_guide_names_every_correction_and_every_old_name() -> None:
    page = (REPOSITORY / "docs" / "migration.md").read_text(encoding="utf-8")
    names = (
        {rule.name for rule in CORRECTIONS} | {rule.name for rule in TEXT_CORRECTIONS} | {"merge-repeated"}
    )
    assert all(f"| `{name}` |" in page for name in names)
    for plan in REPLACEMENTS:
        assert f"| {plan.service} | {plan.home}, {plan.fallback} | {plan.port} |" in page
        assert all(old in page for old in plan.replaces)
