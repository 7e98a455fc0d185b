"""What no longer counts: stored until every token that it concerns has expired, and told to all verifiers."""

from typing import ClassVar, Final

from zejzl_ray.auth.revocations import moment_of_revocation, second_of_issue
from zejzl_ray.commands.records import Record, RecordDraft
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.security_feed import Revocation
from zejzl_ray.contracts.tokens import RevokeTokens
from zejzl_ray.errors import InvalidInput, Overloaded
from zejzl_ray.security.config import SecurityConfig
from zejzl_ray.security.draft import AuditFact, SecurityDraft

# Times in a token are whole seconds: one of the second of a revocation counts as issued before it.
_WHOLE_SECOND_S: Final = 1.0
_ALL: Final = "all/"
# A caller's clock may be ahead; what it calls now is no later than the gateway's now.
CLOCK_SKEW_S: Final = 300.0


class RevocationRecord(Record):
    """A revocation in force."""

    KIND: ClassVar[str] = "revocation"

    revocation: Revocation


class Revoker:
    """Says what is revoked, for how long.

    Args:
        config: the longest life of a token decides how long a revocation is kept.
    """

    def __init__(self, config: SecurityConfig) -> None:
        self._kept_s = config.max_token_life_s + config.leeway_s + _WHOLE_SECOND_S
        self._most = config.max_revocations

    def token(self, token_id: str, now_s: float) -> Revocation:
        """Return the revocation of one token."""
        return Revocation(kind="token", value=token_id, until_s=now_s + self._kept_s)

    def session(self, session: str, now_s: float) -> Revocation:
        """Return the revocation of all tokens of one session or credential."""
        return Revocation(kind="session", value=session, until_s=now_s + self._kept_s)

    def subject(self, subject: str, now_s: float) -> Revocation:
        """Return the revocation of all that was issued to one subject until now."""
        return Revocation(kind="subject", value=subject, before_s=now_s, until_s=now_s + self._kept_s)

    def all_before(self, before_s: float) -> Revocation:
        """Return the revocation of all that was issued to anybody before a moment."""
        return Revocation(kind="all", before_s=before_s, until_s=before_s + self._kept_s)

    def require_room(self, draft: SecurityDraft) -> None:
        """Refuse a further revocation above the limit.

        Raises:
            Overloaded: revoke everything before now instead.
        """
        if draft.count(RevocationRecord) >= self._most:
            raise Overloaded(
                f"{self._most} revocations are in force already.",
                "Revoke whole subjects, or everything before a moment.",
            )


def check_request(request: RevokeTokens, now_s: float) -> None:
    """Refuse a request that does not name exactly one thing, or a moment that is still to come.

    Raises:
        InvalidInput: says what is wrong.
    """
    named = [
        name
        for name in ("token_id", "session", "subject", "everything_before_s")
        if getattr(request, name) is not None
    ]
    if len(named) != 1:
        raise InvalidInput(
            f"A revocation names exactly one thing, this one {len(named)}.",
            "Give one of token_id, session, subject and everything_before_s.",
        )
    if request.everything_before_s is not None and request.everything_before_s > now_s + CLOCK_SKEW_S:
        raise InvalidInput(
            "everything_before_s is in the future.", "Give a moment that is over, at most now."
        )


def keep_revocations(draft: SecurityDraft, first: int) -> None:
    """Put the draft's revocations from number ``first`` on into its records, so that they outlive a restart."""
    for number in range(first, len(draft.revocations)):
        revocation = draft.revocations[number]
        key = key_of(revocation)
        known = draft.get(RevocationRecord, key)
        if revocation.before_s == draft.now_s:
            # A token of this very second may be dated ahead of it, because something was revoked before.
            moment_s = moment_of_revocation(draft.now_s, _ended_until_s(draft, revocation))
            later_s = moment_s - revocation.before_s
            revocation = revocation.model_copy(
                update={"before_s": moment_s, "until_s": revocation.until_s + later_s}
            )
            draft.revocations[number] = revocation
        if known is not None:
            revocation = revocation.model_copy(
                update={
                    "before_s": max(revocation.before_s, known.revocation.before_s),
                    "until_s": max(revocation.until_s, known.revocation.until_s),
                }
            )
            draft.revocations[number] = revocation
        draft.put(key, RevocationRecord(revocation=revocation), revocation.until_s)


def key_of(revocation: Revocation) -> str:
    """Return the key of a revocation's record; a second one of the same thing replaces the first."""
    return f"{revocation.kind}/{revocation.value}"


def least_issued_at_s(draft: RecordDraft, subject: str) -> int:
    """Return the earliest whole second from which a new token of the subject counts.

    It is the second of now, or one after it where something of this very second was revoked.
    """
    keys = (_ALL, f"subject/{subject}")
    ended = (found.revocation.before_s for key in keys if (found := draft.get(RevocationRecord, key)))
    return second_of_issue(draft.now_s, max(ended, default=0.0))


def _ended_until_s(draft: SecurityDraft, revocation: Revocation) -> float:
    """Return up to when what a revocation concerns was ended before; 0 when nothing was."""
    if revocation.kind == "all":
        known = [record.revocation.before_s for _, record in draft.all(RevocationRecord)]
    else:
        keys = (_ALL, key_of(revocation))
        known = [found.revocation.before_s for key in keys if (found := draft.get(RevocationRecord, key))]
    return max(known, default=0.0)


def fact_of(request: RevokeTokens, caller: Principal) -> AuditFact:
    """Return what the audit trail says of a revocation."""
    what = next(
        f"{name}:{value}"
        for name in ("token_id", "session", "subject", "everything_before_s")
        if (value := getattr(request, name)) is not None
    )
    return AuditFact(
        "revoked",
        subject=caller.subject,
        operation="security_gateway.revoke_tokens",
        target=what,
        reason=request.reason,
        address=caller.address,
        request_id=request.request_id,
    )
