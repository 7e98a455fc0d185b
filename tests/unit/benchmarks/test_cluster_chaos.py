"""What is made of a run of random kills: times without service, the share that was served, and what missed its bar."""

import json
from dataclasses import replace

from benchmarks.cluster_chaos import failures, table
from tests.hosts.chaos import Chaos, Planted, answer_times, served_seconds, with_gaps
from tests.hosts.faults import KINDS
from zejzl_ray.testing.history import Action, Call, Outcome, judge


def fault(kind: str, at_s: float, without_service_s: float = 0.0) -> Planted:
    return Planted(kind, "somebody", 10.0, at_s, 60.0, without_service_s)


def a_run(served_s: int = 100, *, is_lost: bool = False) -> Chaos:
    calls = [
        Call("m1", Action.SWAP, "r", 0.0, 1.0, Outcome.OK, "a"),
        Call("m1", Action.READ, "r", 2.0, 3.0, Outcome.OK, "" if is_lost else "a"),
    ]
    planted = (fault("gcs", 0.0, 0.5), fault("gcs", 60.0, 1.5), fault("host", 120.0, 9.0))
    return Chaos(7, 180.0, planted, 100, served_s, judge(calls))


def test_answers_are_those_of_the_heads_side_and_a_refusal_is_one() -> None:
    ok = Call("m1.5", Action.READ, "r", 0.0, 1.0, Outcome.OK)
    calls = [ok, replace(ok, ended_s=0.5, outcome=Outcome.REFUSED), replace(ok, outcome=Outcome.UNKNOWN)]

    assert answer_times([*calls, replace(ok, client="p1.5")]) == [0.5, 1.0]


def test_the_time_without_service_is_the_longest_until_the_next_fault() -> None:
    planted = [fault("gcs", 10.0), fault("redis", 20.0)]

    found = with_gaps(planted, [9.0, 10.5, 13.5, 19.0, 26.0, 29.0], 30.0)

    assert [each.without_service_s for each in found] == [5.5, 6.0]


def test_seconds_outside_of_windows_count() -> None:
    answers = [number + 0.5 for number in range(40) if number not in (3, 12)]

    # the window of the fault is from 10 to 20 s, so the 12th second does not count
    assert served_seconds([fault("gcs", 10.0)], answers, 0.0, 40.0) == (30, 29)
    assert served_seconds([fault("host", 0.0)], answers, 0.0, 10.0) == (0, 0)
    # it had healed by the 11th second, so the 12th one counts
    assert served_seconds([replace(fault("gcs", 10.0), healthy_s=1.0)], answers, 0.0, 40.0) == (39, 37)


def test_a_run_in_which_all_is_well_misses_nothing() -> None:
    assert failures(a_run(), 3.0) == []


def test_what_is_lost_or_not_served_is_missed_and_a_long_run_counts_its_faults() -> None:
    assert len(failures(a_run(is_lost=True), 3.0)) == 2
    assert failures(a_run(50), 3.0) == []
    assert "served for 50.0% of the time outside fault windows, not 90%" in failures(a_run(50), 30.0)
    missed = failures(a_run(), 30.0)
    assert "2 faults of the kind gcs, not 20" in missed
    assert missed[-1] == "1 writes acknowledged, not 10000"
    assert len(missed) == len(KINDS) + 1


def test_the_table_has_median_and_worst_of_each_kind() -> None:
    shown = table(a_run())

    assert "seed 7" in shown
    assert "served in 100 of 100 s outside fault windows: 100.0%" in shown
    assert "gcs           2     10 s                      1.0 s    1.5 s" in shown
    assert json.loads(json.dumps(a_run().as_json()))["counts"]["host"] == 1
