"""Histories of a register that is sound by construction, and an oracle that tries every order."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from zejzl_ray.testing.history.calls import Action, Call, Outcome

INITIAL = ""


class _Client:
    """One client of the simulated register: what it is in the middle of."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.call: Call | None = None
        self.is_done = False


@st.composite
def sound_histories(draw: st.DrawFn, most_calls: int = 30) -> list[Call]:
    """Calls of up to four clients on one register, which does each at one moment between its beginning and its end.

    Some clients give up: what they asked for is done later, or never.
    """
    clients = [_Client(f"c{index}") for index in range(draw(st.integers(1, 4)))]
    value, now_s, count = INITIAL, 0.0, 0
    known = [INITIAL]
    finished: list[Call] = []
    late: list[Call] = []
    for _ in range(draw(st.integers(1, 3 * most_calls))):
        now_s += 1.0
        client = draw(st.sampled_from(clients))
        if client.call is None:
            if count == most_calls:
                continue
            count += 1
            is_read = draw(st.booleans())
            expected = draw(st.sampled_from([value, *known[-2:]]))
            client.call, client.is_done = Call(client.name, Action.READ, "r", now_s), False
            if not is_read:
                client.call = replace(client.call, action=Action.SWAP, value=f"v{count}", expected=expected)
            continue
        call = client.call
        step = draw(st.sampled_from(["do", "do", "end", "give up", "late"]))
        if step == "late" and late:
            delayed = late.pop()
            value = delayed.value if delayed.expected == value else value
        elif step == "give up":
            if call.action is Action.SWAP and not client.is_done:
                late.append(call)
            finished.append(replace(call, ended_s=now_s))
            client.call = None
        elif not client.is_done:
            client.is_done = True
            if call.action is Action.READ:
                client.call = replace(call, value=value, outcome=Outcome.OK)
            else:
                is_fitting = call.expected == value
                client.call = replace(call, outcome=Outcome.OK if is_fitting else Outcome.REFUSED)
                value = call.value if is_fitting else value
                known.append(value)
        elif step == "end":
            finished.append(replace(call, ended_s=now_s))
            client.call = None
    in_the_middle = [replace(c.call, outcome=Outcome.UNKNOWN) for c in clients if c.call is not None]
    return [*finished, *in_the_middle]


def is_linearisable(calls: Sequence[Call]) -> bool:
    """Try every order of the calls, with and without each that is unknown; for a handful of calls only."""
    known = [call for call in calls if call.outcome is not Outcome.UNKNOWN]
    open_swaps = [call for call in calls if call.outcome is Outcome.UNKNOWN and call.action is Action.SWAP]
    return any(
        _explains(order)
        for count in range(len(open_swaps) + 1)
        for chosen in itertools.combinations(open_swaps, count)
        for order in itertools.permutations([*known, *chosen])
    )


def _explains(order: Sequence[Call]) -> bool:
    for earlier, later in itertools.combinations(order, 2):
        if later.must_end_by_s < earlier.began_s:
            return False
    value = INITIAL
    for call in order:
        if call.action is Action.READ:
            if call.value != value:
                return False
        elif call.outcome is Outcome.REFUSED:
            if call.expected == value:
                return False
        elif call.expected == value:
            value = call.value
        elif call.outcome is Outcome.OK:
            return False
    return True
