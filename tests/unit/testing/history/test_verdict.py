"""All of a history judged at once, and written down and read back."""

import json
import math
from dataclasses import replace
from pathlib import Path

from hypothesis import given

from tests.unit.testing.history.simulated import sound_histories
from zejzl_ray.testing.history import Action, Call, Journal, Outcome, judge, lost_writes, read_journals


def swap(expected: str, value: str, began_s: float, outcome: Outcome = Outcome.OK) -> Call:
    return Call("w", Action.SWAP, "r", began_s, began_s + 0.5, outcome, value, expected)


def read(value: str, began_s: float) -> Call:
    return Call("w", Action.READ, "r", began_s, began_s + 0.5, Outcome.OK, value)


def test_a_sound_history_has_no_fault() -> None:
    verdict = judge([swap("x", "a", 1), swap("a", "b", 2), read("b", 3)], {"r": "x"})

    assert verdict.faults == ()
    assert (verdict.calls, verdict.acknowledged, verdict.grants) == (3, 2, 0)
    assert verdict.outcomes == {"ok": 3}


def test_a_lost_write_is_named_though_another_took_its_place() -> None:
    verdict = judge([swap("", "a", 1), swap("a", "b", 2), swap("a", "c", 3), read("c", 4)])

    assert verdict.lost == ("r: lost: w swap r 'a' -> 'b': ok (2.000000 to 2.500000 s)",)
    assert len(verdict.unexplained) == 1


def test_a_write_may_stand_upon_one_that_nobody_knows_the_end_of() -> None:
    calls = [swap("", "a", 1, Outcome.UNKNOWN), swap("a", "b", 2), read("b", 3)]

    assert judge(calls).faults == ()


def test_values_in_a_circle_end() -> None:
    assert lost_writes([swap("b", "a", 1), swap("a", "b", 2)], "a") == []


def test_a_register_that_nobody_read_at_the_end_is_a_fault() -> None:
    verdict = judge([swap("", "a", 1), read("a", 2), swap("a", "b", 3)])

    assert verdict.faults == ("r: nobody read it after the last write had ended",)


def test_two_owners_are_a_fault() -> None:
    one = Call("a", Action.TAKE, "lead", 0, 1, Outcome.OK, lease_s=10)
    verdict = judge([one, replace(one, client="b", began_s=2, ended_s=3)])

    assert verdict.double_owners == (
        "a has lead from 1.000000 to 10.000000 s, and b has lead from 3.000000 to 12.000000 s",
    )
    assert (verdict.acknowledged, verdict.grants) == (2, 2)
    assert json.loads(json.dumps(verdict.as_json()))["double_owners"]


@given(sound_histories())
def test_sound_histories_have_no_fault_once_they_are_read_at_the_end(calls: list[Call]) -> None:
    end_s = 1.0 + max((call.ended_s for call in calls if call.ended_s < math.inf), default=0.0)
    # whoever reads at the end sees the last value that any order leads to: take the one that passes
    written = {"", *(call.value for call in calls if call.action is Action.SWAP)}

    assert any(not judge([*calls, read(value, end_s)]).faults for value in written)


def test_what_is_written_down_is_read_back(tmp_path: Path) -> None:
    times = iter(float(number) for number in range(10))
    with Journal(tmp_path / "a", "a", lambda: next(times)) as journal:
        first = journal.begin(Action.READ, "r")
        journal.end(first, Outcome.OK, value="x")
        second = journal.begin(Action.SWAP, "r", value="y", expected="x")
        journal.end(second, Outcome.UNKNOWN, error="StoreUnavailable")
        journal.begin(Action.TAKE, "lead", lease_s=3.0)
    with (tmp_path / "a").open("a") as file:
        file.write('{"ended": 3, "outc')  # killed here

    calls = read_journals([tmp_path / "a"])

    assert calls == [
        Call("a", Action.READ, "r", 0.0, 1.0, Outcome.OK, "x"),
        Call("a", Action.SWAP, "r", 2.0, 3.0, Outcome.UNKNOWN, "y", "x", error="StoreUnavailable"),
        Call("a", Action.TAKE, "lead", 4.0, lease_s=3.0),
    ]
    assert judge(calls).errors == {"StoreUnavailable": 1}
