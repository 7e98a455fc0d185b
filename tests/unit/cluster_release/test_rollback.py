"""Which release a cluster goes back to, what keeps it from that, and what is done where."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from zejzl_ray.cluster_check.reach import Reach
from zejzl_ray.cluster_file.model import CarriedRelease, ClusterFile, DeclaredMachine
from zejzl_ray.cluster_release.rollback import (
    InstalledRelease,
    MachineReleases,
    Rollback,
    plan_rollback,
    start_text,
)
from zejzl_ray.errors import ClusterError, Conflict, InvalidInput, NotFound

HEAD = DeclaredMachine(name="mainpc", address="10.0.0.1")
WORKER = DeclaredMachine(name="pc2", address="10.0.0.2")
CLUSTER = ClusterFile(
    file="cluster.yaml",
    head=HEAD,
    workers=(WORKER,),
    ssh_user="me",
    carried_release=CarriedRelease(here=Path("/here/release"), there="~/.local/share/zejzl/release"),
    head_start="ZEJZL_STORE_URL=x zejzl node start --head",
    worker_start="zejzl node start --address $RAY_HEAD_IP",
)


def _release(name: str, standing: str = "", *, state_format: int = 1, **fields: Any) -> InstalledRelease:
    return InstalledRelease(
        id=name,
        state_format=state_format,
        is_current=standing == "current",
        is_previous=standing == "previous",
        was_left=fields.pop("was_left", False),
        **fields,
    )


def _machine(*releases: InstalledRelease, machine: DeclaredMachine = HEAD, **fields: Any) -> MachineReleases:
    return MachineReleases(machine=machine, installed=releases, **fields)


UPGRADED = (_release("a", "previous"), _release("b", "current"))


def test_the_way_back_leads_to_the_release_before() -> None:
    plan = plan_rollback([_machine(*UPGRADED, is_wanted=True), _machine(*UPGRADED, machine=WORKER)])

    assert (plan.target, plan.leaving, plan.is_up) == ("a", "b", True)


def test_a_rollback_that_was_cut_off_is_completed_and_one_that_was_done_is_not_undone() -> None:
    done = (_release("a", "current"), _release("b", "previous", was_left=True))

    plan = plan_rollback([_machine(*done), _machine(*UPGRADED, machine=WORKER)])

    assert (plan.target, plan.leaving, plan.is_up) == ("a", "b", False)


def test_a_rollback_that_was_cut_off_between_the_two_links_of_the_head_is_completed() -> None:
    current_and_previous = _release("a", "current").model_copy(update={"is_previous": True})

    plan = plan_rollback([_machine(current_and_previous, _release("b", was_left=True))])

    assert (plan.target, plan.leaving) == ("a", "b")


def test_a_release_that_is_named_is_gone_to() -> None:
    done = (_release("a", "current"), _release("b", "previous", was_left=True))

    assert plan_rollback([_machine(*done)], to="b").target == "b"
    assert plan_rollback([_machine(*done)], to="b").leaving == "a"
    assert plan_rollback([_machine(*done)], to="a").leaving == "b"


def test_without_a_release_before_there_is_no_way_back() -> None:
    with pytest.raises(NotFound, match="no release before a on mainpc"):
        plan_rollback([_machine(_release("a", "current"))])
    with pytest.raises(NotFound, match="No release is installed on mainpc"):
        plan_rollback([_machine()])


def test_a_machine_that_lacks_the_release_keeps_all_from_changing() -> None:
    with pytest.raises(Conflict, match=r"a is not installed on pc2; nothing is changed"):
        plan_rollback([_machine(*UPGRADED), _machine(_release("b", "current"), machine=WORKER)])


def test_a_release_that_cannot_read_the_state_is_refused_unless_the_state_went_back_too() -> None:
    grown = [_machine(_release("a", "previous"), _release("b", "current", state_format=2))]

    with pytest.raises(Conflict, match=r"state format 1 and 2\); nothing is changed.*backup restore"):
        plan_rollback(grown)
    assert plan_rollback(grown, is_state_restored=True).target == "a"


def test_the_release_starts_with_the_settings_that_it_had() -> None:
    text = start_text(
        "A=1\nzejzl node start", {"ZEJZL_LOG_LEVEL": "a b"}, ["ZEJZL_LEASE_S", "ZEJZL_LOG_LEVEL"], "10.0.0.1"
    )

    assert text == (
        "export RAY_HEAD_IP=10.0.0.1; unset ZEJZL_LEASE_S ZEJZL_LOG_LEVEL; export ZEJZL_LOG_LEVEL='a b'; "
        "A=1 zejzl node start"
    )
    assert start_text("zejzl x", None, ["ZEJZL_LEASE_S"], "h") == "export RAY_HEAD_IP=h; zejzl x"


class _Machines:
    """Answers as ssh to the machines would."""

    def __init__(self, *, is_up: bool, said: str | None = None, head: str = "mainpc") -> None:
        self._roles = {machine: "head" if machine == head else "worker" for machine in ("mainpc", "pc2")}
        self.ran: list[tuple[str, str]] = []
        self._is_up = is_up
        self._said = said

    def __call__(self, argv: Any, **options: Any) -> "subprocess.CompletedProcess[str]":
        machine = "mainpc" if any("10.0.0.1" in word for word in argv[:-1]) else "pc2"
        command = argv[-1]
        output = ""
        if "install.py list" in command:
            rows = [release.model_dump() for release in UPGRADED]
            output = self._said if self._said is not None else f"welcome\nZEJZL-RELEASES:{json.dumps(rows)}\n"
            output += f"ZEJZL-NODE:{json.dumps([self._is_up, self._roles[machine]])}\n"
        else:
            self.ran.append((machine, command))
        return subprocess.CompletedProcess(argv, 0, output, "")


def test_workers_change_before_the_head_and_the_head_starts_before_workers() -> None:
    machines, said = _Machines(is_up=True), list[str]()

    plan = Rollback(CLUSTER, Reach(CLUSTER, machines), ["ZEJZL_LEASE_S"], said.append).run()

    assert plan.target == "a"
    steps = [
        (
            machine,
            "use" if "use a --leaving b" in command else "start" if "node start" in command else command,
        )
        for machine, command in machines.ran
    ]
    assert steps == [("pc2", "use"), ("mainpc", "use"), ("mainpc", "start"), ("pc2", "start")]
    assert said == ["all machines: b -> a", "mainpc: starting its node", "pc2: starting its node"]


def test_while_another_machine_is_the_head_nothing_is_changed() -> None:
    machines = _Machines(is_up=True, head="pc2")

    with pytest.raises(
        Conflict, match=r"pc2 is the head since its takeover; nothing is changed.*cluster handback"
    ):
        Rollback(CLUSTER, Reach(CLUSTER, machines), [], lambda _: None).run()

    assert machines.ran == []


@pytest.mark.parametrize(
    ("intent", "expected"),
    [
        ('{"is_wanted": true, "plan": {"node": {"role": "head"}}, "head_plan": null}', True),
        ('{"is_wanted": false, "plan": {"node": {"role": "head"}}}', False),
        ("damaged", False),
        (None, False),
    ],
)
def test_a_machine_tells_what_it_runs_in_its_own_shell(
    tmp_path: Path, intent: str | None, *, expected: bool
) -> None:
    data = tmp_path / ".local/share/zejzl"
    (data / "release").mkdir(parents=True)
    rows = json.dumps([release.model_dump() for release in UPGRADED])
    (data / "release/install.py").write_text(f"print('ZEJZL-RELEASES:' + {rows!r})")
    if intent is not None:
        (data / "node_intent.json").write_text(intent)

    def run(argv: Any, **_: Any) -> "subprocess.CompletedProcess[str]":
        is_asked = "install.py list" in argv[-1]
        command = argv[-1] if is_asked else "true"
        home = {**os.environ, "HOME": str(tmp_path)}
        return subprocess.run(
            ["sh", "-c", command],
            env=home,
            text=True,
            capture_output=True,
            check=False,
            start_new_session=True,  # an interactive shell would take the terminal
        )

    cluster = CLUSTER.model_copy(update={"workers": ()})
    assert Rollback(cluster, Reach(cluster, run), [], lambda _: None).run().is_up is expected


def test_nodes_that_are_down_stay_down() -> None:
    machines = _Machines(is_up=False)

    Rollback(CLUSTER, Reach(CLUSTER, machines), [], lambda _: None).run()

    assert [machine for machine, _ in machines.ran] == ["pc2", "mainpc"]


def test_a_machine_that_does_not_answer_as_it_should_is_named() -> None:
    with pytest.raises(ClusterError, match=r"(?s)mainpc does not say.*pc2 does not say"):
        Rollback(CLUSTER, Reach(CLUSTER, _Machines(is_up=True, said="?\n")), [], lambda _: None).run()


def test_a_cluster_whose_machines_have_an_environment_of_their_own_has_no_way_back() -> None:
    plain = CLUSTER.model_copy(update={"carried_release": None})

    with pytest.raises(InvalidInput, match="carries no release"):
        Rollback(plain, Reach(plain), [], lambda _: None)
