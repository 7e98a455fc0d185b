"""Which tokens no longer count although their time is not over.

A token says in whole seconds when it was issued, and a revocation of a subject or of everything ends what was issued
*up to and including* the second of its ``before_s``: nothing that was issued before that moment survives. So that a
new token of the same second is not ended with the old ones, its issuer dates it to the next second
(``second_of_issue``), which verifiers accept since they allow clocks to differ; and so that a second revocation also
ends that one, it is dated by ``moment_of_revocation``.
"""

import math
from collections.abc import Iterable
from typing import TypeVar

from zejzl_ray.auth.claims import Claims
from zejzl_ray.contracts.security_feed import Revocation

_Key = TypeVar("_Key", str, str | None)


def second_of_issue(now_s: float, ended_until_s: float) -> int:
    """Return the ``iat`` of a token that is issued now.

    Args:
        now_s: wall time.
        ended_until_s: latest ``before_s`` of the revocations that concern its subject; 0 for none.
    """
    return max(math.floor(now_s), math.floor(ended_until_s) + 1)


def moment_of_revocation(now_s: float, ended_until_s: float) -> float:
    """Return the ``before_s`` of a revocation that is to end everything issued until now.

    Lies in the future when the same subject was revoked within this very second already: by one second for each
    time, so that four in a row leave its new tokens within the leeway of verifiers.

    Args:
        now_s: wall time.
        ended_until_s: as in ``second_of_issue``.
    """
    return max(now_s, math.floor(ended_until_s) + 1.0)


class RevocationList:
    """The revocations that a process knows; a look-up costs the same with ten as with ten thousand.

    Attributes:
        revision: changes whenever a token may be revoked that was not before.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._tokens: dict[str, Revocation] = {}
        self._sessions: dict[str, Revocation] = {}
        # subject -> the one that reaches furthest; None stands for everybody
        self._moments: dict[str | None, Revocation] = {}

    def __len__(self) -> int:
        """Return how many things are revoked."""
        return len(self._tokens) + len(self._sessions) + len(self._moments)

    def replace(self, revocations: Iterable[Revocation]) -> None:
        """Forget all and take these."""
        self._tokens, self._sessions, self._moments = {}, {}, {}
        self.add(revocations)

    def add(self, revocations: Iterable[Revocation]) -> None:
        """Take more; those that are known already do no harm."""
        for revocation in revocations:
            match revocation.kind:
                case "token":
                    _keep_longer(self._tokens, revocation.value, revocation)
                case "session":
                    _keep_longer(self._sessions, revocation.value, revocation)
                case _:
                    who = None if revocation.kind == "all" else revocation.value
                    self._keep_further(who, revocation)
        self.revision += 1

    def forget(self, now_s: float) -> None:
        """Drop those whose tokens have all expired."""
        _drop_old(self._tokens, now_s)
        _drop_old(self._sessions, now_s)
        _drop_old(self._moments, now_s)

    def find(self, claims: Claims) -> Revocation | None:
        """Return what ended a token; None when it still counts."""
        found = self._tokens.get(claims.token_id) or self._sessions.get(claims.session)
        if found is not None:
            return found
        for who in (claims.subject, None):
            moment = self._moments.get(who)
            if moment is not None and claims.issued_at_s <= moment.before_s:
                return moment
        return None

    def ended_until_s(self, subject: str) -> float:
        """Return up to when what was issued to a subject is ended; 0 when nothing is. For ``second_of_issue``."""
        return max(
            (moment.before_s for who in (subject, None) if (moment := self._moments.get(who)) is not None),
            default=0.0,
        )

    def _keep_further(self, who: str | None, revocation: Revocation) -> None:
        known = self._moments.get(who)
        if known is not None:
            before_s = max(known.before_s, revocation.before_s)
            until_s = max(known.until_s, revocation.until_s)
            revocation = revocation.model_copy(update={"before_s": before_s, "until_s": until_s})
        self._moments[who] = revocation


def _keep_longer(known: dict[str, Revocation], value: str, revocation: Revocation) -> None:
    before = known.get(value)
    if before is None or before.until_s < revocation.until_s:
        known[value] = revocation


def _drop_old(known: dict[_Key, Revocation], now_s: float) -> None:
    for value in [value for value, revocation in known.items() if revocation.until_s <= now_s]:
        del known[value]
