"""``zejzl fleet`` from the command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from zejzl_ray.cli.fleet import app
from zejzl_ray.errors import AgentNotFound, Conflict, FleetInvalid
from zejzl_ray.fleet.sources import default_fleet_file

GOOD = """\
schema: zejzl.fleet/1
machines:
  mainpc: {}
  pc2: {}
services:
  core_orchestrator: {aliases: [ServiceRegistry]}
agents:
  A: {machine: mainpc, port: 5000, health_port: 6000, dependencies: [core_orchestrator]}
  B: {port: 5001, dependencies: [A]}
"""
MAINPC = """\
agent_groups:
  core_services:
    ServiceRegistry: {script_path: main_pc_code/r.py, port: 7100, health_check_port: 8100}
  g:
    A: {script_path: main_pc_code/a.py, port: 5000, health_check_port: 6000, dependencies: [ServiceRegistry]}
"""
PC2 = """\
pc2_services:
  - {name: HealthMonitor, script_path: pc2_code/h.py, port: 7114, health_check_port: 8114}
  - {name: B, script_path: pc2_code/b.py, port: 7118, health_check_port: 8118, dependencies: [HealthMonitor]}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a fleet, a faulty one and two old files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZEJZL_FLEET_FILE", raising=False)
    Path("config/overlays").mkdir(parents=True)
    Path("config/fleet.yaml").write_text(GOOD)
    Path("config/overlays/dev.yaml").write_text("agents:\n  A: {port: 5555}\n")
    Path("bad.yaml").write_text(GOOD.replace("[A]", "[Nobody]"))
    Path("mainpc.yaml").write_text(MAINPC)
    Path("pc2.yaml").write_text(PC2)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_a_good_fleet_is_valid() -> None:
    result = run("validate")
    assert (result.exit_code, result.stdout) == (
        0,
        "2 agents, 1 services, 2 machines, 0 errors, 0 warnings\n",
    )


def test_findings_are_lines_with_their_place_and_the_exit_code_is_1() -> None:
    result = run("validate", "bad.yaml")
    assert result.exit_code == 1
    assert result.stdout.startswith("bad.yaml:9:")
    assert ": error: " in result.stdout


def test_findings_can_be_had_as_json() -> None:
    data = json.loads(run("validate", "bad.yaml", "--json").stdout)
    assert (data["valid"], data["errors"]) == (False, 1)
    assert data["findings"][0]["file"] == "bad.yaml"


def test_warnings_count_when_strict() -> None:
    Path("warn.yaml").write_text(
        GOOD.replace("port: 5001", "port: 5001, environment: {X: '${NOT_SET_HERE}'}")
    )
    assert run("validate", "warn.yaml").exit_code == 0
    assert run("validate", "warn.yaml", "--strict").exit_code == 1


def test_a_file_that_cannot_be_read_has_no_agents() -> None:
    result = run("validate", "none.yaml")
    assert result.exit_code == 1
    assert result.stdout.endswith("0 agents, 0 services, 0 machines, 1 errors, 0 warnings\n")


@pytest.mark.parametrize("overlay", ["dev", "config/overlays/dev.yaml"])
def test_an_overlay_is_named_or_a_file(overlay: str) -> None:
    assert json.loads(run("show", "A", "--overlay", overlay, "--json").stdout)["port"] == 5555


def test_the_file_that_is_taken_is_named_beside_the_result() -> None:
    result = run("order", "--json")
    assert result.stderr == "fleet file: config/fleet.yaml\n"
    assert json.loads(result.stdout)
    assert run("validate", "bad.yaml").stderr == ""


def test_without_a_file_of_ones_own_the_shipped_one_is_taken(folder: Path) -> None:
    (folder / "config" / "fleet.yaml").unlink()
    result = run("validate")
    assert result.exit_code == 0
    assert result.stderr == f"fleet file: {default_fleet_file()}\n"


def test_a_variable_names_the_file_as_for_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEJZL_FLEET_FILE", "bad.yaml")
    result = run("validate")
    assert result.exit_code == 1
    assert result.stderr == "fleet file: bad.yaml\n"


def test_the_fleet_is_shown_as_a_table_and_as_json() -> None:
    text = run("show").stdout
    assert "core_orchestrator" in text
    assert "2 agents, 1 services, 2 machines" in text
    assert list(json.loads(run("show", "--json").stdout)["agents"]) == ["A", "B"]


def test_one_member_is_shown_by_name_or_alias() -> None:
    shown = run("show", "ServiceRegistry").stdout
    assert "alias of" in shown
    assert "core_orchestrator" in shown
    assert json.loads(run("show", "core_orchestrator", "--json").stdout)["part"] == "service"
    assert "5000" in run("show", "A").stdout
    assert isinstance(run("show", "Nobody").exception, AgentNotFound)


def test_a_faulty_fleet_is_not_shown() -> None:
    assert isinstance(run("show", "-f", "bad.yaml").exception, FleetInvalid)


def test_the_start_order_is_one_level_a_line() -> None:
    assert run("order").stdout == "0: core_orchestrator\n1: A\n2: B\n"
    assert json.loads(run("order", "--json").stdout) == {"levels": [["core_orchestrator"], ["A"], ["B"]]}


def test_the_port_matrix_is_markdown_and_can_be_checked() -> None:
    page = run("ports").stdout
    assert "| 5000 | A | agent |" in page
    Path("ports.md").write_text(page)
    assert run("ports", "--check", "ports.md").exit_code == 0
    Path("ports.md").write_text(page + "x")
    stale = run("ports", "--check", "ports.md")
    assert stale.exit_code == 1
    assert stale.stdout.startswith("ports.md: stale. Make it: ")
    assert "zejzl fleet ports >" in stale.stdout
    missing = run("ports", "--check", "none.md")
    assert missing.exit_code == 1
    assert missing.stdout.startswith("none.md: there is no such file. Make it: ")
    assert json.loads(run("ports", "--check", "ports.md", "--json").stdout)["is_current"] is False
    assert {row["owner"] for row in json.loads(run("ports", "--json").stdout)} >= {"A", "Redis"}


def test_old_files_are_migrated_to_standard_output_or_a_file() -> None:
    text = run("migrate", "mainpc.yaml", "pc2.yaml").stdout
    assert text.startswith("schema: zejzl.fleet/1\n")
    result = run("migrate", "mainpc.yaml", "pc2.yaml", "--out", "new.yaml")
    assert result.stdout == "new.yaml: 4 agents of 2 machines\n"
    assert Path("new.yaml").read_text() == text
    data = json.loads(run("migrate", "mainpc.yaml", "--json").stdout)
    assert (data["agents"], data["file"], "text" in data) == (2, None, True)


@pytest.mark.parametrize("old", ["", "mainpc.yaml,", ",mainpc.yaml"])
def test_a_name_that_is_missing_in_a_comparison_is_wrong_usage(old: str) -> None:
    result = run("diff", old, "config/fleet.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "lacks the name of a file" in result.stderr


def test_findings_of_old_files_are_printed_when_they_are_migrated() -> None:
    Path("mainpc.yaml").write_text(MAINPC.replace("[ServiceRegistry]", "[Nobody]"))
    assert "Nobody" in run("migrate", "mainpc.yaml", "-o", "new.yaml").stdout
    to_pipe = run("migrate", "mainpc.yaml")
    assert "which nobody declares" in to_pipe.stderr
    assert "which nobody declares" not in to_pipe.stdout
    data = json.loads(run("migrate", "mainpc.yaml", "-o", "new.yaml", "--force", "--json").stdout)
    assert (data["file"], len(data["findings"]), "text" in data) == ("new.yaml", 1, False)


def test_nothing_is_overwritten_unless_forced() -> None:
    Path("new.yaml").write_text("mine")
    assert isinstance(run("migrate", "mainpc.yaml", "-o", "new.yaml").exception, Conflict)
    assert Path("new.yaml").read_text() == "mine"
    assert run("migrate", "mainpc.yaml", "-o", "new.yaml", "--force").exit_code == 0


def test_two_old_files_are_consolidated_into_a_folder() -> None:
    result = run("consolidate", "mainpc.yaml", "pc2.yaml", "--out", "out", "--unified", "new.yaml", "--fix")
    assert result.exit_code == 0, result.exception
    assert result.stdout.startswith(
        "4 agents -> 2 agents and 5 services, 15 aliases; 2 rewired, 0 corrections;"
    )
    assert "wrote out/report.md\n" in result.stdout
    assert run("validate", "new.yaml", "--strict").exit_code == 0
    assert run("validate", "out/mainpc.yaml", "out/pc2.yaml", "--strict").exit_code == 0
    assert run("diff", "out/mainpc.yaml,out/pc2.yaml", "new.yaml").exit_code == 0


def test_a_consolidation_can_be_had_as_json_and_does_not_overwrite() -> None:
    arguments = ("consolidate", "mainpc.yaml", "pc2.yaml", "-o", "out", "--json")
    data = json.loads(run(*arguments).stdout)
    assert (data["agents_before"], data["agents_after"]) == (4, 2)
    assert "out/after.mmd" in data["files"]
    assert isinstance(run(*arguments).exception, Conflict)


def test_differences_are_a_table_and_exit_code_1() -> None:
    Path("new.yaml").write_text(
        GOOD.replace("port: 5001", "port: 5002").replace("  A:", "  A2:").replace("[A]", "[A2]")
    )
    result = run("diff", "config/fleet.yaml", "new.yaml")
    assert result.exit_code == 1
    assert all(word in result.stdout for word in ("removed", "added", "5001", "5002"))
    changes = json.loads(run("diff", "config/fleet.yaml", "new.yaml", "--json").stdout)
    assert [change["kind"] for change in changes] == ["removed", "changed", "changed", "added"]


def test_equal_fleets_print_nothing() -> None:
    result = run("diff", "config/fleet.yaml", "config/fleet.yaml")
    assert (result.exit_code, result.stdout) == (0, "")


def test_a_fleet_that_cannot_be_read_cannot_be_compared() -> None:
    assert isinstance(run("diff", "config/fleet.yaml", "none.yaml").exception, FleetInvalid)


def test_the_schema_is_json() -> None:
    assert "agents" in json.loads(run("schema").stdout)["properties"]


def test_the_shipped_port_matrix_is_up_to_date() -> None:
    root = Path(__file__).parents[3]
    page = root / "docs" / "PORT_ALLOCATION_MATRIX.md"
    assert run("ports", str(root / "config" / "fleet.yaml"), "--check", str(page)).exit_code == 0
