"""The search for an order: planted faults are refused, sound histories pass, and it agrees with trying everything."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.testing.history.simulated import is_linearisable, sound_histories
from zejzl_ray.testing.history import Action, Call, Outcome, check_register


def read(client: str, value: str, began_s: float, ended_s: float) -> Call:
    return Call(client, Action.READ, "r", began_s, ended_s, Outcome.OK, value)


def swap(expected: str, value: str, began_s: float, ended_s: float, outcome: Outcome = Outcome.OK) -> Call:
    return Call("w", Action.SWAP, "r", began_s, ended_s, outcome, value, expected)


def test_calls_one_after_the_other_are_in_order() -> None:
    calls = [
        swap("", "a", 0, 1),
        read("c", "a", 2, 3),
        swap("", "b", 4, 5, Outcome.REFUSED),
        swap("a", "c", 6, 7),
        read("c", "c", 8, 9),
    ]

    assert check_register("r", calls) is None


def test_an_acknowledged_write_that_is_lost_is_found() -> None:
    found = check_register("r", [swap("", "a", 0, 1), read("c", "", 2, 3)])

    assert found is not None
    assert found.is_proven
    assert found.text == (
        "r: no order explains what 2 calls were told; after 1 of them, with 'a' in the register, there is no place "
        "for: c read r '': ok (2.000000 to 3.000000 s)"
    )


def test_a_stale_read_is_found_though_the_write_is_there_later() -> None:
    calls = [swap("", "a", 0, 1), read("c", "", 2, 3), read("c", "a", 4, 5)]

    assert check_register("r", calls) is not None


def test_a_write_that_was_done_twice_is_found() -> None:
    calls = [
        swap("", "a", 0, 1),
        swap("a", "b", 2, 3),
        read("c", "a", 4, 5),  # the first one once more
    ]

    assert check_register("r", calls) is not None


def test_two_that_both_changed_the_same_value_are_found() -> None:
    calls = [swap("", "a", 0, 3), swap("", "b", 1, 4)]

    assert check_register("r", calls) is not None


def test_a_refusal_without_a_reason_is_found() -> None:
    assert check_register("r", [swap("", "a", 0, 1, Outcome.REFUSED)]) is not None


def test_what_overlaps_may_have_happened_in_either_order() -> None:
    for seen in ("", "a"):
        assert check_register("r", [swap("", "a", 0, 3), read("c", seen, 1, 2)]) is None


def test_what_is_unknown_may_have_been_done_later_or_never() -> None:
    given_up = swap("", "a", 0, 1, Outcome.UNKNOWN)

    assert check_register("r", [given_up, read("c", "", 2, 3), read("c", "a", 4, 5)]) is None
    assert check_register("r", [given_up, read("c", "", 2, 3)]) is None
    assert check_register("r", [given_up, read("c", "a", 2, 3), read("c", "", 4, 5)]) is not None


def test_what_is_unknown_was_not_done_before_it_began() -> None:
    assert check_register("r", [read("c", "a", 0, 1), swap("", "a", 2, 3, Outcome.UNKNOWN)]) is not None


def test_the_first_value_may_be_another_than_none() -> None:
    assert check_register("r", [read("c", "x", 0, 1)], initial="x") is None


def test_a_search_that_takes_too_long_is_given_up_and_says_that_nothing_is_proven() -> None:
    found = check_register("r", [swap("", "a", 0, 1), read("c", "a", 2, 3)], max_steps=1)

    assert found is not None
    assert not found.is_proven
    assert found.text == "r: no order of 2 calls found in 1 steps"


def test_thousands_of_calls_with_many_unknown_ones_are_decided() -> None:
    calls = [swap(f"v{n}" if n else "", f"v{n + 1}", 2 * n, 2 * n + 1) for n in range(1000)]
    calls += [swap(f"v{n}", f"u{n}", 2 * n, 2 * n + 1, Outcome.UNKNOWN) for n in range(0, 1000, 10)]

    assert check_register("r", calls) is None
    stale = read("c", "v998", 3000, 3001)
    assert check_register("r", [*calls, stale]) is not None


@given(sound_histories())
def test_histories_of_a_sound_register_pass(calls: list[Call]) -> None:
    assert check_register("r", calls) is None


@settings(max_examples=300)
@given(sound_histories(most_calls=6), st.data())
def test_it_agrees_with_trying_every_order_whatever_was_changed(
    calls: list[Call], data: st.DataObject
) -> None:
    values = sorted({call.value for call in calls} | {""})
    for _ in range(data.draw(st.integers(0, 2)) if calls else 0):
        at = data.draw(st.integers(0, len(calls) - 1))
        call = calls[at]
        if call.action is Action.READ:
            calls[at] = replace(call, value=data.draw(st.sampled_from(values)))
        else:
            outcome = data.draw(st.sampled_from(list(Outcome)))
            ended_s = max(call.began_s, min(call.ended_s, 1000.0))
            calls[at] = replace(call, outcome=outcome, ended_s=ended_s)

    assert (check_register("r", calls) is None) == is_linearisable(calls)
