"""Writing refused calls down: in the audit trail, and counted for the detectors."""

from typing import Final

from zejzl_ray.auth.call_facts import target_of
from zejzl_ray.auth.floods import Floods
from zejzl_ray.auth.observations import Observer
from zejzl_ray.auth.ports import AuditRecorder
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import Forbidden, RateLimited, Unauthenticated, ZejzlError

_MAX_REASON: Final = 512
_DENIALS: Final = 100


class RefusalRecord:
    """Takes note of refused calls.

    Denials are written one by one, up to 100 a minute of one caller and reason; what comes beyond is written with its
    number. Of calls that were refused for being too many, for their address or for the
    gateway's absence, the first of a caller is written at once and the others once a minute with their number, when
    the next one comes: a flood must not wash the denials out of the trail.

    Args:
        audit: the trail of this process.
        clock: source of time.
        observer: counts every refusal for the detectors; None leaves it out.
    """

    def __init__(self, audit: AuditRecorder, clock: Clock, observer: Observer | None) -> None:
        self._audit = audit
        self._observer = observer
        # by subject or address, and code
        self._denials = Floods(clock, written_whole=_DENIALS)
        self._floods = Floods(clock)

    def refused(
        self,
        operation: Operation,
        request: Contract,
        call: CallContext,
        error: ZejzlError,
        *,
        subject: str = "",
        address: str = "",
        is_kept_out: bool = False,
    ) -> None:
        """Take note of a call that was refused; ``is_kept_out``: because of its address."""
        kind = "ip_blocked" if is_kept_out else _kind(error)
        self._observe(kind, subject, address, operation)
        floods = self._denials if kind in ("denied", "unauthenticated") else self._floods
        count = floods.count((subject or address, error.code))
        if count:
            self._audit.record(
                "denied",
                subject=subject,
                operation=operation.key,
                target=target_of(operation, request),
                outcome=error.code,
                reason=error.message[:_MAX_REASON],
                address=address,
                request_id=call.request_id,
                count=count,
            )

    def unproved_address(
        self, operation: Operation, call: CallContext, door: str, code: str, reason: str
    ) -> None:
        """Take note of a call whose caller's address came with a proof that does not count; it goes on without."""
        self._observe("denied" if door else "unauthenticated", door, "", operation)
        count = self._denials.count((door, f"address {code}"))
        if not count:
            return
        self._audit.record(
            "denied",
            subject=door,
            operation=operation.key,
            target="address",
            outcome=code,
            reason=f"The address of the caller is left out: {reason}"[:_MAX_REASON],
            request_id=call.request_id,
            count=count,
        )

    def _observe(self, kind: str, subject: str, address: str, operation: Operation) -> None:
        if self._observer is not None and kind:
            self._observer.count(kind, subject=subject, address=address, operation=operation.key)


def _kind(error: ZejzlError) -> str:
    """Return the detectors' word for it; empty for what is no caller's fault."""
    if isinstance(error, Unauthenticated):
        return "unauthenticated"
    if isinstance(error, Forbidden):
        return "denied"
    return "rate_limited" if isinstance(error, RateLimited) else ""
