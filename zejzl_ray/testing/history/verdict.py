"""Everything that is wrong with a history, and what happened in it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from zejzl_ray.testing.history.calls import Action, Call, Outcome
from zejzl_ray.testing.history.kept import lost_writes
from zejzl_ray.testing.history.owners import double_owners, holds_of
from zejzl_ray.testing.history.registers import MAX_STEPS, check_register

_OF_REGISTERS = (Action.READ, Action.SWAP)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came out.

    Attributes:
        calls: all of them.
        acknowledged: writes that were acknowledged: swaps, and names that were taken.
        grants: acknowledged grants of names, renewals too.
        lost: acknowledged writes that are lost, one line each.
        unexplained: registers that are not linearisable, that could not be decided, or that nobody read at the end.
        double_owners: names that two had at once.
        outcomes: outcome -> how often.
        errors: name of an error -> how often.
    """

    calls: int
    acknowledged: int
    grants: int
    lost: tuple[str, ...]
    unexplained: tuple[str, ...]
    double_owners: tuple[str, ...]
    outcomes: Mapping[str, int]
    errors: Mapping[str, int]

    @property
    def faults(self) -> tuple[str, ...]:
        """Everything that is wrong; empty when all is well."""
        return (*self.lost, *self.unexplained, *self.double_owners)

    def as_json(self) -> dict[str, Any]:
        """Return all of it for ``json.dumps``."""
        return asdict(self)


def judge(
    calls: Sequence[Call], initial: Mapping[str, str] | None = None, max_steps: int = MAX_STEPS
) -> Verdict:
    """Judge what clients wrote down.

    Every register must have been read once more when all was over, and been answered: else a write that was lost last
    would not be missed.

    Args:
        calls: of all clients, the last reads among them.
        initial: register -> value before the first call; empty text where none is given.
        max_steps: of the search, for each register.
    """
    lost: list[str] = []
    unexplained: list[str] = []
    for key, own in sorted(_by_key(calls).items()):
        first = (initial or {}).get(key, "")
        final = _final_read(own)
        if final is None:
            unexplained.append(f"{key}: nobody read it after the last write had ended")
        else:
            lost += [f"{key}: lost: {call}" for call in lost_writes(own, final.value)]
        finding = check_register(key, own, first, max_steps)
        if finding is not None:
            unexplained.append(finding.text)
    twice = double_owners(holds_of(calls))
    return Verdict(
        calls=len(calls),
        acknowledged=sum(
            call.action in (Action.SWAP, Action.TAKE) and call.outcome is Outcome.OK for call in calls
        ),
        grants=sum(
            call.action in (Action.TAKE, Action.RENEW) and call.outcome is Outcome.OK for call in calls
        ),
        lost=tuple(lost),
        unexplained=tuple(unexplained),
        double_owners=tuple(f"{first}, and {second}" for first, second in twice),
        outcomes=dict(Counter(call.outcome.value for call in calls)),
        errors=dict(Counter(call.error for call in calls if call.error)),
    )


def _by_key(calls: Iterable[Call]) -> dict[str, list[Call]]:
    found: dict[str, list[Call]] = {}
    for call in calls:
        if call.action in _OF_REGISTERS:
            found.setdefault(call.key, []).append(call)
    return found


def _final_read(calls: Sequence[Call]) -> Call | None:
    """Return the answered read that began after every acknowledged swap had ended; None where there is none.

    A swap that nobody knows the end of may still be done later: then it is on no line, and not acknowledged either.
    """
    ended_s = max(
        (call.ended_s for call in calls if call.action is Action.SWAP and call.outcome is Outcome.OK),
        default=0.0,
    )
    reads = [
        call
        for call in calls
        if call.action is Action.READ and call.outcome is Outcome.OK and call.began_s >= ended_s
    ]
    return max(reads, key=lambda call: call.began_s, default=None)
