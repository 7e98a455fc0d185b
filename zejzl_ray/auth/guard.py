"""The check of every call, in the process that does the work: who calls, may it, and how often."""

from typing import Final

from zejzl_ray.auth import refusals
from zejzl_ray.auth.addresses import caller_of
from zejzl_ray.auth.call_facts import authenticated, is_own, target_of
from zejzl_ray.auth.claims import Claims
from zejzl_ray.auth.grant_book import GrantBook, Proved
from zejzl_ray.auth.observations import Observer
from zejzl_ray.auth.ports import AuditRecorder
from zejzl_ray.auth.rate_limits import RateLimits
from zejzl_ray.auth.refusal_record import RefusalRecord
from zejzl_ray.auth.security_state import SecurityState
from zejzl_ray.auth.token_verifier import UnknownKey
from zejzl_ray.auth.verified_tokens import VerifiedTokens
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.access import ANONYMOUS, ANY_SERVICE, NOBODY, AuthenticatedCall, Principal
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.policy import RatePolicy
from zejzl_ray.contracts.services import SERVICE_NAMES
from zejzl_ray.errors import Forbidden, Unauthenticated, ZejzlError

# What a door needs so that its word about a caller's address counts; only the ingress's role has it.
ADDRESS_SCOPE: Final = "zejzl:address:report"
# In force until the policy is known, for the few operations that anybody may call.
FIRST_RATE: Final = RatePolicy(burst_per_s=200, sustained_per_min=6000)
ANY_AUDIENCE: Final = frozenset((ANY_SERVICE, *SERVICE_NAMES))
DEVELOPER: Final = Principal(subject="user:dev", grants=("*:*:*",))


# What a door in front of several services asks; no service has it.
_NOTHING: Final = GetHealth()
_NO_CALL: Final = CallContext()
_DOOR: Final = Operation(
    name="door",
    service="ingress",
    request=GetHealth,
    reply=GetHealth,
    scope="ingress:door:read",
    verb="GET",
    path="",
)


class Guard:
    """Admits calls of one service, and refuses the others before anything is done.

    Nothing here waits for input or output but for one case: a token of a key that is not known, for which the keys
    are fetched once. What was worked out for a token is kept, as long as the token itself is remembered; signature,
    times, audience and revocation are looked at in every call.

    Args:
        service: name of what runs here, for messages. Tokens for the service of an operation, and for all, count.
        state: what the gateway said last.
        tokens: checks tokens.
        rates: limits callers.
        audit: gets denials and grants of more than reading one by one, other grants counted.
        clock: source of time.
        is_required: false admits calls without a token as ``user:dev``, who may do everything; a token that does not
            count is still refused.
        observer: counts refusals for the detectors; None leaves it out.
    """

    def __init__(
        self,
        service: str,
        state: SecurityState,
        tokens: VerifiedTokens,
        rates: RateLimits,
        audit: AuditRecorder,
        clock: Clock,
        *,
        is_required: bool = True,
        observer: Observer | None = None,
    ) -> None:
        self._service = service
        self._state = state
        self._tokens = tokens
        self._rates = rates
        self._audit = audit
        self._now_s = clock.now_s
        self._is_required = is_required
        self._record = RefusalRecord(audit, clock, observer)
        self._observer = observer
        # service of an operation -> audiences whose tokens count for it; the ingress answers for several
        self._audiences: dict[str, frozenset[str]] = {}
        self._book = GrantBook(state)
        self._nobody = Proved(NOBODY)
        self._developer = Proved(DEVELOPER)

    @property
    def is_required(self) -> bool:
        """Whether calls need a token; false only on a developer's machine."""
        return self._is_required

    async def identify(
        self, call: CallContext, address: str = "", *, audiences: frozenset[str] = ANY_AUDIENCE
    ) -> Principal:
        """Return who is calling, by a token for any service, whatever it is allowed.

        For a door before the services, which lets nobody through whose token does not count. The detectors hear from
        which address a caller comes: a stolen token is one that suddenly comes from elsewhere.

        Args:
            call: with the token.
            address: of the caller, as the door saw it.
            audiences: for whom the token may have been issued; any service unless said.

        Raises:
            Unauthenticated: no token, or one that does not count.
            ServiceUnavailable: nothing was heard of the gateway yet.
        """
        try:
            principal = (await self._prove(_DOOR, call, audiences)).principal
        except ZejzlError as error:
            self._record.refused(_DOOR, _NOTHING, call, error, address=address)
            raise
        if address and self._observer is not None:
            self._observer.count("seen", subject=principal.subject, address=address)
        return principal

    def identify_again(self, call: CallContext, audiences: frozenset[str]) -> Principal:
        """Return whose token it is, as ``identify`` does, without waiting and without a word to the trail.

        For a token that was identified before and goes on being relied on: it may have ended or been revoked, and the
        standing of its owner may have changed.

        Raises:
            Unauthenticated: it does not count, or not any more; a key that is not known is not fetched.
            ServiceUnavailable: nothing was heard of the gateway yet.
        """
        if call.token is None:
            if not self._is_required:
                return DEVELOPER
            raise refusals.no_token(_DOOR)
        if not self._state.is_read:
            raise refusals.not_read(self._service)
        text = call.token.get_secret_value()
        return self._book.proved(text, self._tokens.check(text, audiences)).principal

    def admit_address(self, address: str) -> None:
        """Take note of a call from an address; nothing is done for an empty one.

        Raises:
            Forbidden: the address may not come in.
            RateLimited: too many calls from it.
        """
        if not address:
            return
        why_kept_out = self._state.addresses.why_refused(address)
        try:
            if why_kept_out:
                raise refusals.kept_out(address, why_kept_out)
            self._limit_unknown(address)
        except ZejzlError as error:
            self._record.refused(
                _DOOR, _NOTHING, _NO_CALL, error, subject="", address=address, is_kept_out=bool(why_kept_out)
            )
            raise

    async def admit(
        self, operation: Operation, request: Contract, call: CallContext, *, seen_from: str = ""
    ) -> AuthenticatedCall:
        """Return the call with its caller, proved and allowed to do this.

        Args:
            operation: what is to be done.
            request: with what.
            call: with the token.
            seen_from: address of the caller where this process itself is the door; otherwise what the call's door
                has proved counts.

        Raises:
            Unauthenticated: no token, or one that does not count; TokenExpired and TokenRevoked among them.
            Forbidden: known, but neither the scope nor the standing for it; or the address may not come in.
            RateLimited: too many calls of this caller or address.
            SecurityFeedStale: more than reading, and news of revocations are too old.
            ServiceUnavailable: nothing was heard of the gateway yet.
        """
        address = seen_from
        if not address and call.forwarded is not None:
            address = await self._address_of(operation, call)
        why_kept_out = self._state.addresses.why_refused(address) if address else ""
        subject = ""
        try:
            if why_kept_out:
                raise refusals.kept_out(address, why_kept_out)
            if operation.is_public:
                # Other calls have a caller whose own rate counts; the door in front counts addresses for all of them.
                self._limit_unknown(address)
                return authenticated(call, self._nobody.at(address))
            proved = await self._prove(operation, call, self._audiences_of(operation.service))
            subject = proved.principal.subject
            if proved is not self._developer:
                self._decide(operation, request, proved)
        except ZejzlError as error:
            self._record.refused(
                operation, request, call, error,
                subject=subject, address=address, is_kept_out=bool(why_kept_out),
            )  # fmt: skip
            raise
        if operation.is_calm:
            self._audit.count_grant(subject, operation.key)
        else:
            self._audit.record(
                "granted",
                subject=subject,
                operation=operation.key,
                target=target_of(operation, request),
                address=address,
                request_id=call.request_id,
            )
        return authenticated(call, proved.at(address))

    async def _prove(self, operation: Operation, call: CallContext, audiences: frozenset[str]) -> Proved:
        """Return who is calling, by its token."""
        if call.token is None:
            if not self._is_required:
                return self._developer
            raise refusals.no_token(operation)
        if not self._state.is_read:
            raise refusals.not_read(self._service)
        text = call.token.get_secret_value()
        return self._book.proved(text, await self._claims(text, audiences))

    def _audiences_of(self, service: str) -> frozenset[str]:
        found = self._audiences.get(service)
        if found is None:  # as many as there are services
            found = self._audiences[service] = frozenset((ANY_SERVICE, service))
        return found

    async def _claims(self, text: str, audiences: frozenset[str]) -> Claims:
        try:
            return self._tokens.check(text, audiences)
        except UnknownKey as error:
            # Of a key that this process has not heard of yet; the key set bounds how often that asks anybody.
            if self._state.keys is None or not await self._state.keys.refresh(error.kid):
                raise
        return self._tokens.check(text, audiences)

    def _decide(self, operation: Operation, request: Contract, proved: Proved) -> None:
        """Raise unless the caller may do this now."""
        is_calm = operation.is_calm
        if not is_calm:
            now_s = self._now_s()
            if self._state.is_stale(now_s):
                raise refusals.stale_feed(operation, self._state.feed_age_s(now_s))
        principal = proved.principal
        if not proved.allows(operation.scope) and not (
            operation.own_scope
            and proved.allows(operation.own_scope)
            and is_own(operation, request, principal)
        ):
            raise refusals.no_scope(operation, principal)
        if not is_calm and not principal.standing.can_write:
            raise refusals.no_standing(operation, principal)
        self._rates.hit(principal.subject, proved.rate or FIRST_RATE, principal.standing.rate_ratio)

    async def _address_of(self, operation: Operation, call: CallContext) -> str:
        """Return the caller's address if the door that names it may do so, else nothing."""
        if call.forwarded is None or not self._state.is_read:
            return ""
        text = call.forwarded.proof.get_secret_value()
        door = ""
        try:
            proved = self._book.proved(text, await self._claims(text, self._audiences_of(operation.service)))
            door = proved.principal.subject
            if proved.allows(ADDRESS_SCOPE):
                return call.forwarded.address
            self._record.unproved_address(
                operation, call, door, Forbidden.code, f"{door} lacks the scope {ADDRESS_SCOPE}."
            )
        except Unauthenticated as error:
            self._record.unproved_address(operation, call, door, error.code, error.message)
        return ""

    def _limit_unknown(self, address: str) -> None:
        """Count a call of an address; inside of the cluster all callers of public operations are one."""
        limits = self._state.limits
        if address:
            rate = FIRST_RATE if limits is None else limits.address_rate
            self._rates.hit(f"@{caller_of(address)}", rate)
        else:
            self._rates.hit(ANONYMOUS, self._book.rate_of(ANONYMOUS) or FIRST_RATE)
