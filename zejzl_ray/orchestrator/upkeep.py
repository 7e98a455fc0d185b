"""What the registry does by itself: expiring leases, probing, protecting the list, writing renewals, forgetting."""

from collections.abc import Awaitable, Callable

import structlog

from zejzl_ray.contracts.orchestrator import Agent, AgentState
from zejzl_ray.errors import Unavailable
from zejzl_ray.orchestrator.batch import Batch, Decide
from zejzl_ray.orchestrator.config import RegistryConfig
from zejzl_ray.orchestrator.draft import Decision
from zejzl_ray.orchestrator.hysteresis import SignCounter
from zejzl_ray.orchestrator.liveness import Move, Moved, decide_forget, decide_moves, may_be_forgotten
from zejzl_ray.orchestrator.persistence import put_confirmation, put_renewals
from zejzl_ray.orchestrator.ports import ProbeOutcome, Prober
from zejzl_ray.orchestrator.probing import ProbeSchedule, ProbeTarget, probe_all, target_of
from zejzl_ray.orchestrator.protection import ProtectionGuard
from zejzl_ray.orchestrator.records import is_probed
from zejzl_ray.orchestrator.registry import Registry
from zejzl_ray.orchestrator.states import Cause

_log = structlog.get_logger(__name__)
_LEASES_PER_TICK = 20_000
_FORGOTTEN_AT_ONCE = 500


class Upkeep:
    """Keeps the states of agents true as time goes by.

    Args:
        registry: gives the committed registry of the moment.
        submit: has a decision committed, and returns its answer.
        prober: knocks at agents without lease.

    Attributes:
        alarm: why silent agents are held; empty when none are.
    """

    def __init__(
        self,
        registry: Callable[[], Registry],
        submit: Callable[[Decide], Awaitable[object]],
        prober: Prober,
        config: RegistryConfig,
    ) -> None:
        self._registry = registry
        self._submit = submit
        self._prober = prober
        self._config = config
        self._schedule = ProbeSchedule(config.probe_period_s)
        self._guard = ProtectionGuard(config)
        # live agents that should be lost, unless the protection holds them
        self._silent: dict[str, Move] = {}
        self._flush_due_s = 0.0
        self._forget_due_s = 0.0
        self._is_storing = True
        self.signs = SignCounter(config)
        self.alarm = ""

    def pending(self, agent: Agent) -> str:
        """Return what is being counted for an agent, in words."""
        move = self._silent.get(agent.name)
        if move is not None and self.alarm:
            return f"held by the protection: {move.reason}"
        return self.signs.pending(agent)

    def see_life(self, name: str) -> None:
        """Note that an agent was heard of."""
        self._silent.pop(name, None)

    def accept_losses(self) -> None:
        """Let the silent agents go with the next tick."""
        self._guard.accept()
        self.alarm = ""

    def committed(self, batch: Batch) -> None:
        """Bring schedule and counters in line with what was committed."""
        for name in batch.renewed:
            self._silent.pop(name, None)
        for change in batch.draft.changes:
            name, agent = change.name, change.agent
            # A lease that has run out comes up again with the next tick, whatever has changed.
            self._silent.pop(name, None)
            if agent is None or change.kind == "agent_registered":
                self.signs.forget(name)
            elif agent.state is not change.from_state:
                self.signs.moved(name)
            self._plan(name, agent, batch.now_s)

    def reloaded(self, now_s: float) -> None:
        """Start anew from what was loaded."""
        self._silent.clear()
        for agent in self._registry().agents():
            self._plan(agent.name, agent, now_s)

    def clock_was_set(self, now_s: float) -> None:
        """Forget what was due by the clock as it was."""
        self._guard = ProtectionGuard(self._config)
        self._schedule = ProbeSchedule(self._config.probe_period_s)
        self._flush_due_s = self._forget_due_s = 0.0
        self.reloaded(now_s)

    async def tick(self, now_s: float) -> None:
        """Do what is due: mark silent agents lost, write renewals, forget agents that are lost for long.

        A store that is away is no error here: what was not stored is tried again with the next tick.
        """
        self._collect_expired(now_s)
        verdict = self._guard.judge(tuple(self._silent), self._registry().live_count(), now_s)
        if bool(verdict.alarm) != bool(self.alarm):
            _log.warning("protection changed", alarm=verdict.alarm or "cleared")
        self.alarm = verdict.alarm
        if verdict.to_lose:
            moved = await self._try(
                lambda batch: decide_moves(
                    batch.draft,
                    # One that has registered again in this batch has renewed its lease, which no record shows yet.
                    [
                        self._silent[name]
                        for name in verdict.to_lose
                        if name in self._silent and name not in batch.renewed
                    ],
                    batch.now_s,
                )
            )
            if isinstance(moved, Moved):
                self._guard.lost(moved.count, now_s)
        if now_s >= self._forget_due_s:
            await self._forget(now_s)
        if now_s >= self._flush_due_s:
            self._flush_due_s = now_s + self._config.renewal_flush_s
            await self.flush()

    async def flush(self) -> None:
        """Write all renewals in one batch. Also shows that this writer is still the one, and the store there."""
        await self._try(
            lambda batch: Decision(Moved(count=0), ops=(put_renewals(self._registry().agents()),))
        )

    async def confirm(self) -> None:
        """Have a commit made.

        Raises:
            StoreUnavailable: the store did not take it.
            ServiceUnavailable: another instance has taken over.
        """
        await self._submit(_confirmation)

    async def look_at_store(self) -> None:
        """Find out whether the store is back, so that all goes on soon after that even where nobody calls."""
        await self._try(_confirmation)

    async def probe_round(self, now_s: float) -> int:
        """Probe the agents that are due, all at once within the set concurrency, and take note of the outcomes.

        Returns:
            How many agents were probed.
        """
        targets: list[ProbeTarget] = []
        registry = self._registry()
        for name in self._schedule.take_due(now_s, self._config.probes_per_round):
            agent = registry.agent(name)
            target = target_of(agent, registry.machines.address(agent.machine)) if agent is not None else None
            if target is not None:
                targets.append(target)
        if not targets:
            return 0
        outcomes = await probe_all(
            self._prober,
            targets,
            concurrency=self._config.probe_concurrency,
            timeout_s=self._config.probe_timeout_s,
        )
        moves = [
            move
            for name, outcome in outcomes.items()
            if (move := self._note_probe(name, outcome, now_s)) is not None
        ]
        if moves:
            await self._try(lambda batch: decide_moves(batch.draft, moves, batch.now_s))
        return len(targets)

    def _note_probe(self, name: str, outcome: ProbeOutcome, now_s: float) -> Move | None:
        registry = self._registry()
        agent = registry.agent(name)
        if agent is None or not is_probed(agent):  # removed, stopped or leased while the probe was under way
            return None
        cause = self.signs.see_probe(agent, outcome.is_answering, now_s)
        if outcome.is_answering:
            self.see_life(name)
            if cause is None:
                registry.renew(name, now_s)
        if cause is None:
            return None
        reason = (
            "answers probes" if outcome.is_answering else f"{self.signs.pending(agent)}: {outcome.reason}"
        )
        move = Move(name, cause, reason)
        if cause is Cause.SILENT_TOO_LONG:
            self._silent[name] = move
            return None
        return move

    def _collect_expired(self, now_s: float) -> None:
        registry = self._registry()
        for name in registry.leases.take_expired(now_s, _LEASES_PER_TICK):
            agent = registry.agent(name)
            if agent is None or agent.lease_s is None:
                continue
            seen_at_s = max(agent.last_seen_at_s or 0.0, agent.registered_at_s)
            reason = f"no heartbeat for {now_s - seen_at_s:.0f} s (lease {agent.lease_s:g} s)"
            self._silent[name] = Move(name, Cause.LEASE_EXPIRED, reason)

    async def _forget(self, now_s: float) -> None:
        self._forget_due_s = now_s + self._config.forget_period_s
        registry, lost_before_s = self._registry(), now_s - self._config.forget_lost_after_s
        names = [
            name
            for name in registry.by_state(AgentState.LOST).members
            if (agent := registry.agent(name)) is not None and may_be_forgotten(agent, lost_before_s)
        ][:_FORGOTTEN_AT_ONCE]
        if names:
            await self._try(
                lambda batch: decide_forget(batch.draft, sorted(names), lost_before_s, batch.now_s)
            )

    def _plan(self, name: str, agent: Agent | None, now_s: float) -> None:
        if agent is not None and is_probed(agent):
            self._schedule.add(name, now_s)
        else:
            self._schedule.drop(name)

    async def _try(self, decide: Decide) -> object:
        try:
            answer = await self._submit(decide)
        except (Unavailable, TimeoutError) as error:
            if self._is_storing:  # said once, and not with every tick of a long outage
                _log.warning("upkeep could not be stored", error=str(error))
            self._is_storing = False
            return None
        self._is_storing = True
        return answer


def _confirmation(batch: Batch) -> Decision:
    return Decision(Moved(count=0), ops=(put_confirmation(),))
