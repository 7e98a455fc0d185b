"""``zejzl up`` and ``zejzl down``: what they hand on, and what they print."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from actors.host_standing import HostStanding
from zejzl_ray.cli import up
from zejzl_ray.cli.checked_fleet import load_checked_fleet
from zejzl_ray.cli.main import app
from zejzl_ray.cluster.node_processes import StopReport
from zejzl_ray.contracts.agent_life import AgentHealth, AgentInfo, LifeState
from zejzl_ray.contracts.health import ServiceHealth
from zejzl_ray.contracts.orchestrator import FleetDeclared, HealthStatus
from zejzl_ray.errors import FleetInvalid
from zejzl_ray.settings import Settings

FLEET = """\
schema: zejzl.fleet/1
machines:
  mainpc: {}
agents:
  A: {machine: mainpc, port: 5000, health_port: 6000}
"""
LINE = "Ray node mainpc [/tmp/x]: " + "y" * 200


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ZEJZL_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("config/overlays").mkdir(parents=True)
    Path("config/fleet.yaml").write_text(FLEET)
    Path("config/overlays/dev.yaml").write_text("agents:\n  A: {port: 5555}\n")
    Path("bad.yaml").write_text(FLEET.replace("5000", "70000"))
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def hosts() -> list[HostStanding]:
    """The hosts of agents that the root says are up."""
    return []


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, hosts: list[HostStanding]) -> list[tuple[Any, ...]]:
    """Calls of the root; the first start is a start, a further one finds everything running."""
    calls: list[tuple[Any, ...]] = []

    def start(settings: Settings, fleet: Any, source: str, report: Callable[[str], None]) -> SimpleNamespace:
        calls.append((settings, fleet, source))
        report(LINE)
        running = SimpleNamespace(
            fleet=FleetDeclared(added=1, changed=0, removed=0, unchanged=0, revision=1),
            services=(ServiceHealth(service="error_bus", is_ready=True, machine="pc2"),),
            machines=("mainpc",),
            missing_machines=(),
            hosts=tuple(hosts),
        )
        record = SimpleNamespace(
            http_url="http://127.0.0.1:7000", dashboard_url="http://d", address="a:1", namespace="zejzl"
        )
        return SimpleNamespace(
            record=record,
            running=running,
            token_file=Path("/d/token"),
            ray_token_file=Path("/d/ray_token"),
            took_s=1.25,
            was_running=len(calls) > 1,
        )

    monkeypatch.setattr("actors.local_system.start_local_system", start)
    monkeypatch.setattr(up, "is_auth_off", lambda address, settings: False)
    return calls


def test_up_shows_progress_and_where_everything_is(started: list[tuple[Any, ...]]) -> None:
    result = run("up")
    assert result.exit_code == 0
    assert LINE in result.stderr
    assert "ingress     http://127.0.0.1:7000\ntoken file  /d/token\n" in result.stdout
    assert started[0][2] == "config/fleet.yaml" or started[0][2].endswith("/config/fleet.yaml")
    assert "already running" not in result.stderr
    assert "already running" in run("up").stderr


def test_up_says_which_agents_do_not_run_and_goes_on(
    started: list[tuple[Any, ...]], hosts: list[HostStanding]
) -> None:
    health = AgentHealth(agent="B", score=0, status=HealthStatus.UNHEALTHY)
    agents = (
        AgentInfo(name="A", state=LifeState.RUNNING, state_since_s=1, health=health),
        AgentInfo(name="B", state=LifeState.FAILED, reason="no model", state_since_s=1, health=health),
    )
    hosts += [HostStanding("talk", "mainpc", agents), HostStanding("see", "pc2", problem="no room")]
    result = run("up")
    assert result.exit_code == 0
    assert "agents      2 on 2 hosts, 2 not well: `zejzl agents list`\n" in result.stdout
    assert json.loads(run("up", "--json").stdout)["hosts"] == [
        {
            "host": "talk",
            "machine": "mainpc",
            "problem": "",
            "agents": {"A": "running", "B": "failed"},
            "troubles": ["the agent B of the host talk is failed: no model"],
        },
        {
            "host": "see",
            "machine": "pc2",
            "problem": "no room",
            "agents": {},
            "troubles": ["the host see does not run: no room"],
        },
    ]


def test_up_as_json_prints_json_only(started: list[tuple[Any, ...]]) -> None:
    result = run("up", "--json")
    data = json.loads(result.stdout)
    assert (data["ingress"], data["was_running"]) == ("http://127.0.0.1:7000", False)
    assert data["services"] == {"error_bus": "pc2"}
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("said", "is_required", "is_off"),
    [(True, True, True), (False, False, False), (None, True, False), (None, False, True)],
)
def test_up_says_when_authentication_is_off_whatever_the_settings_of_this_shell(
    started: list[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
    said: bool | None,
    is_required: bool,
    is_off: bool,
) -> None:
    asked: list[str] = []

    def ask(address: str, settings: Settings) -> bool | None:
        asked.append(address)
        return said

    monkeypatch.setattr(up, "is_auth_off", ask)
    if not is_required:
        monkeypatch.setenv("ZEJZL_ENVIRONMENT", "dev")
        monkeypatch.setenv("ZEJZL_REQUIRE_AUTH", "false")
    assert ("authentication is OFF" in run("up").stderr) is is_off
    assert json.loads(run("up", "--json").stdout)["auth"] == ("off" if is_off else "on")
    assert asked == ["http://127.0.0.1:7000"] * 2


def test_a_bad_fleet_starts_nothing(started: list[tuple[Any, ...]]) -> None:
    result = run("up", "--fleet", "bad.yaml")
    assert isinstance(result.exception, FleetInvalid)
    assert started == []


def test_the_fleet_comes_from_the_option_then_the_setting_then_here(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    (folder / "other.yaml").write_text(FLEET)
    set_to = Settings(fleet_file=folder / "bad.yaml")
    assert load_checked_fleet(set_to, folder / "other.yaml")[1] == folder / "other.yaml"
    with pytest.raises(FleetInvalid):
        load_checked_fleet(set_to, None)
    assert load_checked_fleet(Settings(), None)[1] == folder / "config" / "fleet.yaml"


def test_the_environments_overlay_is_laid_over() -> None:
    assert load_checked_fleet(Settings(environment="dev"), None)[0].agents["A"].port == 5555
    assert load_checked_fleet(Settings(environment="prod"), None)[0].agents["A"].port == 5000


@pytest.mark.parametrize(
    ("done", "text"),
    [
        (StopReport(0, 0, ()), "nothing was running"),
        (StopReport(0, 1, ()), "stopped"),
        (StopReport(3, 0, ()), "stopped"),
    ],
)
def test_down_says_what_it_did(monkeypatch: pytest.MonkeyPatch, done: StopReport, text: str) -> None:
    def stop(settings: Settings, report: Callable[[str], None]) -> StopReport:
        report(LINE)
        return done

    monkeypatch.setattr("actors.local_system.stop_local_system", stop)
    result = run("down")
    assert (result.exit_code, result.stdout) == (0, f"{text}\n")
    assert LINE in result.stderr
    as_json = run("down", "--json")
    assert json.loads(as_json.stdout) == {"ended": done.ended, "killed": done.killed}
    assert as_json.stderr == ""
