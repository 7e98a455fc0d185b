"""Did two have one name at once, as far as each may rely on it?

A client may rely on a grant from the moment that it holds the answer (before, it knows nothing of it) until the lease
is over, counted from when it asked (the registry counts from when it was asked, which is later), or until it begins
to give the name back. A renewal is a grant of its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from zejzl_ray.testing.history.calls import Action, Call, Outcome

_GRANTS = (Action.TAKE, Action.RENEW)


@dataclass(frozen=True, slots=True)
class Hold:
    """A time in which a client relies on a name: from, and up to, monotonic seconds."""

    key: str
    owner: str
    from_s: float
    until_s: float

    def __str__(self) -> str:
        """Return it as one line for people."""
        return f"{self.owner} has {self.key} from {self.from_s:.6f} to {self.until_s:.6f} s"


def holds_of(calls: Iterable[Call]) -> list[Hold]:
    """Return in which times who relied on which name, one an acknowledged grant, in the order of time."""
    holds: list[Hold] = []
    released: dict[tuple[str, str], list[float]] = {}
    for call in calls:
        if call.action is Action.RELEASE:
            released.setdefault((call.key, call.client), []).append(call.began_s)
        elif call.action in _GRANTS and call.outcome is Outcome.OK:
            holds.append(Hold(call.key, call.client, call.ended_s, call.began_s + call.lease_s))
    ended = []
    for hold in holds:
        ends = [at_s for at_s in released.get((hold.key, hold.owner), ()) if at_s >= hold.from_s]
        ended.append(replace(hold, until_s=min([hold.until_s, *ends])))
    return sorted((hold for hold in ended if hold.until_s > hold.from_s), key=attrgetter("from_s"))


def double_owners(holds: Sequence[Hold]) -> list[tuple[Hold, Hold]]:
    """Return pairs of holds of different owners that overlap, one a hold at most: the earlier one and the later one."""
    found = []
    longest: dict[tuple[str, str], Hold] = {}
    owners: dict[str, set[str]] = {}
    for hold in sorted(holds, key=attrgetter("from_s")):
        others = owners.setdefault(hold.key, set())
        for other in others - {hold.owner}:
            if longest[hold.key, other].until_s > hold.from_s:
                found.append((longest[hold.key, other], hold))
                break
        others.add(hold.owner)
        own = longest.get((hold.key, hold.owner))
        if own is None or own.until_s < hold.until_s:
            longest[hold.key, hold.owner] = hold
    return found
