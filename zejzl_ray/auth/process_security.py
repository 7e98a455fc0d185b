"""The security of one process: what its guard needs, started and stopped together."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from zejzl_ray.auth.audit_trail import AuditTrail
from zejzl_ray.auth.feed_follower import FeedFollower
from zejzl_ray.auth.guard import Guard
from zejzl_ray.auth.key_set import KeySet
from zejzl_ray.auth.observations import Observer
from zejzl_ray.auth.ports import AuditSink, FeedSource, ObservationSink
from zejzl_ray.auth.rate_limits import RateLimits
from zejzl_ray.auth.security_state import SecurityState
from zejzl_ray.auth.token_verifier import TokenVerifier
from zejzl_ray.auth.verified_tokens import VerifiedTokens
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.access import AuthenticatedCall
from zejzl_ray.contracts.audit import ChainHead
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import Check, CheckStatus
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.log import get_logger

_log = get_logger("security")
_STOP_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class SecurityOptions:
    """What can be set about the check in a process.

    Attributes:
        issuer: of the tokens that count.
        is_required: false lets calls without a token pass; for a developer's machine alone.
        max_feed_age_s: with older news only calm operations go on.
    """

    issuer: str = "zejzl"
    is_required: bool = True
    max_feed_age_s: float = 30.0


@dataclass(frozen=True, slots=True)
class SecurityPorts:
    """Where a process's security reads and writes.

    Attributes:
        feed: keys, revocations, standings.
        audit: keeps the audit trail; may be away for a while.
        anchor: writes the head of the chain into the gateway's; None leaves it out.
        observations: gets the refused calls, counted; None leaves it out.
    """

    feed: FeedSource
    audit: AuditSink
    anchor: Callable[[ChainHead], Awaitable[object]] | None = None
    observations: ObservationSink | None = None


class ProcessSecurity:
    """Checks the calls of one process, and follows what the gateway says.

    Until the first news have been read, only public operations are admitted; see ``Guard``.

    Args:
        service: the service that runs here, or ``ingress`` or ``node_agent``.
        chain: name of the audit chain of this process.
        ports: where it reads and writes.
        clock: source of time.
        options: what can be set.
    """

    def __init__(
        self,
        service: str,
        chain: str,
        ports: SecurityPorts,
        clock: Clock,
        options: SecurityOptions | None = None,
    ) -> None:
        options = options or SecurityOptions()
        keys = KeySet(clock, fetch=ports.feed.fetch_keys)
        self.state = SecurityState(clock, max_feed_age_s=options.max_feed_age_s, keys=keys)
        self.audit = AuditTrail(chain, ports.audit, clock, anchor=ports.anchor)
        self._observer = Observer(clock)
        self._ports = ports
        self._follower = FeedFollower(ports.feed, self.state, clock)
        self.guard = Guard(
            service,
            self.state,
            VerifiedTokens(TokenVerifier(keys, clock, issuer=options.issuer), self.state.revocations, clock),
            RateLimits(clock),
            self.audit,
            clock,
            is_required=options.is_required,
            observer=self._observer,
        )
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def launch(self) -> None:
        """Begin to follow the feed and to write the trail; needs a running event loop. Safe to repeat."""
        if self._tasks or self._stopping.is_set():
            return
        if not self.guard.is_required:
            _log.warning("authentication is off: calls without a token may do everything")
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._follower.run(self._stopping), name="security-feed"),
            loop.create_task(self._keep_trail(), name="audit-trail"),
        ]
        if self._ports.observations is not None:
            watching = self._observer.run(self._ports.observations, self._stopping)
            self._tasks.append(loop.create_task(watching, name="observations"))

    async def admit(
        self, operation: Operation, request: Contract, call: CallContext, *, seen_from: str = ""
    ) -> AuthenticatedCall:
        """Return the call with its caller, proved and allowed to do this; see ``Guard.admit``."""
        return await self.guard.admit(operation, request, call, seen_from=seen_from)

    def checks(self) -> tuple[Check, ...]:
        """Return how the news and the audit trail are, for readiness."""
        fault = self.audit.fault
        trail = Check(
            name="audit_trail", status=CheckStatus.DEGRADED if fault else CheckStatus.OK, reason=fault
        )
        checks = (self.state.check(), trail)
        if not self.guard.is_required:
            is_off = "calls without a token may do everything (ZEJZL_REQUIRE_AUTH=false)"
            return (*checks, Check(name="authentication", status=CheckStatus.DEGRADED, reason=is_off))
        return checks

    async def stop(self) -> None:
        """Write what the trail holds and stop following; safe to repeat."""
        self._stopping.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_STOP_TIMEOUT_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=_STOP_TIMEOUT_S)
        await self.audit.stop()

    async def _keep_trail(self) -> None:
        await self.audit.start()
        await self.audit.run(self._stopping)
