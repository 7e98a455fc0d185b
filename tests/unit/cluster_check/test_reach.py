"""Commands on machines over ssh: what is run, and what became of it; what failed is told apart from what kept it."""

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cluster_check.healthy import CLUSTER
from zejzl_ray.cluster_check.reach import Outcome, Reach, Run
from zejzl_ray.cluster_file.model import CarriedRelease, DeclaredMachine
from zejzl_ray.errors import ClusterError

HEAD, WORKER = CLUSTER.machines
CARRYING = CLUSTER.model_copy(
    update={"carried_release": CarriedRelease(here=Path("release"), there="~/release")}
)


def _locally(argv: Sequence[str], **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run in a shell of this machine what would run over there."""
    text = shlex.split(argv[-1])[-1].rpartition("2>&1; ")[2]
    return subprocess.run(("sh", "-c", text), **options)


def _complaining(status: int, errors: str) -> Run:
    return lambda argv, **_: subprocess.CompletedProcess(argv, status, "", errors)


def _asked(text: str, limit_s: float = 10.0) -> Outcome:
    return Reach(CLUSTER, _locally).ask(WORKER, text, limit_s)


def test_every_machine_gets_its_own_command_and_says_what_became_of_it() -> None:
    found = Reach(CLUSTER, _locally).ask_all(lambda machine: f"echo {machine.name}: stopped", 10.0)

    assert [(outcome.machine, outcome.said, outcome.is_done) for outcome in found] == [
        ("mainpc", "mainpc: stopped", True),
        ("pc2", "pc2: stopped", True),
    ]


def test_a_command_that_failed_says_why_without_the_complaints_of_a_shell_without_terminal() -> None:
    outcome = _asked("echo 'bash: no job control in this shell' >&2; echo 'error: no room' >&2; exit 1")

    assert (outcome.status, outcome.said, outcome.is_done) == (1, "no room", False)
    assert _asked("exit 3").said == "status 3"


def test_a_machine_that_ssh_does_not_reach_is_no_failed_command() -> None:
    outcome = _asked("echo 'ssh: connect to host x port 22: No route to host' >&2; exit 255")

    assert outcome.status is None
    assert "there is no way to" in outcome.said
    assert outcome.remedy


def test_a_command_that_does_not_end_is_given_up() -> None:
    outcome = _asked("exec sleep 60", limit_s=0.05)

    assert (outcome.status, outcome.said) == (None, "not done within 0.05 s")
    with pytest.raises(ClusterError, match=r"^pc2: not done within 0\.05 s\. Is the machine busy"):
        Reach(CLUSTER, _locally).command(WORKER, "exec sleep 60", limit_s=0.05)


def test_a_computer_without_ssh_or_rsync_says_so() -> None:
    def nowhere(argv: Any, **_: Any) -> Any:
        raise FileNotFoundError(2, "No such file or directory")

    reach = Reach(CLUSTER, nowhere)

    assert reach.ask(HEAD, "x", 1.0).said == "cannot run ssh: No such file or directory"
    with pytest.raises(ClusterError, match=r"cannot run rsync: No such file or directory\. Install it"):
        reach.copy(WORKER, "/a", "~/b", limit_s=1)


def test_a_command_runs_as_ray_up_runs_its_own_never_asks_and_gives_what_it_wrote() -> None:
    ran: list[Sequence[str]] = []

    def run(argv: Sequence[str], **options: Any) -> "subprocess.CompletedProcess[str]":
        ran.append(argv)
        assert options["timeout"] == 5
        return subprocess.CompletedProcess(argv, 0, "said\n", "")

    cluster = CLUSTER.model_copy(update={"ssh_private_key": Path("/k")})

    assert Reach(cluster, run).command(WORKER, "echo 'a b'", limit_s=5) == "said"
    assert ran[0][0] == "ssh"
    assert ran[0][-2] == f"{CLUSTER.ssh_user}@{WORKER.address}"
    assert ran[0][-1].startswith("bash --login -i -c ")
    assert ".bashrc" in ran[0][-1]
    assert {"BatchMode=yes", "/k"} <= set(ran[0])


@pytest.mark.parametrize(
    ("status", "errors", "words"),
    [
        (255, "me@x: Permission denied (publickey).", r"^pc2: the key .* does not let .* in\. .*ssh-copy-id"),
        (1, "bash: no job control in this shell\nerror: The disk is full.\n", r"^pc2: The disk is full\.$"),
        (3, "", r"^pc2: status 3$"),
    ],
)
def test_a_failure_names_the_machine_and_what_it_said(status: int, errors: str, words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        Reach(CLUSTER, _complaining(status, errors)).command(WORKER, "x", limit_s=1)


def test_all_machines_are_done_and_every_fault_is_told() -> None:
    done: list[str] = []

    def work(machine: DeclaredMachine) -> str:
        done.append(machine.name)
        if machine is WORKER:
            raise ClusterError("pc2: broken.")
        return machine.name

    with pytest.raises(ClusterError, match=r"^pc2: broken\.$"):
        Reach(CLUSTER).on_all(work, (WORKER, HEAD))
    assert sorted(done) == ["mainpc", "pc2"]
    assert Reach(CLUSTER).on_all(work, (HEAD,)) == ["mainpc"]


def test_the_release_that_a_cluster_was_started_from_comes_before_what_else_is_called_zejzl() -> None:
    ran: list[str] = []

    def run(argv: Sequence[str], **_: Any) -> "subprocess.CompletedProcess[str]":
        ran.append(argv[-1])
        return subprocess.CompletedProcess(argv, 0, "", "")

    Reach(CARRYING, run).ask(HEAD, "zejzl node stop", 1.0)
    Reach(CLUSTER, run).ask(HEAD, "zejzl node stop", 1.0)

    assert "releases/current/venv/bin:$PATH; zejzl node stop" in ran[0]
    assert "releases" not in ran[1]
