"""What was worked out for a token: its principal, what it allows, how often it may call."""

from typing import Final

from zejzl_ray.auth.claims import Claims
from zejzl_ray.auth.scopes import allows
from zejzl_ray.auth.security_state import SecurityState
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.policy import RatePolicy

_SIZE: Final = 4096


class Proved:
    """A principal, and the answers to what was asked about it; valid for one state of the standings.

    Args:
        principal: who it is.
        rate: how often it may call; None while the policy is not known.
        revision: of the standings and limits that this was made of.
    """

    __slots__ = ("_allowed", "_elsewhere", "principal", "rate", "revision")

    def __init__(
        self,
        principal: Principal,
        rate: RatePolicy | None = None,
        revision: int = 0,
    ) -> None:
        self.principal = principal
        self.rate = rate
        self.revision = revision
        # scope -> whether the grants cover it; as many as the service's operations have
        self._allowed: dict[str, bool] = {}
        self._elsewhere = principal  # the same one, at the address of its last call

    def allows(self, scope: str) -> bool:
        """Return whether the grants cover the scope."""
        is_allowed = self._allowed.get(scope)
        if is_allowed is None:
            is_allowed = self._allowed[scope] = allows(self.principal.grants, scope)
        return is_allowed

    def at(self, address: str) -> Principal:
        """Return the principal with the address that it calls from."""
        if self._elsewhere.address != address:
            self._elsewhere = self.principal.model_copy(update={"address": address})
        return self._elsewhere


class GrantBook:
    """Keeps what was worked out for the tokens in use, at most ``size`` of them.

    It proves nothing: who asks hands in claims that were checked in this very call.

    Args:
        state: standings and limits; a change of them makes everything here anew.
        size: how many tokens are kept; the oldest goes first.
    """

    def __init__(self, state: SecurityState, *, size: int = _SIZE) -> None:
        self._state = state
        self._size = size
        self._kept: dict[str, Proved] = {}

    def __len__(self) -> int:
        """Return how many tokens are kept."""
        return len(self._kept)

    def proved(self, token: str, claims: Claims) -> Proved:
        """Return what the token's principal is and may do, by the standings as they are now."""
        kept = self._kept.get(token)
        if kept is not None and kept.revision == self._state.standings_revision:
            return kept
        made = Proved(
            Principal(
                subject=claims.subject,
                grants=claims.grants,
                session=claims.session,
                token_id=claims.token_id,
                issued_at_s=claims.issued_at_s,
                expires_at_s=claims.expires_at_s,
                standing=self._state.standing_of(claims.subject),
            ),
            self.rate_of(claims.subject),
            self._state.standings_revision,
        )
        self._kept.pop(token, None)
        self._kept[token] = made
        if len(self._kept) > self._size:
            del self._kept[next(iter(self._kept))]
        return made

    def rate_of(self, subject: str) -> RatePolicy | None:
        """Return the rate of a subject: its own, its kind's, or everybody's; None while the policy is not known."""
        limits = self._state.limits
        if limits is None:
            return None
        own = limits.role_rates.get(subject) or limits.role_rates.get(subject.partition(":")[0])
        return own or limits.rate
