"""Agents of a fleet file on two machines: started, seen, stopped, restarted, killed and back."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.doors_of import open_doors, without_token
from tests.cluster.system import System, new_data_dir, system_environment
from zejzl_ray.cluster.listeners import ProcessKind, Reach
from zejzl_ray.contracts import agent_host as wire
from zejzl_ray.errors import NotFound
from zejzl_ray.sdk.connect import connect

CODE = '''\
import asyncio

from zejzl_ray import Agent, Message, handles


class Asker(Agent):
    """Asks all the time, and counts the answers."""

    async def on_start(self):
        self._task = asyncio.create_task(self._ask())

    async def on_stop(self):
        self._task.cancel()

    async def _ask(self):
        while True:
            await asyncio.sleep(0.05)
            try:
                await self.request(self.settings["whom"], "ping", {}, timeout_s=2)
            except Exception:
                self.metrics.count("troubles")
            else:
                self.metrics.count("answers")


class Answerer(Agent):
    """Remembers how often it was asked."""

    state_period_s = 0.05

    def __init__(self):
        self._pings = 0

    @handles("ping")
    async def ping(self, message: Message):
        self._pings += 1
        self.metrics.set("pings", self._pings)
        return {"pings": self._pings}

    def save_state(self):
        return {"pings": self._pings}

    def load_state(self, state):
        self._pings = state["pings"]
        self.metrics.set("pings_restored", self._pings)
'''
FLEET = """\
schema: zejzl.fleet/1
machines:
  mainpc: {}
  pc2: {}
hosts:
  left: {machine: mainpc, path: [code]}
  right: {machine: pc2, path: [code], vram_mib: 2000, memory_mib: 50}
agents:
  Asker: {agent_host: left, entry: "talkers:Asker", config: {whom: Answerer}}
  Broken: {agent_host: left, entry: "talkers:Nobody"}
  Answerer: {agent_host: right, entry: "talkers:Answerer"}
  Outside: {machine: pc2, port: 5555}
"""
LIST = next(operation for operation in wire.OPERATIONS if operation.name == "list_held_agents")


def write_fleet(folder: Path, text: str = FLEET) -> Path:
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code" / "talkers.py").write_text(CODE)
    path = folder / "fleet.yaml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def fleet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fleet(tmp_path_factory.mktemp("fleet"))


@pytest.fixture(scope="module")
def agents_system(fleet_file: Path) -> Iterator[System]:
    data_dir = new_data_dir()
    system = System(data_dir, system_environment(data_dir, ZEJZL_FLEET_FILE=str(fleet_file)))
    try:
        system.up()
        yield system
    finally:
        system.down()


def held(system: System, host: str) -> dict[str, Any]:
    """Return the agents of a host as it says itself, over HTTP."""
    with connect(system.info["ingress"], token_file=system.data_dir / "token") as client:
        reply = client.call(LIST, wire.ListHeldAgents(host=host), timeout_s=10)
    assert isinstance(reply, wire.HeldAgents)
    return {agent.name: agent for agent in reply.agents}


def eventually(check: Callable[[], bool], within_s: float, what: str) -> None:
    deadline_s = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < deadline_s, f"not within {within_s} s: {what}"
        time.sleep(0.2)


def answers(system: System) -> int:
    return int(held(system, "left")["Asker"].metrics.get("answers", 0))


def rows(system: System) -> dict[str, dict[str, Any]]:
    done = system.zejzl("agents", "list", "--json")
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)["agents"]}


def test_up_starts_the_hosts_and_says_which_agent_could_not_be_started(agents_system: System) -> None:
    hosts = {host["host"]: host for host in agents_system.info["hosts"]}
    assert hosts["right"] == {
        "host": "right", "machine": "pc2", "problem": "", "agents": {"Answerer": "running"}, "troubles": [],
    }  # fmt: skip
    assert hosts["left"]["agents"] == {"Asker": "running", "Broken": "failed"}
    assert hosts["left"]["troubles"] == [
        "the agent Broken of the host left is failed: talkers has no Nobody."
    ]


def test_agents_on_two_machines_talk(agents_system: System) -> None:
    eventually(lambda: answers(agents_system) > 3, 20, "Asker has answers of Answerer")


def test_the_list_shows_where_they_are_and_how(agents_system: System) -> None:
    found = rows(agents_system)
    assert (found["Asker"]["host"], found["Asker"]["machine"], found["Asker"]["state"]) == (
        "left", "mainpc", "running",
    )  # fmt: skip
    assert (found["Answerer"]["host"], found["Answerer"]["machine"]) == ("right", "pc2")
    assert found["Broken"]["state"] == "failed"
    assert "has no Nobody" in found["Broken"]["why"]
    shown = agents_system.zejzl("agents", "list").stdout
    for word in ("Asker", "Answerer", "left", "right", "mainpc", "pc2", "has no Nobody"):
        assert word in shown


async def test_the_doors_for_mail_are_on_the_list_and_refuse_who_shows_nothing(agents_system: System) -> None:
    found = [
        one for one in open_doors(agents_system) if one.listener.kind is ProcessKind.AGENT_HOST and one.door
    ]
    doors = Counter(one.door.name for one in found if one.door is not None)
    assert doors == {"mail": 2, "calls of hosts of agents": 2}
    for one in found:
        assert one.door is not None
        assert one.listener.reach is Reach.LOOPBACK
        answers = {await without_token(one.listener, path) for path in one.door.tried}
        assert {"UNAUTHENTICATED"} <= answers <= {"UNAUTHENTICATED", "UNIMPLEMENTED"}


def test_up_again_leaves_hosts_alone_that_have_not_changed(agents_system: System) -> None:
    before = held(agents_system, "left")["Asker"].started_at_s
    done = agents_system.zejzl("up")
    assert done.returncode == 0, done.stderr
    assert "host left on" not in done.stderr
    assert "warning: the agent Broken of the host left is failed" in done.stderr
    assert held(agents_system, "left")["Asker"].started_at_s == before


def test_an_agent_is_stopped_started_and_restarted_over_http(agents_system: System) -> None:
    done = agents_system.zejzl("agents", "stop", "Answerer")
    assert (done.returncode, done.stdout) == (0, "Answerer on right: stopped (stopped)\n"), done.stderr
    assert rows(agents_system)["Answerer"]["state"] == "stopped"
    done = agents_system.zejzl("agents", "start", "Answerer")
    assert (done.returncode, done.stdout.split(" (")[0].strip()) == (0, "Answerer on right: running"), (
        done.stderr
    )
    assert held(agents_system, "right")["Answerer"].metrics["pings_restored"] > 3
    before = held(agents_system, "right")["Answerer"].started_at_s
    done = agents_system.zejzl("agents", "restart", "Answerer")
    assert done.returncode == 0, done.stderr
    after = held(agents_system, "right")["Answerer"]
    assert after.started_at_s > before
    seen = answers(agents_system)
    eventually(lambda: answers(agents_system) > seen, 20, "Asker has answers again")


def test_what_is_no_agent_of_a_host_is_refused_in_one_line(agents_system: System) -> None:
    for arguments, words in (
        (("stop", "left"), "left is a host and no agent"),
        (("stop", "Outside"), "No host of agents holds Outside: it is of kind external"),
        (("restart", "Nobody"), "Nobody"),
        (("stop", "--host", "middle"), "No host middle runs"),
        (("run", "Answere"), "Did you mean Answerer?"),
    ):
        done = agents_system.zejzl("agents", *arguments)
        assert done.returncode == 1, arguments
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    with pytest.raises(NotFound, match="no agent of a host middle"):
        held(agents_system, "middle")


def test_a_host_that_is_killed_comes_back_with_the_state_of_its_agents(agents_system: System) -> None:
    placed = json.loads(agents_system.zejzl("status", "--placement", "--json").stdout)
    host = next(actor for actor in placed if actor["name"] == "agent_host:right")
    assert (host["machine"], host["vram_mib"]) == ("pc2", 2000)
    pings = held(agents_system, "right")["Answerer"].metrics["pings"]  # the last ones may not be saved yet
    assert pings > 20
    os.kill(host["pid"], signal.SIGKILL)

    def is_back() -> bool:
        try:
            found = held(agents_system, "right")["Answerer"]
        except Exception:  # it is away
            return False
        return bool(found.state == "running" and found.metrics.get("pings_restored", 0) >= pings - 10)

    eventually(is_back, 40, "Answerer is back with its count")
    seen = answers(agents_system)
    eventually(lambda: answers(agents_system) > seen, 30, "Asker has answers again")


def test_an_agent_of_no_file_runs_in_a_host_of_its_own_until_it_is_ended(
    agents_system: System, fleet_file: Path
) -> None:
    folder = str(fleet_file.parent / "code")
    run = ("agents", "run", "talkers:Answerer", "--name", "Extra", "--path", folder)
    refused = agents_system.zejzl(*run)
    assert "Say where it runs: mainpc, pc2" in refused.stderr
    done = agents_system.zejzl(*run, "--machine", "mainpc")
    assert (done.returncode, done.stdout) == (0, "host Extra on mainpc: Extra running\n"), done.stderr
    eventually(lambda: rows(agents_system).get("Extra", {}).get("state") == "running", 10, "Extra is listed")
    again = agents_system.zejzl(*run, "--machine", "mainpc")
    assert "There is an agent Extra already" in again.stderr
    assert agents_system.zejzl("up").returncode == 0
    assert rows(agents_system)["Extra"]["state"] == "running"  # `up` ends only what a fleet file had
    assert agents_system.zejzl("agents", "stop", "--host", "Extra").returncode == 0
    assert "Extra" not in rows(agents_system)
    wrong = agents_system.zejzl(
        "agents", "run", "talkers:Nobody", "--name", "E2", "--machine", "pc2", "--path", folder
    )
    assert (wrong.returncode, "talkers has no Nobody" in wrong.stderr) == (1, True)


def test_a_changed_fleet_file_replaces_the_hosts_that_changed_and_ends_those_that_left(
    agents_system: System, fleet_file: Path
) -> None:
    before = held(agents_system, "right")["Answerer"].started_at_s
    fleet_file.write_text(FLEET.replace('  Broken: {agent_host: left, entry: "talkers:Nobody"}\n', ""))
    done = agents_system.zejzl("up")
    assert done.returncode == 0, done.stderr
    assert "host left has changed: it is replaced" in done.stderr
    assert "host left on mainpc: 1 of 1 agents run" in done.stderr
    assert set(held(agents_system, "left")) == {"Asker"}
    assert held(agents_system, "right")["Answerer"].started_at_s == before
    fleet_file.write_text("\n".join(line for line in FLEET.splitlines() if "left" not in line) + "\n")
    done = agents_system.zejzl("up", "--json")
    assert done.returncode == 0, done.stderr
    assert [host["host"] for host in json.loads(done.stdout)["hosts"]] == ["right"]
    assert set(rows(agents_system)) == {"Answerer"}


def test_a_host_that_asks_for_too_much_is_a_warning_of_up(agents_system: System, fleet_file: Path) -> None:
    fleet_file.write_text(FLEET.replace("left: {machine: mainpc,", "left: {machine: mainpc, cpus: 4000,"))
    done = agents_system.zejzl("up")
    assert done.returncode == 0, done.stderr
    assert "warning: the host left does not run: it asks for 4000 CPU" in done.stderr
