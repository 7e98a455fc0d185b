"""The loop of the supervisor: a node that behaves as told, and a clock that stands unless somebody waits."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cluster.nodes import a_worker
from zejzl_ray.cluster.launcher_config import LauncherConfig
from zejzl_ray.cluster.node_intent import NodeIntent, read_intent
from zejzl_ray.cluster.node_restarts import CONTROL_STORE, RAYLET, ROLE, SERVICES, Ending
from zejzl_ray.cluster.node_start import NodeRole
from zejzl_ray.cluster.supervised_plan import SupervisedPlan
from zejzl_ray.cluster.supervisor import StopAsked, Supervisor
from zejzl_ray.cluster.supervisor_record import UNASKED, SupervisorRecord, read_supervisor_record
from zejzl_ray.errors import ClusterError

ASKED = Ending(is_asked=True, process=RAYLET, status=0)


def died(process: str, status: int = -9) -> Ending:
    """What a killed process leaves to say."""
    return Ending(is_asked=False, process=process, status=status)


class FakeNode:
    """Plays a list of endings; notes what was done to it."""

    def __init__(self, *endings: Ending | None, failing_starts: int = 0) -> None:
        self.endings = list(endings)
        self.failing_starts = failing_starts
        self.looks: list[bool] = []  # whether the head is reachable, look by look; then it is
        self.done: list[str] = []
        self.failing_parts = 0
        self.standings: list[bool | None] = []

    def start(self) -> None:
        if self.failing_starts:
            self.failing_starts -= 1
            self.done.append("failed start")
            raise ClusterError("Ray did not start on pc2: no such head")
        self.done.append("start")

    def start_part(self, process: str) -> None:
        if self.failing_parts and process != SERVICES:
            self.failing_parts -= 1
            self.done.append(f"failed {process}")
            raise ClusterError("Cannot start it again: Cannot allocate memory.")
        self.done.append(process)

    def clean_up(self, grace_s: float = 8.0) -> None:
        self.done.append("clean up")

    def next_ending(self, limit_s: float) -> Ending | None:
        if not self.endings:
            raise StopAsked
        return self.endings.pop(0)

    def is_member(self) -> bool | None:
        return self.standings.pop(0)

    def is_head_reachable(self) -> bool:
        return self.looks.pop(0) if self.looks else True


class FakeMark:
    """The mark of a stop; is there after so many looks."""

    def __init__(self, set_after_looks: int | None = None, failing_clears: int = 0) -> None:
        self.looks_left = set_after_looks
        self.failing_clears = failing_clears
        self.done: list[str] = []

    def is_set(self) -> bool:
        if self.looks_left is None:
            return False
        self.looks_left -= 1
        return self.looks_left < 0

    def set(self) -> bool:
        self.done.append("set")
        return True

    def clear(self) -> bool:
        self.done.append("clear")
        self.failing_clears -= 1
        return self.failing_clears < 0


class Bench:
    """A supervisor over a fake node."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.waits_s: list[float] = []
        self.seen: list[SupervisorRecord | None] = []
        self.mark = FakeMark()
        self.plan = SupervisedPlan(node=a_worker())
        self.want()

    def want(self) -> None:
        NodeIntent(plan=self.plan, is_wanted=True).write(self.data_dir)

    def run(
        self,
        node: FakeNode,
        *,
        is_patient: bool = False,
        next_plans: Iterator[SupervisedPlan | None] | None = None,
        doubts: Iterator[str] | None = None,
        doubt_limit_s: float = 0.0,
    ) -> Ending:
        def sleep(wait_s: float) -> None:
            self.waits_s.append(wait_s)
            self.seen.append(read_supervisor_record(self.data_dir))

        clock = iter(range(1000))
        supervisor = Supervisor(
            self.plan,
            self.data_dir,
            node,
            is_patient=is_patient,
            sleep=sleep,
            now_s=lambda: float(next(clock)),
            next_plan=lambda: next(next_plans, None) if next_plans is not None else None,
            mark=self.mark,
            doubt=lambda: next(doubts, "") if doubts is not None else "",
            doubt_limit_s=doubt_limit_s,
        )
        return supervisor.run()

    @property
    def record(self) -> SupervisorRecord:
        record = read_supervisor_record(self.data_dir)
        assert record is not None
        return record

    @property
    def is_wanted(self) -> bool:
        intent = read_intent(self.data_dir)
        return intent is not None and intent.is_wanted


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield Bench(tmp_path)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_node_that_was_asked_to_stop_is_cleaned_up_and_stays_down(bench: Bench) -> None:
    node = FakeNode(None, ASKED)

    assert bench.run(node) == ASKED
    assert node.done == ["start", SERVICES, "clean up"]
    assert bench.record.state == "stopped"
    assert not bench.is_wanted


def test_a_signal_ends_the_node_and_it_is_still_wanted_after_the_next_boot(bench: Bench) -> None:
    assert bench.run(FakeNode()) == Ending(is_asked=True, process="", status=0)

    assert bench.record.state == "stopped"
    assert bench.is_wanted


def test_a_dead_raylet_brings_the_whole_node_up_again(bench: Bench) -> None:
    node = FakeNode(died(RAYLET), ASKED)

    bench.run(node)

    assert node.done == ["start", SERVICES, "clean up", "start", SERVICES, "clean up"]
    assert bench.record.restarts == 1


def test_a_dead_control_store_is_started_alone_when_its_state_is_kept(bench: Bench) -> None:
    kept = {"role": NodeRole.HEAD, "redis_address": "rediss://10.0.0.1:6380", "redis_namespace": "c1-1"}
    bench.plan = bench.plan.model_copy(update={"node": bench.plan.node.model_copy(update=kept)})
    node = FakeNode(died(CONTROL_STORE), None, died(CONTROL_STORE), None, ASKED)

    bench.run(node)

    assert node.done == ["start", SERVICES, CONTROL_STORE, CONTROL_STORE, "clean up"]
    assert bench.waits_s == [0, 1]


def test_a_control_store_that_died_together_with_the_raylet_is_not_started_alone(bench: Bench) -> None:
    kept = {"role": NodeRole.HEAD, "redis_address": "rediss://10.0.0.1:6380", "redis_namespace": "c1-1"}
    bench.plan = bench.plan.model_copy(update={"node": bench.plan.node.model_copy(update=kept)})
    together = FakeNode(died(CONTROL_STORE), died(RAYLET), ASKED)
    apart = FakeNode(died(CONTROL_STORE), died(SERVICES, 1), ASKED)

    bench.run(together)
    bench.run(apart)

    assert together.done == ["start", SERVICES, "clean up", "start", SERVICES, "clean up"]
    assert apart.done == ["start", SERVICES, CONTROL_STORE, SERVICES, "clean up"]


def test_services_that_could_not_start_are_tried_again_after_longer_waits(bench: Bench) -> None:
    node = FakeNode(*(died(SERVICES, 1) for _ in range(4)), ASKED)

    bench.run(node)

    assert node.done.count(SERVICES) == 5
    assert bench.waits_s == [0, 1, 2, 4]


def test_a_first_start_that_fails_is_the_callers_to_mend(bench: Bench) -> None:
    node = FakeNode(failing_starts=1)

    with pytest.raises(ClusterError, match="no such head"):
        bench.run(node)

    assert node.done == ["failed start", "clean up"]
    assert bench.record.state == "failed"
    assert "no such head" in bench.record.note


def test_a_patient_one_tries_until_it_works_and_says_why_it_did_not(bench: Bench) -> None:
    node = FakeNode(ASKED, failing_starts=3)

    bench.run(node, is_patient=True)

    assert node.done == [*["failed start", "clean up"] * 3, "start", SERVICES, "clean up"]
    assert bench.waits_s == [0, 1, 2]
    assert {(record.state, record.note) for record in bench.seen if record} == {
        ("restarting", "Ray did not start on pc2: no such head")
    }


def test_a_machine_whose_head_is_away_waits_for_it_without_giving_up(bench: Bench) -> None:
    node = FakeNode(died(RAYLET, 1), ASKED)
    node.looks = [False] * 500

    bench.run(node)

    assert node.done == ["start", SERVICES, "clean up", "start", SERVICES, "clean up"]
    assert len(bench.waits_s) == 501
    assert max(bench.waits_s) == 1.0
    last = bench.seen[-1]
    assert last is not None
    assert (last.state, last.note) == ("waiting", "the head at 10.0.0.1:6379 does not answer")


def test_a_machine_that_the_head_has_given_up_joins_again(bench: Bench) -> None:
    node = FakeNode(*[None] * 20, ASKED)
    node.standings = [None, False]
    node.looks = [True, *[False] * 8]

    bench.run(node)

    assert node.done == ["start", SERVICES, "clean up", "start", SERVICES, "clean up"]
    assert node.standings == []
    assert bench.record.restarts == 1


def test_a_machine_that_is_still_a_member_after_a_cut_goes_on(bench: Bench) -> None:
    node = FakeNode(*[None] * 20, ASKED)
    node.standings = [True]
    node.looks = [True, *[False] * 8]

    bench.run(node)

    assert node.done == ["start", SERVICES, "clean up"]


def test_the_workers_are_told_of_a_stop_for_good_only(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr("zejzl_ray.cluster.worker_stop.stop_worker", told.append)
    launcher = LauncherConfig(head_ip="h", worker_ips=("w",))
    bench.plan = bench.plan.model_copy(update={"launcher": launcher})
    bench.want()

    bench.run(FakeNode())
    assert told == []
    bench.run(FakeNode(ASKED))
    assert len(told) == 1


def test_a_machine_on_its_way_down_is_no_reason_to_stay_down(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zejzl_ray.cluster.supervisor.is_machine_shutting_down", lambda: True)

    bench.run(FakeNode(ASKED))

    assert bench.is_wanted


def test_a_machine_that_becomes_the_head_ends_its_node_and_writes_down_what_it_runs_next(
    bench: Bench,
) -> None:
    node = FakeNode(None, None)
    head = bench.plan.model_copy(
        update={
            "node": bench.plan.node.model_copy(
                update={"role": NodeRole.HEAD, "redis_address": "rediss://10.0.0.2:6380"}
            )
        }
    )

    ending = bench.run(node, next_plans=iter([None, None, head]))

    assert ending.process == ROLE
    assert node.done == ["start", SERVICES, "clean up"]
    assert (bench.record.state, bench.record.note) == ("restarting", "this machine is the head from now on")
    intent = read_intent(bench.data_dir)
    assert intent is not None
    assert intent.is_wanted
    assert intent.plan.node.role is NodeRole.HEAD
    assert intent.plan.node.redis_namespace is not None


def test_a_worker_that_waits_for_a_lost_head_learns_of_the_next_one(bench: Bench) -> None:
    node = FakeNode()
    node.looks = [False] * 20
    other = bench.plan.model_copy(
        update={"node": bench.plan.node.model_copy(update={"head_address": "10.0.0.3:6379"})}
    )

    ending = bench.run(node, is_patient=True, next_plans=iter([None, None, other]))

    assert ending.reason == "this machine is a worker of 10.0.0.3:6379 from now on"
    assert node.done == ["clean up"]


def test_a_worker_that_waits_for_its_head_leaves_when_the_cluster_was_stopped(bench: Bench) -> None:
    bench.mark = FakeMark(set_after_looks=2)
    node = FakeNode(died(RAYLET, 1))
    node.looks = [False] * 9

    ending = bench.run(node)

    assert (ending.is_asked, str(ending)) == (True, "the cluster was stopped")
    assert node.done == ["start", SERVICES, "clean up", "clean up"]
    assert bench.record.state == "stopped"
    assert not bench.is_wanted
    assert bench.mark.done == []


def test_a_worker_that_still_runs_leaves_too_once_its_head_is_gone(bench: Bench) -> None:
    bench.mark = FakeMark(set_after_looks=0)
    node = FakeNode(*[None] * 9)
    node.looks = [True, True, False]

    bench.run(node)

    assert node.done == ["start", SERVICES, "clean up"]
    assert not bench.is_wanted


def test_a_mark_of_an_earlier_stop_is_no_reason_to_leave_a_head_that_answers(bench: Bench) -> None:
    bench.mark = FakeMark(set_after_looks=0)

    bench.run(FakeNode(*[None] * 9))

    assert bench.is_wanted


def test_the_head_takes_the_mark_away_and_sets_it_when_the_stop_is_meant_to_last(bench: Bench) -> None:
    head = bench.plan.node.model_copy(update={"role": NodeRole.HEAD})
    bench.plan = bench.plan.model_copy(update={"node": head})
    bench.want()

    bench.run(FakeNode())
    assert bench.mark.done == ["clear"]
    bench.run(FakeNode(ASKED))
    assert bench.mark.done == ["clear", "clear", "set"]


DOUBT = f"{UNASKED}: Redis at 10.0.0.2:6380 does not answer"


def test_a_head_that_could_not_ask_whether_it_is_still_it_waits_and_starts_as_soon_as_somebody_answers(
    bench: Bench,
) -> None:
    bench.run(FakeNode(), is_patient=True, doubts=iter([DOUBT, DOUBT]), doubt_limit_s=50)

    waiting = [record for record in bench.seen if record is not None]
    assert [(record.state, record.note, record.is_unasked) for record in waiting] == [
        ("waiting", DOUBT, True),
        ("waiting", DOUBT, True),
    ]
    assert not bench.record.is_unasked


def test_a_head_that_nobody_answers_starts_after_its_time_and_says_so_until_somebody_does(
    bench: Bench,
) -> None:
    node = FakeNode(None, None)
    notes: list[tuple[str, str]] = []
    look = node.next_ending

    def next_ending(limit_s: float) -> Ending | None:
        notes.append((bench.record.state, bench.record.note))
        return look(limit_s)

    node.next_ending = next_ending  # type: ignore[method-assign]  # to see the record while the node is up
    bench.run(node, is_patient=True, doubts=iter([DOUBT] * 6), doubt_limit_s=3)

    assert node.done[:2] == ["start", SERVICES]
    assert notes[0] == ("up", DOUBT)
    assert notes[-1] == ("up", "")


def test_a_head_that_learns_while_it_waits_that_it_is_none_starts_nothing(bench: Bench) -> None:
    node = FakeNode()
    other = bench.plan.model_copy(
        update={"node": bench.plan.node.model_copy(update={"head_address": "10.0.0.3:6379"})}
    )

    ending = bench.run(
        node, is_patient=True, next_plans=iter([None, other]), doubts=iter([DOUBT] * 9), doubt_limit_s=50
    )

    assert ending.process == ROLE
    assert "start" not in node.done


def test_a_mark_that_could_not_be_taken_away_is_tried_again_until_it_is_gone(bench: Bench) -> None:
    bench.plan = bench.plan.model_copy(
        update={"node": bench.plan.node.model_copy(update={"role": NodeRole.HEAD})}
    )
    bench.want()
    bench.mark = FakeMark(failing_clears=3)

    bench.run(FakeNode(*[None] * 9))

    assert bench.mark.done == ["clear"] * 4


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def write(path: Path, text: str) -> None:
        raise ClusterError(f"Cannot write the file {path}: No space left on device.")

    monkeypatch.setattr("zejzl_ray.cluster.supervisor_record.write_private_file", write)
    monkeypatch.setattr("zejzl_ray.cluster.node_intent.write_private_file", write)
    return monkeypatch


def test_a_full_disk_ends_no_node_that_runs(bench: Bench, full_disk: pytest.MonkeyPatch) -> None:
    bench.plan = bench.plan.model_copy(
        update={"node": bench.plan.node.model_copy(update={"redis_address": "rediss://10.0.0.1:6380"})}
    )
    node = FakeNode(died(CONTROL_STORE), None, died(RAYLET), None, None)

    ending = bench.run(node)

    assert ending == Ending(is_asked=True, process="", status=0)
    assert node.done == [
        "start", SERVICES, CONTROL_STORE, "clean up", "start", SERVICES, "clean up",
    ]  # fmt: skip


def test_a_stop_on_a_full_disk_stops_all_the_same(bench: Bench, full_disk: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    full_disk.setattr("zejzl_ray.cluster.worker_stop.stop_worker", told.append)
    launcher = LauncherConfig(head_ip="h", worker_ips=("w",))
    bench.plan = bench.plan.model_copy(update={"launcher": launcher})
    node = FakeNode(ASKED)

    assert bench.run(node) == ASKED
    assert node.done == ["start", SERVICES, "clean up"]
    assert len(told) == 1


def test_a_role_that_changes_while_the_disk_is_full_is_taken_once_there_is_room(
    bench: Bench, full_disk: pytest.MonkeyPatch
) -> None:
    other = bench.plan.model_copy(
        update={"node": bench.plan.node.model_copy(update={"head_address": "10.0.0.3:6379"})}
    )
    node = FakeNode(None)
    done_when_waiting: list[list[str]] = []

    class Waits(list[float]):
        def append(self, wait_s: float) -> None:
            super().append(wait_s)
            done_when_waiting.append(list(node.done))
            if len(self) == 6:
                full_disk.undo()

    bench.waits_s = Waits()

    ending = bench.run(node, next_plans=iter([None, other]))

    assert ending.process == ROLE
    assert bench.waits_s == [1, 2, 4, 8, 10, 10]
    assert done_when_waiting[0] == ["start", SERVICES, "clean up"]  # nothing of it runs meanwhile
    intent = read_intent(bench.data_dir)
    assert intent is not None
    assert intent.plan == other


def test_a_part_that_cannot_be_started_is_tried_again(bench: Bench) -> None:
    bench.plan = bench.plan.model_copy(
        update={"node": bench.plan.node.model_copy(update={"redis_address": "rediss://10.0.0.1:6380"})}
    )
    node = FakeNode(died(CONTROL_STORE), None, None)
    node.failing_parts = 2

    bench.run(node)

    failed = f"failed {CONTROL_STORE}"
    assert node.done == ["start", SERVICES, failed, failed, CONTROL_STORE, "clean up"]
    assert bench.waits_s == [0, 1, 2]


def test_a_role_that_cannot_be_looked_up_is_no_reason_to_end(bench: Bench) -> None:
    def unknown() -> Iterator[SupervisedPlan | None]:
        yield None
        raise ClusterError("Cannot understand node_intent.json.")

    node = FakeNode(None, None, ASKED)

    assert bench.run(node, next_plans=unknown()) == ASKED
    assert node.done == ["start", SERVICES, "clean up"]


def test_a_supervisor_says_that_it_is_stopping_before_that_takes_long(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def note(*_: object) -> None:
        seen.append(bench.record.state)

    node = FakeNode(ASKED)
    monkeypatch.setattr("zejzl_ray.cluster.worker_stop.stop_worker", note)
    monkeypatch.setattr(node, "clean_up", note)
    launcher = LauncherConfig(head_ip="h", worker_ips=("w",))
    bench.plan = bench.plan.model_copy(update={"launcher": launcher})

    bench.run(node)

    assert seen == ["stopping", "stopping"]
    assert bench.record.state == "stopped"
