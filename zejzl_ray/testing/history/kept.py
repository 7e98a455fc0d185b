"""Which acknowledged writes does the last value of a register not stand upon?

Every swap names the value before it, and no value is written twice. So the values lead from the last one back to the
first in one line, and an acknowledged swap that is not on it is lost, or happened beside it.
"""

from collections.abc import Iterable

from zejzl_ray.testing.history.calls import Action, Call, Outcome


def lost_writes(calls: Iterable[Call], final: str) -> list[Call]:
    """Return the acknowledged swaps that are lost, in the order of time.

    Args:
        calls: of one register; others than swaps are left out.
        final: what was read after the last of them had ended.
    """
    swaps = [call for call in calls if call.action is Action.SWAP and call.outcome is not Outcome.REFUSED]
    before = {call.value: call.expected for call in swaps}
    kept: set[str] = set()
    value = final
    while value in before and value not in kept:
        kept.add(value)
        value = before[value]
    acknowledged = (call for call in swaps if call.outcome is Outcome.OK)
    return sorted((call for call in acknowledged if call.value not in kept), key=lambda call: call.began_s)
