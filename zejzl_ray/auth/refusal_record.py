"""Writing refused calls down: in the audit trail, and counted for the detectors."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from zejzl_ray.auth.call_facts import target_of
from zejzl_ray.auth.observations import Observer
from zejzl_ray.auth.ports import AuditRecorder
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import Forbidden, RateLimited, Unauthenticated, ZejzlError

_PERIOD_S: Final = 60.0
_MAX_FLOODS: Final = 1024
_MAX_REASON: Final = 512


@dataclass(slots=True)
class _Flood:
    since_s: float
    unwritten: int = 0


class RefusalRecord:
    """Takes note of refused calls.

    Denials are written one by one. Of calls that were refused for being too many, for their address or for the
    gateway's absence, the first of a caller is written at once and the others once a minute with their number, when
    the next one comes: a flood must not wash the denials out of the trail.

    Args:
        audit: the trail of this process.
        clock: source of time.
        observer: counts every refusal for the detectors; None leaves it out.
    """

    def __init__(self, audit: AuditRecorder, clock: Clock, observer: Observer | None) -> None:
        self._audit = audit
        self._clock = clock
        self._observer = observer
        # (subject or address, code) -> what was not written yet; the oldest goes first
        self._floods: OrderedDict[tuple[str, str], _Flood] = OrderedDict()

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
        count = 1 if kind in ("denied", "unauthenticated") else self._to_write(subject or address, error.code)
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
        self._audit.record(
            "denied",
            subject=door,
            operation=operation.key,
            target="address",
            outcome=code,
            reason=f"The address of the caller is left out: {reason}"[:_MAX_REASON],
            request_id=call.request_id,
        )

    def _observe(self, kind: str, subject: str, address: str, operation: Operation) -> None:
        if self._observer is not None and kind:
            self._observer.count(kind, subject=subject, address=address, operation=operation.key)

    def _to_write(self, caller: str, code: str) -> int:
        """Return how many refusals the entry to be written stands for; 0 when it is not time yet."""
        now_s = self._clock.monotonic_s()
        flood = self._floods.get((caller, code))
        if flood is None:
            self._floods[caller, code] = _Flood(now_s)
            if len(self._floods) > _MAX_FLOODS:
                self._floods.popitem(last=False)
            return 1
        flood.unwritten += 1
        if now_s - flood.since_s < _PERIOD_S:
            return 0
        count, flood.unwritten, flood.since_s = flood.unwritten, 0, now_s
        self._floods.move_to_end((caller, code))
        return count


def _kind(error: ZejzlError) -> str:
    """Return the detectors' word for it; empty for what is no caller's fault."""
    if isinstance(error, Unauthenticated):
        return "unauthenticated"
    if isinstance(error, Forbidden):
        return "denied"
    return "rate_limited" if isinstance(error, RateLimited) else ""
