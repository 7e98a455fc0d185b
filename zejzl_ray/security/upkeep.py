"""What the gateway does by itself: keys, what has expired, what was used, what decays, what was seen."""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.security_feed import GuardLimits
from zejzl_ray.errors import ZejzlError
from zejzl_ray.security.alive_record import decide_show
from zejzl_ray.security.audit_keeping import decide_forget_idle
from zejzl_ray.security.credential_records import note_use
from zejzl_ray.security.draft import SecurityDraft
from zejzl_ray.security.guard_limits import limits_of
from zejzl_ray.security.lockout import LockoutRecord, surplus_locks
from zejzl_ray.security.repeat_answers import AnswerRecord
from zejzl_ray.security.threat_operations import ThreatOperations
from zejzl_ray.security.trust import decide_due, due_standings

_TRUST_S: Final = 10.0
_IDLE_CHAINS_S: Final = 3600.0
_log = structlog.get_logger(__name__)


class Done(Contract):
    """Something that nobody waits for an answer of."""


class Upkeep(ThreatOperations):
    """One look at what is due; ``tick`` is called about once a second."""

    _ticked_at_s: float | None = None
    _tick_fault = ""
    _used_at_s = 0.0
    _trust_at_s = 0.0
    _chains_at_s = 0.0
    _limits_seen: GuardLimits | None = None
    # Parts that were not done the last time: said once, and not with every tick of a long outage.
    _undone: frozenset[str] = frozenset()
    # Of the policy that the standings were last looked at with.
    _policy_seen = -1

    async def tick(self, now_s: float | None = None) -> None:
        """Do what is due by now. One part that fails does not keep the others from being done."""
        if not self._is_serving or self.is_fenced:
            return
        at_s = self._clock.now_s() if now_s is None else now_s
        faults: list[str] = []
        for work in (self._settle_doubt, self._turn_keys, self._forget, self._look_at_observed):
            await self._do(work, faults)
        if at_s >= self._stored_at_s + self._config.alive_s:
            await self._do(self._show_life, faults)
        if at_s >= self._used_at_s + self._config.used_flush_s:
            self._used_at_s = at_s
            await self._do(self._write_used, faults)
            await self._do(self._look_at_limits, faults)
        if at_s >= self._trust_at_s + _TRUST_S:
            self._trust_at_s = at_s
            await self._do(self._let_trust_decay, faults)
        if at_s >= self._chains_at_s + _IDLE_CHAINS_S:
            self._chains_at_s = at_s
            await self._do(self._forget_chains, faults)
        self._tick_fault = faults[0] if faults else ""
        self._ticked_at_s = at_s

    async def _do(self, work: Callable[[], Awaitable[None]], faults: list[str]) -> None:
        try:
            await work()
        except ZejzlError as error:
            faults.append(error.message)
            if work.__name__ not in self._undone:
                _log.warning("upkeep not done", work=work.__name__, error=str(error))
            self._undone |= {work.__name__}
        except Exception as error:
            faults.append(f"{work.__name__.strip('_')}: {type(error).__name__}")
            _log.exception("upkeep failed", work=work.__name__)
        else:
            self._undone -= {work.__name__}

    async def _settle_doubt(self) -> None:
        """Read the records again when a commit may have happened: followers have to hear of what is in force."""
        if self._journal.is_in_doubt:
            await self._submit("settle", lambda draft: Done())

    async def _show_life(self) -> None:
        """Notice that another instance has taken over: this one's news would keep verifiers content and be old."""

        def decide(draft: SecurityDraft) -> Done:
            decide_show(draft)
            return Done()

        await self._submit("show_life", decide)

    async def _turn_keys(self) -> None:
        """Let the next key sign when it is due, and forget old ones."""
        if self._ring.is_due(self.records, self._clock.now_s()):
            await self._submit("turn_keys", self._decide_keys)

    def _decide_keys(self, draft: SecurityDraft) -> Done:
        self._tag_key.decide_ensure(draft)
        self._ring.decide_tick(draft)
        return Done()

    async def _forget(self) -> None:
        """Drop from memory what the store has forgotten, and what is above the limits for answers and lock-outs."""
        self.records.forget_expired(self._clock.now_s())
        answers, locks = self._answers.surplus(self.records), surplus_locks(self.records, self._clock.now_s())
        if not (answers or locks):
            return

        def decide(draft: SecurityDraft) -> Done:
            for key in answers:
                draft.delete(AnswerRecord, key)
            for key in locks:
                draft.delete(LockoutRecord, key)
            return Done()

        await self._submit("forget_surplus", decide)

    async def _write_used(self) -> None:
        """Write when credentials were last used."""
        used, self._used = self._used, set()
        if not used:
            return

        def decide(draft: SecurityDraft) -> Done:
            for credential_id in used:
                note_use(draft, credential_id)
            return Done()

        try:
            await self._submit("note_use", decide)
        except ZejzlError:
            self._used |= used
            raise

    async def _look_at_limits(self) -> None:
        """Have guards hear that a credential with a rate of its own has expired; nothing of it is to be stored."""
        draft = self._reading()
        limits = limits_of(draft, self._policy_in(draft))
        if self._limits_seen is not None and limits != self._limits_seen:
            self._feed.add(are_limits_changed=True)
        self._limits_seen = limits

    async def _let_trust_decay(self) -> None:
        """Put standings in force that time, or another policy, has changed."""
        draft = self._reading()
        policy = self._policies.current(draft)
        is_new = policy.revision != self._policy_seen
        due = due_standings(draft, policy.policy.trust, is_policy_new=is_new)
        if due:

            def decide(draft: SecurityDraft) -> Done:
                decide_due(draft, due, self._policy_in(draft).trust)
                return Done()

            await self._submit("let_trust_decay", decide)
        self._policy_seen = policy.revision

    async def _forget_chains(self) -> None:
        """Give up audit chains of processes that ended long ago."""

        def decide(draft: SecurityDraft) -> Done:
            decide_forget_idle(draft)
            return Done()

        await self._submit("forget_chains", decide)
