"""What a machine's node is meant to do, and which state its control store takes up."""

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.unit.cluster.nodes import a_head
from zejzl_ray.cluster import node_stand_by
from zejzl_ray.cluster.launcher_config import LauncherConfig
from zejzl_ray.cluster.node_intent import (
    FILE_NAME,
    NodeIntent,
    change_role,
    give_up_intent,
    intended,
    read_intent,
    with_namespace,
)
from zejzl_ray.cluster.node_lock import NodeLock, take_node_lock
from zejzl_ray.cluster.node_stand_by import GRACE_S, wait_for_turn
from zejzl_ray.cluster.node_start import NodeRole, NodeStart
from zejzl_ray.cluster.supervised_plan import SupervisedPlan
from zejzl_ray.cluster.supervisor_record import SupervisorRecord
from zejzl_ray.errors import ClusterError


def _head(**changes: Any) -> NodeStart:
    return a_head(**{"cpus": 4, "redis_address": "rediss://10.0.0.1:6380", **changes})


def _intent(node: NodeStart, *, is_wanted: bool = True) -> NodeIntent:
    return NodeIntent(plan=SupervisedPlan(node=node), is_wanted=is_wanted)


def test_what_is_wanted_is_read_as_it_was_written_and_by_nobody_else(tmp_path: Path) -> None:
    intent = _intent(_head())

    intent.write(tmp_path)

    assert read_intent(tmp_path) == intent
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_stop_on_purpose_is_remembered_with_what_ran(tmp_path: Path) -> None:
    _intent(_head()).write(tmp_path)

    give_up_intent(tmp_path)
    give_up_intent(tmp_path)

    assert read_intent(tmp_path) == _intent(_head(), is_wanted=False)


def test_where_nothing_was_started_there_is_nothing_to_give_up(tmp_path: Path) -> None:
    give_up_intent(tmp_path)

    assert read_intent(tmp_path) is None


def test_what_a_newer_release_has_added_is_ignored(tmp_path: Path) -> None:
    intent = NodeIntent(
        plan=SupervisedPlan(node=_head(), launcher=LauncherConfig(head_ip="10.0.0.1")), is_wanted=True
    )
    added: dict[str, Any] = json.loads(intent.model_dump_json())
    places = (
        added,
        added["plan"],
        added["plan"]["node"],
        added["plan"]["node"]["ports"],
        added["plan"]["launcher"],
    )
    for place in places:
        place["new"] = {"of": "a newer release"}
    (tmp_path / FILE_NAME).write_text(json.dumps(added))

    assert read_intent(tmp_path) == intent
    give_up_intent(tmp_path)
    assert read_intent(tmp_path) == intent.model_copy(update={"is_wanted": False})


@pytest.mark.parametrize("text", ["", "{}", '{"is_wanted": true}'])
def test_what_is_not_understood_is_an_error_and_never_a_node_that_nobody_wants(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / FILE_NAME).write_text(text)

    for use in (read_intent, give_up_intent, wait_for_turn):
        with pytest.raises(ClusterError, match=f"Cannot understand .*{FILE_NAME}"):
            use(tmp_path)


def test_a_node_that_was_stopped_while_its_role_changed_stays_down(tmp_path: Path) -> None:
    _intent(_head(), is_wanted=False).write(tmp_path)

    change_role(tmp_path, SupervisedPlan(node=_head(role=NodeRole.WORKER, redis_address=None)))

    changed = read_intent(tmp_path)
    assert changed is not None
    assert (changed.plan.node.role, changed.is_wanted) == (NodeRole.WORKER, False)


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")

    with pytest.raises(ClusterError, match="Cannot write"):
        _intent(_head()).write(file)
    with pytest.raises(ClusterError, match="Cannot read"):
        read_intent(file)


def test_an_intended_start_begins_with_an_empty_state_of_its_own() -> None:
    first = with_namespace(_head(), None)
    stopped = _intent(first, is_wanted=False)
    second = with_namespace(_head(), stopped)

    assert first.redis_namespace is not None
    assert second.redis_namespace is not None
    assert first.redis_namespace.startswith("c1-")
    assert first.redis_namespace != second.redis_namespace
    assert first.fingerprint == second.fingerprint  # so a repeated start is the same node


def test_a_start_after_a_crash_takes_up_the_state_that_was_left() -> None:
    crashed = _intent(with_namespace(_head(), None))

    assert with_namespace(_head(), crashed) == crashed.plan.node


def test_a_node_of_another_plan_does_not_take_up_the_state_of_the_one_before() -> None:
    crashed = _intent(with_namespace(_head(), None))

    assert with_namespace(_head(cpus=8), crashed).redis_namespace != crashed.plan.node.redis_namespace


def test_without_redis_there_is_no_place_to_name() -> None:
    assert with_namespace(_head(redis_address=None), None).redis_namespace is None


class Waiting:
    """A clock that goes on by what is slept, and does something on the way."""

    def __init__(self, **events: Any) -> None:
        self.at_s = 0.0
        self.events = dict(events)

    def sleep(self, wait_s: float) -> None:
        self.at_s += wait_s
        event = self.events.pop(f"at_{self.at_s:g}_s", None)
        if event is not None:
            event()

    def now_s(self) -> float:
        return self.at_s


def _attended(data_dir: Path) -> None:
    me = psutil.Process()
    SupervisorRecord(node=_head(), pid=me.pid, started_at_s=me.create_time(), state="up").write(data_dir)


def test_after_a_reboot_the_node_that_is_wanted_is_run_at_once(tmp_path: Path) -> None:
    _intent(_head()).write(tmp_path)
    SupervisorRecord(node=_head(), pid=2**22 - 1, started_at_s=1.0, state="up").write(tmp_path)
    waiting = Waiting()

    with wait_for_turn(tmp_path, waiting.sleep, waiting.now_s):
        assert take_node_lock(tmp_path) is None
    assert waiting.at_s == 0.0


def test_whoever_starts_or_runs_the_node_is_not_taken_over_even_before_it_says_so(tmp_path: Path) -> None:
    _intent(_head()).write(tmp_path)  # no record yet: the start has only written down what it wants
    starting = take_node_lock(tmp_path)
    assert starting is not None
    waiting = Waiting(at_60_s=starting.close)

    wait_for_turn(tmp_path, waiting.sleep, waiting.now_s).close()

    assert waiting.at_s == 60.0 + GRACE_S


def test_a_stop_in_the_very_moment_of_a_takeover_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _intent(_head()).write(tmp_path)

    def stop_first(data_dir: Path) -> NodeLock | None:
        give_up_intent(data_dir)
        return take_node_lock(data_dir)

    def start_again() -> None:
        monkeypatch.undo()
        _intent(_head()).write(tmp_path)

    monkeypatch.setattr(node_stand_by, "take_node_lock", stop_first)
    waiting = Waiting(at_30_s=start_again)

    wait_for_turn(tmp_path, waiting.sleep, waiting.now_s).close()

    assert waiting.at_s == 30.0 + GRACE_S


def test_a_node_that_was_stopped_on_purpose_is_left_alone_until_somebody_starts_it(tmp_path: Path) -> None:
    _intent(_head(), is_wanted=False).write(tmp_path)
    waiting = Waiting(at_30_s=lambda: _intent(_head()).write(tmp_path))

    wait_for_turn(tmp_path, waiting.sleep, waiting.now_s).close()

    assert waiting.at_s == 30.0 + GRACE_S


def test_a_supervisor_that_dies_is_followed_after_a_while_without_one(tmp_path: Path) -> None:
    _intent(_head()).write(tmp_path)
    _attended(tmp_path)
    record = tmp_path / "node.json"
    waiting = Waiting(
        at_10_s=record.unlink, at_20_s=lambda: _attended(tmp_path), at_40_s=record.unlink
    )  # the first gap is a start that replaces the node

    wait_for_turn(tmp_path, waiting.sleep, waiting.now_s).close()

    assert waiting.at_s == 40.0 + GRACE_S


def test_a_head_that_is_started_as_a_worker_keeps_what_it_ran_for_a_handback() -> None:
    head = SupervisedPlan(node=_head())
    worker = SupervisedPlan(node=_head(role=NodeRole.WORKER, redis_address=None))
    stand_in = head.model_copy(update={"overrides": {"ZEJZL_HOME_WAIT_S": "0"}})
    first = intended(worker, NodeIntent(plan=head, is_wanted=False))

    assert first.head_plan == head
    assert intended(worker, first).head_plan == head
    assert intended(worker, NodeIntent(plan=stand_in, is_wanted=True)).head_plan is None
    assert intended(head, first).head_plan is None
    assert intended(worker, None) == NodeIntent(plan=worker, is_wanted=True)
