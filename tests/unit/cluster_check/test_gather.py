"""Two machines that are this one, each asked by the real program in a process of its own."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from tests.unit.cluster_check.healthy import CLUSTER
from zejzl_ray.cluster_check.clock_reading import clock_reading
from zejzl_ray.cluster_check.conversation import Conversation, ConversationEnded
from zejzl_ray.cluster_check.facts import Phase, ReleaseHere
from zejzl_ray.cluster_check.gather import Gathering, carried_here
from zejzl_ray.cluster_check.judge import judge
from zejzl_ray.cluster_check.needed_ports import outer_ports, redis_place, store_url
from zejzl_ray.cluster_check.progress import Progress
from zejzl_ray.cluster_check.ssh import ssh_command
from zejzl_ray.cluster_file.model import CarriedRelease, ClusterFile, DeclaredMachine

_LOAD = "import sys; exec(compile(sys.stdin.buffer.read({}).decode(), 'program', 'exec'), {{'__name__': 'program'}})"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClusterFile:
    """A head and a worker, both on loopback, with ports that nobody else has."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(tmp_path / "data"))
    from zejzl_ray.cluster.ports import free_ports

    names = (
        "RAY_PORT",
        "HTTP_PORT",
        "RESOURCE_MANAGER_PORT",
        "OBSERVABILITY_PORT",
        "ERROR_BUS_PORT",
        "SECURITY_PORT",
    )
    for name, port in zip(names, free_ports(len(names)), strict=True):
        monkeypatch.setenv(f"ZEJZL_{name}", str(port))
    for name in ("NODE_MANAGER_PORT", "OBJECT_MANAGER_PORT", "AGENT_GRPC_PORT", "AGENT_HTTP_PORT"):
        monkeypatch.setenv(f"ZEJZL_RAY_{name}", "0")
    monkeypatch.setenv("ZEJZL_RAY_WORKER_PORTS", "any")
    monkeypatch.setenv("ZEJZL_MAIL_PORTS", "none")  # nobody can read it, so nobody listens
    return CLUSTER.model_copy(
        update={
            "head": DeclaredMachine(name="mainpc", address="127.0.0.1"),
            "workers": (DeclaredMachine(name="pc2", address="127.0.0.2"),),
            "environment": {"ZEJZL_STORE_URL": "redis://127.0.0.1:1"},
            "copied": {"~/x/ray_token": tmp_path / "none"},
        }
    )


def _local(cluster: ClusterFile, machine: DeclaredMachine, size: int) -> Sequence[str]:
    return (sys.executable, "-c", _LOAD.format(size))


async def test_all_machines_are_asked_and_connect_to_one_another(cluster: ClusterFile) -> None:
    said: list[tuple[str, str]] = []
    gathering = Gathering(cluster, command=_local, say=lambda machine, what: said.append((machine, what)))

    facts = await gathering.facts()

    assert facts.phase is Phase.BEFORE
    assert [machine.ssh_fault for machine in facts.machines] == [None, None]
    own = [(link.source, link.target, link.greeted_by) for link in facts.links if link.is_greeting_expected]
    assert sorted(own) == [("mainpc", "pc2", "pc2"), ("pc2", "mainpc", "mainpc"), ("pc2", "mainpc", "mainpc")]
    assert {machine.redis.state for machine in facts.machines if machine.redis is not None} == {"refused"}
    clocks = [
        clock
        for machine in facts.machines
        for clock in (machine.clock, machine.shell_clock)
        if clock is not None
    ]
    assert len(clocks) == 4
    assert all(abs(clock.ahead_s) <= clock.uncertainty_s + 1 for clock in clocks)
    assert said[-1][1] == ""
    checks = {finding.check for finding in judge(facts).findings}
    assert {"secret", "tls", "redis", "version"} <= checks  # nothing is there, and that is seen
    assert "address" not in checks


async def test_after_the_start_nobody_listens_in_the_place_of_ray(cluster: ClusterFile) -> None:
    facts = await Gathering(cluster, command=_local).facts(Phase.AFTER)

    assert facts.ray is None
    assert facts.head.local_ports == {}
    assert set(facts.head.outer_ports) == {0}
    control = [link for link in facts.links if link.what == "Ray's control store"]
    assert [(link.source, link.state, link.is_greeting_expected) for link in control] == [
        ("pc2", "refused", False)
    ]


@pytest.mark.parametrize(
    ("argv", "cause"),
    [
        (("sh", "-c", "echo 'me@x: Permission denied (publickey).' >&2; exit 255"), "key"),
        (("no-such-program",), "ssh"),
        (("sh", "-c", "echo This account is currently not available.; exit 1"), "shell"),
        (("sh", "-c", "exit 0"), "shell"),
        ((sys.executable, "-c", "print('ZEJZL-CHECK:[1')"), "ssh"),
    ],
)
async def test_a_machine_that_does_not_answer_does_not_keep_the_other_from_it(
    cluster: ClusterFile, argv: tuple[str, ...], cause: str
) -> None:
    def command(cluster: ClusterFile, machine: DeclaredMachine, size: int) -> Sequence[str]:
        return argv if machine.name == "pc2" else _local(cluster, machine, size)

    facts = await Gathering(cluster, command=command).facts()

    fault = facts.machines[1].ssh_fault
    assert fault is not None
    assert fault.cause == cause
    assert facts.head.own is not None


async def test_an_answer_of_another_kind_is_told(cluster: ClusterFile) -> None:
    program = "import sys\nfor line in sys.stdin: print('ZEJZL-CHECK:{\"disks\": 5}', flush=True)"

    facts = await Gathering(cluster, command=lambda *_: (sys.executable, "-c", program)).facts()

    assert [machine.ssh_fault and machine.ssh_fault.cause for machine in facts.machines] == [
        "answer",
        "answer",
    ]


async def test_a_machine_that_falls_silent_is_left_behind(cluster: ClusterFile) -> None:
    program = (
        "import sys, json\nsys.stdin.buffer.read(int(sys.argv[1]))\nfor line in sys.stdin:\n"
        "    ask = json.loads(line)['ask']\n"
        "    if ask == 'listen': print('ZEJZL-CHECK:{\"failed\": \"no\"}', flush=True); continue\n"
        "    if ask == 'redis': print('ZEJZL-CHECK:{\"state\": 5, \"error\": []}', flush=True); continue\n"
        "    if ask == 'connect': sys.exit(3)\n"
        "    print('noise\\nZEJZL-CHECK:{\"time_s\": null}', flush=True)\n"
    )

    facts = await Gathering(
        cluster, command=lambda _, __, size: (sys.executable, "-c", program, str(size))
    ).facts()

    assert facts.head.clock is None
    assert facts.head.unanswered["listen"] == "no"
    assert set(facts.head.unanswered) >= {"listen", "connect"}
    assert not judge(facts).is_well


async def test_a_conversation_has_a_limit_and_leaves_nothing_behind() -> None:
    async with Conversation(("sleep", "60"), b"") as talk:
        with pytest.raises(ConversationEnded, match="no answer within"):
            await talk.ask({"ask": "clock"}, 0.05)
        process = talk._process

    assert process is not None
    assert process.returncode is not None


async def test_a_conversation_that_never_began_says_so() -> None:
    with pytest.raises(ConversationEnded, match="not connected"):
        await Conversation(("true",), b"").ask({"ask": "clock"}, 1.0)


def test_the_clock_is_as_wrong_as_the_answer_took() -> None:
    reading = clock_reading(100.0, 3701.0, 102.0)

    assert (reading.ahead_s, reading.uncertainty_s) == (3600.0, 1.0)


def test_fixed_ports_are_those_of_the_node() -> None:
    from tests.unit.cluster_check.healthy import own_facts

    own = own_facts("mainpc")
    ports = {"node_manager": 6381, "object_manager": 6382, "agent_grpc": 0, "worker_ports": [7100, 7199]}
    record = {**(own.node.record or {}), "node": {"ports": ports}}
    fixed = own.model_copy(update={"node": own.node.model_copy(update={"record": record})})

    assert [need.port for need in outer_ports(fixed, is_head=True)] == [
        6379, 6381, 6382, 0, 7100, 7199, 7600, 7699,
    ]  # fmt: skip
    assert [need.port for need in outer_ports(own, is_head=False)] == [0, 7600, 7699]


def test_ports_of_a_node_that_was_not_started_are_those_of_its_settings() -> None:
    from tests.unit.cluster_check.healthy import own_facts

    own = own_facts("mainpc")
    idle = own.model_copy(update={"node": own.node.model_copy(update={"processes": ()})})
    moved = idle.model_copy(
        update={
            "settings": {
                "RAY_AGENT_HTTP_PORT": "0",
                "RAY_NODE_MANAGER_PORT": "x",
                "RAY_WORKER_PORTS": "1-2",
                "MAIL_PORTS": "7700-7700",
            }
        }
    )

    assert [need.port for need in outer_ports(idle, is_head=False)] == [
        20001, 20002, 20003, 20004, 20100, 20999, 7600, 7699,
    ]  # fmt: skip
    assert [need.port for need in outer_ports(moved, is_head=False)] == [20001, 20002, 20003, 0, 7700]
    assert [need.port for need in outer_ports(idle, is_head=False) if need.is_of_many] == [
        20100,
        20999,
        7600,
        7699,
    ]


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("rediss://h:6380/0", ("h", 6380, True)),
        ("redis://h", ("h", 6380, False)),
        ("redis+sentinel://h", None),
        ("sqlite", None),
        ("redis://[", None),
    ],
)
def test_the_place_of_redis_is_read_from_its_url(url: str, place: tuple[str, int, bool] | None) -> None:
    assert redis_place(url) == place


async def test_progress_is_said_while_somebody_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    slept: list[float] = []

    async def sleep(delay_s: float) -> None:
        slept.append(delay_s)
        if len(slept) > 2:
            raise asyncio.CancelledError

    monkeypatch.setattr("zejzl_ray.cluster_check.progress.asyncio.sleep", sleep)
    progress = Progress(lines.append)
    progress.say("mainpc", "connecting")
    progress.say("pc2", "connecting")
    progress.say("mainpc", "")

    with pytest.raises(asyncio.CancelledError):
        await progress.tell()

    assert slept == [3.0, 5.0, 5.0]
    assert len(lines) == 2
    assert "pc2: connecting" in lines[0]
    assert "mainpc" not in lines[0]


def test_what_would_be_carried_is_looked_at_here(tmp_path: Path) -> None:
    carried = CarriedRelease(here=tmp_path, there="~/.local/share/zejzl/release")

    assert carried_here(None) is None
    assert "no release to carry" in str(carried_here(carried))
    (tmp_path / "release.json").write_text("{")
    assert "cannot be read" in str(carried_here(carried))
    (tmp_path / "release.json").write_text(
        '{"id": "1-a", "version": "1", "python": "3.11", "platform": "p", "state_format": 1, "built_at_s": 0, '
        '"pip": "pip.whl", "wheels": []}'
    )
    assert carried_here(carried) == ReleaseHere(id="1-a", python="3.11")


def test_the_release_is_asked_first_where_one_is_carried() -> None:
    carried = CarriedRelease(here=Path("/r"), there="~/.local/share/zejzl/release")
    with_release = CLUSTER.model_copy(update={"carried_release": carried})

    assert "releases/current/venv/bin:$PATH" in ssh_command(with_release, CLUSTER.head, 1)[-1]
    assert "releases" not in ssh_command(CLUSTER, CLUSTER.head, 1)[-1]


async def test_the_head_is_who_runs_as_it_and_not_who_is_declared(
    cluster: ClusterFile, tmp_path: Path
) -> None:
    node = {"role": "head", "cluster_id": "c1", "redis_address": "rediss://127.0.0.2:1"}
    own = {"state": "up", "pid": os.getpid(), "started_at_s": psutil.Process().create_time(), "node": node}
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "node.json").write_text(json.dumps(own))

    def command(cluster: ClusterFile, machine: DeclaredMachine, size: int) -> Sequence[str]:
        there = ("env", f"ZEJZL_DATA_DIR={tmp_path / 'there'}") if machine.name == "pc2" else ()
        return (*there, *_local(cluster, machine, size))

    facts = await Gathering(cluster, command=command).facts()

    assert facts.head.machine.name == "pc2"
    assert [machine.is_head for machine in facts.machines] == [False, True]
    assert store_url(facts) == "redis://127.0.0.2:1"
    away = [found.what for found in judge(facts).findings if found.check == "member"]
    assert len(away) == 1
    assert "control store" in away[0]


async def test_what_the_start_command_sets_counts_above_what_is_exported(
    cluster: ClusterFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEJZL_FAILBACK", "auto")
    changed = cluster.model_copy(update={"worker_environment": {"ZEJZL_FAILBACK": "never"}})

    facts = await Gathering(changed, command=_local).facts()

    settings = [machine.own.settings for machine in facts.machines if machine.own is not None]
    assert [found["FAILBACK"] for found in settings] == ["auto", "never"]
    assert settings[0]["STORE_URL"] == "redis://127.0.0.1:1"
    assert "RAY_PORT" in settings[0]
    assert list(facts.here.unmounted.values()) == ["is not there"]


@pytest.mark.parametrize("answer", ["[1]", "5", '{"failed": "no such home"}', '{"node": {"processes": 1}}'])
async def test_an_answer_that_cannot_be_used_is_said_and_judged_no_further(
    cluster: ClusterFile, answer: str
) -> None:
    program = f"import sys\nfor line in sys.stdin: print('ZEJZL-CHECK:{answer}', flush=True)"

    facts = await Gathering(cluster, command=lambda *_: (sys.executable, "-c", program)).facts()

    assert facts.head.own is None
    assert facts.head.ssh_fault is not None
    assert {finding.check for finding in judge(facts).findings if finding.machine == "pc2"} <= {
        "ssh",
        "loopback",
    }
