"""One call of a client: what it asked for, when, and what it was told."""

import math
from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What a call does.

    ``read`` and ``swap`` (compare and set) are about registers; ``take``, ``renew`` and ``release`` about names that
    one client has for a time: leases, registrations.
    """

    READ = "read"
    SWAP = "swap"
    TAKE = "take"
    RENEW = "renew"
    RELEASE = "release"


class Outcome(StrEnum):
    """What the client was told.

    ``refused`` is an answer: it was not done, since something else was there. ``unknown`` is everything else: no
    answer, or an error that does not say; it may have been done, may still be done later, or never.
    """

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Call:
    """A call as its client saw it.

    Attributes:
        client: who called.
        action: what for.
        key: the register or the name.
        began_s: just before it was sent; monotonic clock of one machine, for all clients.
        ended_s: just after the answer; endless while there is none. What is unknown may be done at any time after
            ``began_s``, whatever stands here.
        outcome: what came back.
        value: what was read, or what a swap wrote; unique among all swaps of the key.
        expected: a swap: what had to be there.
        lease_s: take and renew: for how long from the moment of the grant.
        error: name of the error, for the count of errors.
    """

    client: str
    action: Action
    key: str
    began_s: float
    ended_s: float = math.inf
    outcome: Outcome = Outcome.UNKNOWN
    value: str = ""
    expected: str = ""
    lease_s: float = 0.0
    error: str = ""

    @property
    def must_end_by_s(self) -> float:
        """When it was done at the latest, if it was done."""
        return math.inf if self.outcome is Outcome.UNKNOWN else self.ended_s

    def __str__(self) -> str:
        """Return it as one line for people."""
        what = f"{self.expected!r} -> {self.value!r}" if self.action is Action.SWAP else repr(self.value)
        times = f"{self.began_s:.6f} to {self.ended_s:.6f} s"
        return f"{self.client} {self.action} {self.key} {what}: {self.outcome} ({times})"
