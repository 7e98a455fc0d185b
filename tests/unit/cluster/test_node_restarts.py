"""What follows when a part of a node has ended, as data."""

import pytest

from zejzl_ray.cluster.node_restarts import (
    CONTROL_STORE,
    DASHBOARD,
    RAYLET,
    SERVICES,
    START,
    BackOff,
    Decision,
    Ending,
    HeadWatch,
    NodeRestarts,
    Step,
)


def _ended(process: str, status: int = -9) -> Ending:
    return Ending(is_asked=False, process=process, status=status)


def test_a_stop_that_somebody_asked_for_is_the_end() -> None:
    restarts = NodeRestarts(keeps_state=True)

    assert restarts.after(Ending(is_asked=True, process=RAYLET, status=0), 10.0) == Decision(Step.STOP)


def test_a_control_store_whose_state_is_kept_is_started_again_alone_and_at_once() -> None:
    restarts = NodeRestarts(keeps_state=True)

    assert restarts.after(_ended(CONTROL_STORE), 10.0) == Decision(Step.RESTART_PART, 0.0)


def test_a_control_store_whose_state_died_with_it_takes_the_node_along() -> None:
    restarts = NodeRestarts(keeps_state=False)

    assert restarts.after(_ended(CONTROL_STORE), 10.0) == Decision(Step.RESTART_NODE, 0.0)


@pytest.mark.parametrize("process", [SERVICES, DASHBOARD])
def test_what_nothing_else_hangs_on_is_started_again_alone(process: str) -> None:
    assert NodeRestarts(keeps_state=False).after(_ended(process, 1), 10.0).step is Step.RESTART_PART


def test_a_raylet_takes_the_node_along() -> None:
    assert NodeRestarts(keeps_state=True).after(_ended(RAYLET), 10.0) == Decision(Step.RESTART_NODE, 0.0)


def test_waits_grow_to_the_longest_and_it_never_gives_up() -> None:
    restarts = NodeRestarts(keeps_state=True, backoff=BackOff(initial_s=1, max_s=10, window_s=120))

    decisions = [restarts.after(_ended(RAYLET), now_s) for now_s in range(100, 140, 2)]

    assert [decision.wait_s for decision in decisions[:7]] == [0, 1, 2, 4, 8, 10, 10]
    assert {decision.wait_s for decision in decisions[7:]} == {10}
    assert {decision.step for decision in decisions} == {Step.RESTART_NODE}


def test_a_start_that_fails_counts_with_the_raylet_that_ended_before() -> None:
    restarts = NodeRestarts(keeps_state=True)
    restarts.after(_ended(RAYLET), 10.0)

    assert restarts.after(_ended(START, 1), 11.0) == Decision(Step.RESTART_NODE, 1.0)


def test_what_ended_alone_counts_for_itself() -> None:
    restarts = NodeRestarts(keeps_state=True)
    for now_s in range(5):
        restarts.after(_ended(SERVICES, 1), float(now_s))

    assert restarts.after(_ended(CONTROL_STORE), 5.0).wait_s == 0.0
    assert restarts.after(_ended(RAYLET), 5.0).wait_s == 0.0


def test_after_a_quiet_while_it_begins_anew() -> None:
    restarts = NodeRestarts(keeps_state=True, backoff=BackOff(window_s=120))
    for now_s in (0.0, 1.0, 2.0):
        restarts.after(_ended(RAYLET), now_s)

    assert restarts.after(_ended(RAYLET), 122.5).wait_s == 0.0
    assert restarts.after(_ended(RAYLET), 123.0).wait_s == 1.0


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (_ended(RAYLET), "raylet ended with -9"),
        (Ending(is_asked=False, process=START, status=1, reason="no such head"), "no such head"),
        (Ending(is_asked=True, process="", status=0), ""),
    ],
)
def test_an_ending_is_one_line(ending: Ending, said: str) -> None:
    assert str(ending) == said


def test_a_head_that_is_out_of_reach_for_a_moment_is_not_asked() -> None:
    watch = HeadWatch(lost_after_s=4)

    seen = [watch.saw(float(now_s), is_reachable=now_s not in (2, 3)) for now_s in range(10)]

    assert not any(seen)


def test_after_a_cut_the_head_is_asked_until_it_answers() -> None:
    watch = HeadWatch(lost_after_s=4)
    watch.saw(0.0, is_reachable=True)

    assert not watch.saw(9.0, is_reachable=False)
    assert watch.saw(10.0, is_reachable=True)
    assert watch.saw(11.0, is_reachable=True)
    watch.answered()
    assert not watch.saw(12.0, is_reachable=True)


def test_a_machine_that_stood_still_itself_asks_too() -> None:
    watch = HeadWatch(lost_after_s=4)
    watch.saw(0.0, is_reachable=True)

    assert watch.saw(30.0, is_reachable=True)
