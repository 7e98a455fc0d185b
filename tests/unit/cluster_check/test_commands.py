"""One command on all machines: what it ended with is told apart from what kept it from running."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.unit.cluster_check.healthy import CLUSTER
from zejzl_ray.cluster_check.commands import Outcome, remote_command, run_on_all
from zejzl_ray.cluster_file.model import CarriedRelease, ClusterFile, DeclaredMachine


def _shell(cluster: ClusterFile, machine: DeclaredMachine, command: str) -> Sequence[str]:
    return ("sh", "-c", command)


async def _outcome(command: str, limit_s: float = 10.0) -> Outcome:
    return (await run_on_all(CLUSTER, lambda _: command, limit_s, ssh=_shell))[0]


async def test_every_machine_gets_its_own_command_and_says_what_became_of_it() -> None:
    found = await run_on_all(CLUSTER, lambda machine: f"echo {machine.name}: stopped", 10.0, ssh=_shell)

    assert [(outcome.machine, outcome.said, outcome.is_done) for outcome in found] == [
        ("mainpc", "mainpc: stopped", True),
        ("pc2", "pc2: stopped", True),
    ]


async def test_a_command_that_failed_says_why_without_the_complaints_of_a_shell_without_terminal() -> None:
    outcome = await _outcome(
        "echo 'bash: no job control in this shell' >&2; echo 'error: no room' >&2; exit 1"
    )

    assert (outcome.status, outcome.said, outcome.is_done) == (1, "error: no room", False)
    assert (await _outcome("exit 3")).said == "no output"


async def test_a_machine_that_ssh_does_not_reach_is_no_failed_command() -> None:
    outcome = await _outcome("echo 'ssh: connect to host x port 22: No route to host' >&2; exit 255")

    assert outcome.status is None
    assert "there is no way to" in outcome.said
    assert outcome.remedy


async def test_a_command_that_does_not_end_is_given_up() -> None:
    outcome = await _outcome("exec sleep 60", limit_s=0.05)

    assert (outcome.status, outcome.said) == (None, "not done within 0.05 s")


async def test_a_computer_without_ssh_says_so() -> None:
    found = await run_on_all(CLUSTER, lambda _: "", 1.0, ssh=lambda *_: ("no-such-program",))

    assert {outcome.said for outcome in found} == {"cannot run ssh: No such file or directory"}


@pytest.mark.parametrize("word", ["BatchMode=yes", "bash --login -i -c", ".bashrc", "zejzl node stop"])
def test_the_command_runs_as_ray_up_runs_its_own_and_never_asks(word: str) -> None:
    assert word in " ".join(remote_command(CLUSTER, CLUSTER.head, "zejzl node stop"))


def test_the_release_that_a_cluster_was_started_from_comes_before_what_else_is_called_zejzl() -> None:
    carrying = CLUSTER.model_copy(
        update={"carried_release": CarriedRelease(here=Path("release"), there="~/release")}
    )

    assert (
        "releases/current/venv/bin:$PATH; zejzl node stop"
        in remote_command(carrying, CLUSTER.head, "zejzl node stop")[-1]
    )
    assert "releases" not in remote_command(CLUSTER, CLUSTER.head, "zejzl node stop")[-1]
