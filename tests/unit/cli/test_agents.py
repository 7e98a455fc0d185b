"""``zejzl agents``: what is asked of whom, and what is shown."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from actors import hosts_by_hand
from actors.host_standing import HostStanding
from zejzl_ray.cli import agents
from zejzl_ray.cli import logs as cli_logs
from zejzl_ray.cli.main import app
from zejzl_ray.contracts import agent_host as wire
from zejzl_ray.contracts.agent_life import AgentHealth, AgentInfo, LifeState
from zejzl_ray.contracts.orchestrator import Agent, AgentKind, AgentState, HealthStatus
from zejzl_ray.errors import AgentNotFound, ServiceUnavailable, ZejzlError
from zejzl_ray.settings import Settings

FLEET = """\
schema: zejzl.fleet/1
machines: {mainpc: {}}
hosts: {talk: {machine: mainpc}}
agents:
  Scout: {agent_host: talk, entry: "scouts:Scout"}
"""


def entry(name: str, host: str = "", **fields: Any) -> Agent:
    return Agent(
        name=name,
        kind=AgentKind.ACTOR if host else AgentKind.EXTERNAL,
        machine="mainpc",
        host="127.0.0.1",
        metadata={"agent_host": host} if host else {},
        **{"state": AgentState.HEALTHY, "state_since_s": 1, "registered_at_s": 1, "revision": 1, **fields},
    )


def info(name: str, state: LifeState = LifeState.RUNNING, **fields: Any) -> AgentInfo:
    reasons = fields.pop("reasons", ())
    status = HealthStatus.DEGRADED if reasons else HealthStatus.HEALTHY
    health = AgentHealth(agent=name, score=1, status=status, reasons=reasons)
    return AgentInfo(name=name, state=state, state_since_s=1, health=health, **fields)


class FakeClient:
    """The part of the client that the commands use."""

    def __init__(self) -> None:
        self.known = [entry("Scout", "talk"), entry("Eye", "see"), entry("Outside")]
        self.held: dict[str, Any] = {
            "talk": (
                info("Scout", mailbox=3, restarts=1, handled=7, entry="scouts:Scout", reasons=("[slow]",)),
            ),
            "see": ServiceUnavailable("agent_host:see is away."),
        }
        self.asked: list[tuple[str, Any]] = []
        self.reply: Any = info("Scout", LifeState.STOPPED, reason="stopped by hand")

    def __enter__(self) -> "FakeClient":
        return self

    def __exit__(self, *_: object) -> None: ...

    def agent(self, name: str) -> Agent:
        for each in self.known:
            if name in (each.name, *each.aliases):
                return each
        raise AgentNotFound(f"No agent is called {name}.")

    def list_agents(self, metadata_key: str, metadata_value: str | None = None) -> list[Agent]:
        return [
            each
            for each in self.known
            if metadata_key in each.metadata and metadata_value in (None, each.metadata[metadata_key])
        ]

    def call(self, operation: Any, request: Any, *, timeout_s: float) -> Any:
        self.asked.append((operation.name, request))
        if operation.name == "list_held_agents":
            held = self.held[request.host]
            if isinstance(held, ZejzlError):
                raise held
            return wire.HeldAgents(host=request.host, machine="mainpc", boot="b", agents=held)
        return self.reply


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeClient:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ZEJZL_{name.upper()}", raising=False)
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    fake = FakeClient()
    monkeypatch.setattr(agents, "connect", lambda: fake)
    return fake


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["agents", *arguments])


def test_the_list_has_what_hosts_say_and_what_the_registry_knows_of_the_others(client: FakeClient) -> None:
    result = run("list", "--json")
    data = json.loads(result.stdout)
    eye, scout = data["agents"]
    assert scout == {
        "name": "Scout", "host": "talk", "machine": "mainpc", "state": "running", "reason": "", "health": "degraded",
        "why": "[slow]", "mailbox": 3, "handled": 7, "restarts": 1, "entry": "scouts:Scout",
    }  # fmt: skip
    assert (eye["state"], eye["mailbox"], eye["health"]) == ("healthy", None, "")
    assert data["unread"] == {"see": "agent_host:see is away."}


def test_the_list_for_people_shows_reasons_and_hosts_that_do_not_answer(client: FakeClient) -> None:
    client.held["talk"] = (info("Scout", LifeState.FAILED, reason="no\x1b[31m model"),)
    result = run("list")
    assert "failed: no?[31m model" in result.stdout
    assert "host see does not answer" in result.stderr
    assert run("list").exit_code == 0


@pytest.mark.parametrize("option", [("--host", "talk"), ("--machine", "mainpc"), ("--machine", "pc2")])
def test_the_list_can_be_narrowed(client: FakeClient, option: tuple[str, str]) -> None:
    names = [row["name"] for row in json.loads(run("list", "--json", *option).stdout)["agents"]]
    assert names == {"talk": ["Scout"], "mainpc": ["Eye", "Scout"], "pc2": []}[option[1]]


@pytest.mark.parametrize("what", ["stop", "start", "restart"])
def test_an_agent_is_controlled_at_its_host(client: FakeClient, what: str) -> None:
    result = run(what, "Scout")
    assert (result.exit_code, result.stdout) == (0, "Scout on talk: stopped (stopped by hand)\n")
    ((operation, request),) = client.asked
    assert (operation, request.name, request.host) == (f"{what}_agent", "Scout", "talk")
    assert json.loads(run(what, "Scout", "--json").stdout)["host"] == "talk"


def test_an_alias_means_its_agent(client: FakeClient) -> None:
    client.known[0] = entry("Scout", "talk", aliases=("OldScout",))
    run("stop", "OldScout")
    assert client.asked[0][1].name == "Scout"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Outside", "of kind external"),
        ("talk", "is a host and no agent"),
        ("Nobody", "No agent is called Nobody"),
    ],
)
def test_what_no_host_holds_is_refused(client: FakeClient, name: str, words: str) -> None:
    result = run("stop", name)
    assert isinstance(result.exception, ZejzlError)
    assert words in str(result.exception)
    assert client.asked == []


def test_an_answer_of_another_kind_is_an_error(client: FakeClient) -> None:
    client.reply = entry("Scout")
    assert "is a Agent and no AgentInfo" in str(run("stop", "Scout").exception)


def test_logs_are_those_of_the_logs_command(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(cli_logs, "logs", lambda **given: asked.update(given))
    assert run("logs", "Scout", "-n", "1001").exit_code == 2  # more than a page holds
    assert run("logs", "Scout", "--follow", "--level", "error", "--since", "10m", "-n", "5").exit_code == 0
    assert asked == {
        "agent": "Scout", "follow": True, "level": cli_logs.Level.ERROR, "since": "10m", "limit": 5, "as_json": False,
    }  # fmt: skip


# --- on a machine of the cluster ----------------------------------------------------------------------------------


@pytest.fixture
def by_hand(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """What was asked of the composition root; every host that it starts has one agent that runs."""
    asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def answering(name: str) -> Callable[..., Any]:
        def answer(*given: Any, **named: Any) -> Any:
            asked.append((name, given, named))
            return HostStanding("talk", "mainpc", (info("Scout"),))

        return answer

    for name in ("run_declared", "run_entry", "end_host", "renew_host"):
        monkeypatch.setattr(hosts_by_hand, name, answering(name))
    return asked


def test_a_host_or_an_agent_of_the_fleet_file_is_run(
    client: FakeClient, by_hand: list[Any], tmp_path: Path
) -> None:
    (tmp_path / "my.yaml").write_text(FLEET)
    result = run("run", "Scout", "--fleet", "my.yaml")
    assert (result.exit_code, result.stdout) == (0, "host talk on mainpc: Scout running\n")
    ((name, given, _),) = by_hand
    assert (name, given[2], given[3]) == ("run_declared", Path("my.yaml"), "Scout")
    assert set(given[1].hosts) == {"talk"}
    assert run("run", "Scout", "--fleet", "my.yaml", "--name", "X").exit_code == 2


def test_a_class_is_run_under_a_name(client: FakeClient, by_hand: list[Any], tmp_path: Path) -> None:
    result = run(
        "run", "scouts:Scout", "--name", "New", "--machine", "mainpc", "--config", '{"a": 1}', "--json"
    )
    assert json.loads(result.stdout) == {
        "host": "talk", "machine": "mainpc", "agents": {"Scout": "running"}, "troubles": [],
    }  # fmt: skip
    ((name, given, named),) = by_hand
    assert (name, given[1]) == ("run_entry", "scouts:Scout")
    assert named == {
        "name": "New", "machine": "mainpc", "host": "New", "path": (str(tmp_path),), "config": {"a": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ("scouts:Scout",),
        ("scouts:", "--name", "A"),
        ("scouts:Scout", "--name", "1"),
        ("scouts:Scout", "--name", "A", "--machine", "m c"),
        ("scouts:Scout", "--name", "A", "--host", "h" * 101),
        ("scouts:Scout", "--name", "A", "--config", "{"),
        ("scouts:Scout", "--name", "A", "--config", "[]"),
    ],
)
def test_what_cannot_be_run_is_wrong_usage(
    client: FakeClient, by_hand: list[Any], arguments: tuple[str, ...]
) -> None:
    assert run("run", *arguments).exit_code == 2
    assert by_hand == []


def test_a_name_that_an_agent_has_is_not_given_to_another(client: FakeClient, by_hand: list[Any]) -> None:
    result = run("run", "scouts:Scout", "--name", "Scout")
    assert "There is an agent Scout already, on mainpc." in str(result.exception)
    client.known[0] = entry("Scout", "talk", state=AgentState.STOPPED)
    assert run("run", "scouts:Scout", "--name", "Scout").exit_code == 0


def test_agents_that_do_not_run_are_said_with_exit_code_1(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "my.yaml").write_text(FLEET)
    broken = HostStanding("talk", "mainpc", (info("Scout", LifeState.FAILED, reason="no model"),))
    monkeypatch.setattr(hosts_by_hand, "run_declared", lambda *given: broken)
    result = run("run", "talk", "--fleet", "my.yaml")
    assert (result.exit_code, "Scout of the host talk is failed: no model" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("what", "name", "said"),
    [("stop", "end_host", "host talk: ended"), ("restart", "renew_host", "host talk: runs in a new process")],
)
def test_a_whole_host_is_ended_or_renewed(
    client: FakeClient, by_hand: list[Any], what: str, name: str, said: str
) -> None:
    result = run(what, "talk", "--host")
    assert (result.exit_code, result.stdout.strip()) == (0, said)
    assert (by_hand[0][0], by_hand[0][1][1]) == (name, "talk")
    assert json.loads(run(what, "talk", "--host", "--json").stdout)["host"] == "talk"
