"""core_orchestrator: the registry of agents and machines, as a service without Ray.

The pattern of all five services: load, then one command after the other - decide, commit, answer. Read this
file from the top; each import is one idea in one file.
"""

import asyncio
import os
from typing import Any, TypeVar

import structlog

from zejzl_ray.clock import Clock
from zejzl_ray.commands.group_writer import GroupWriter
from zejzl_ray.commands.readiness import Condition, degraded_or_ok, judge_health
from zejzl_ray.commands.repeats import RequestKey, key_of, require_same
from zejzl_ray.commands.serving import not_serving, tick_until
from zejzl_ray.commands.watchers import Watchers
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.machines import Machine, ReportMachine
from zejzl_ray.contracts.orchestrator import (
    SERVICE,
    AcceptLosses,
    Agent,
    AgentDeregistered,
    AgentsRegistered,
    DeclareFleet,
    DeregisterAgent,
    FleetDeclared,
    Heartbeat,
    HeartbeatAccepted,
    RegisterAgent,
    RegisterAgents,
    RegistryStatus,
    UpdateAgent,
)
from zejzl_ray.errors import DeadlineExceeded
from zejzl_ray.orchestrator.answers import RegistryAnswers
from zejzl_ray.orchestrator.batch import Batch, Decide
from zejzl_ray.orchestrator.clock_jump import ClockJump
from zejzl_ray.orchestrator.config import RegistryConfig
from zejzl_ray.orchestrator.confirmation import Confirmation
from zejzl_ray.orchestrator.fleet import decide_declare_fleet
from zejzl_ray.orchestrator.held_name import check_still_holds
from zejzl_ray.orchestrator.journal import Journal
from zejzl_ray.orchestrator.liveness import accepted, decide_heartbeat, heartbeat_reason, refuse_stopped
from zejzl_ray.orchestrator.persistence import decode_reply
from zejzl_ray.orchestrator.ports import Prober, Publisher
from zejzl_ray.orchestrator.queries import find_agent, get_status
from zejzl_ray.orchestrator.registration import (
    decide_deregister,
    decide_register,
    decide_register_many,
    decide_update,
)
from zejzl_ray.orchestrator.states import Cause, next_state
from zejzl_ray.orchestrator.suggest import unknown_agent
from zejzl_ray.orchestrator.tcp_prober import TcpProber
from zejzl_ray.orchestrator.upkeep import Upkeep
from zejzl_ray.store.protocol import Store

R = TypeVar("R", bound=Contract)
_log = structlog.get_logger(__name__)


class CoreOrchestrator(RegistryAnswers):
    """The registry.

    When a command returns, it is durable under the store's policy, and look-ups and watchers see it. When it
    raises, it has changed nothing, except for ``StoreUnavailable`` and ``DeadlineExceeded``: then it may
    still take effect, and repeating it with the same ``request_id`` is safe and returns the same answer.
    Heartbeats that change no state are kept in memory and written in batches, and refused while the store does not
    confirm that this is still the registry (``Confirmation``). After a restart, and when the wall clock was set, every
    lease runs for one full period.

    Look-ups see committed state only and never wait for the store. Watchers get every change once, in order.

    Args:
        store: the registry's own namespace; the caller closes it after ``stop``.
        publisher: gets the events of every commit.
        prober: knocks at agents without lease; by default a TCP connection.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        config: RegistryConfig | None = None,
        *,
        publisher: Publisher | None = None,
        prober: Prober | None = None,
    ) -> None:
        self._config = config or RegistryConfig()
        self._publisher = publisher
        journal = Journal(store, clock, self._config, self)
        self._writer: GroupWriter[Batch] = GroupWriter(
            journal, max_queue=self._config.max_queue, max_batch=self._config.max_batch
        )
        upkeep = Upkeep(lambda: journal.registry, self._submit, prober or TcpProber(), self._config)
        super().__init__(journal, upkeep, Watchers(self._config.max_watchers), clock)
        self._confirmation = Confirmation(
            lambda: journal.confirmed_s_ago, upkeep.confirm, self._config.confirmed_within_s
        )
        # agent name -> its last heartbeat that changed no state
        self._last_beats: dict[str, RequestKey] = {}
        self._started_at_s = 0.0
        self._ticked_at_s: float | None = None
        self._clock_jump = ClockJump(clock)

    # --- life ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Become the writer, load the state and begin to answer.

        Raises:
            StoreUnavailable: the store cannot be reached; safe to call again.
            StoreError: something stored cannot be read by this version.
        """
        await self._journal.open()
        self._started_at_s = self._clock.now_s()
        self._is_serving = True

    async def stop(self) -> None:
        """Finish what waits, write the renewals and refuse everything from now on; safe to repeat."""
        if self._is_serving and not self.is_fenced:
            await self._upkeep.flush()
        self._is_serving = False
        await self._writer.close(not_serving(SERVICE), self._config.commit_timeout_s)
        self._watchers.wake()

    async def run(self, stop_event: asyncio.Event) -> None:
        """Tick and probe until ``stop_event`` is set or another instance has taken over."""
        async with asyncio.TaskGroup() as group:
            for work in (self.tick, self.probe_round):
                group.create_task(tick_until(stop_event, self._config.tick_s, work, lambda: self.is_fenced))

    async def tick(self, now_s: float | None = None) -> None:
        """Do what is due by now: expire leases, protect the list, write renewals. Called about once a second."""
        if not self._is_serving or self.is_fenced:
            return
        read_s, set_by_s = self._clock_jump.read()
        at_s = read_s if now_s is None else now_s
        if set_by_s:
            _log.warning("the clock was set; every lease runs for one full period", by_s=round(set_by_s, 1))
            self.registry.grant_grace(at_s, self._journal.shared_s)
            self._upkeep.clock_was_set(at_s)
        if self._journal.fault:
            await self._upkeep.look_at_store()
        await self._upkeep.tick(at_s)
        self._ticked_at_s = at_s

    async def probe_round(self, now_s: float | None = None) -> None:
        """Probe the agents without lease that are due by now, and wait for the outcomes."""
        if self._is_serving and not self.is_fenced:
            await self._upkeep.probe_round(self._clock.now_s() if now_s is None else now_s)

    # --- commands --------------------------------------------------------------------------------------------

    async def register_agent(self, request: RegisterAgent, call: CallContext) -> Agent:
        """Register an agent or replace its record. The same registration again only renews the lease.

        Raises:
            AgentExists: ``is_new_required`` and the name is taken.
            AgentHeld: another process holds it.
            Conflict: a live agent has the endpoint, or an agent has the alias.
            InvalidInput: host or ports cannot be used.
            PayloadTooLarge: metadata above the limit.
            NoCapacity: too many agents.
        """
        return await self._command(
            "register_agent",
            request,
            call,
            Agent,
            lambda batch: decide_register(batch.draft, request, batch.now_s, self._config),
        )

    async def register_agents(self, request: RegisterAgents, call: CallContext) -> AgentsRegistered:
        """Register many agents in one commit, all or none; errors as ``register_agent``."""
        return await self._command(
            "register_agents",
            request,
            call,
            AgentsRegistered,
            lambda batch: decide_register_many(batch.draft, request, batch.now_s, self._config),
        )

    async def declare_fleet(self, request: DeclareFleet, call: CallContext) -> FleetDeclared:
        """Take over what the fleet file declares; see ``fleet.decide_declare_fleet`` for the rules."""
        return await self._command(
            "declare_fleet",
            request,
            call,
            FleetDeclared,
            lambda batch: decide_declare_fleet(batch.draft, request, batch.now_s, self._config),
        )

    async def update_agent(self, request: UpdateAgent, call: CallContext) -> Agent:
        """Change some fields of an agent.

        Raises:
            AgentNotFound: no agent of this name.
            VersionConflict: the record changed since ``expected_revision``.
            Conflict, InvalidInput, PayloadTooLarge: as ``register_agent``.
        """
        return await self._command(
            "update_agent",
            request,
            call,
            Agent,
            lambda batch: decide_update(batch.draft, request, batch.now_s, self._config),
        )

    async def deregister_agent(self, request: DeregisterAgent, call: CallContext) -> AgentDeregistered:
        """Remove an agent on purpose, by name or alias; removing one that is not there is no error."""
        return await self._command(
            "deregister_agent",
            request,
            call,
            AgentDeregistered,
            lambda batch: decide_deregister(batch.draft, request, batch.now_s),
        )

    async def heartbeat(self, request: Heartbeat, call: CallContext) -> HeartbeatAccepted:
        """Renew a lease and say how the agent is; by name or alias.

        Only a heartbeat that changes the state waits for the store, as long as that takes commits.

        Raises:
            StoreUnavailable: the store does not say whether this is still the registry; the lease runs on to its end.
            AgentNotFound: register first, or another process holds the agent.
            Conflict: the agent was removed on purpose, or comes back while another live agent has its
                endpoint; register again.
        """
        self._require_ready()
        if self._confirmation.is_due:
            try:
                await self._confirmation.require()
            finally:
                self._require_ready()  # another instance may have taken over, which says more
        agent = find_agent(self.registry, request.name)
        check_still_holds(agent, request.held_by)
        key = key_of("heartbeat", request)
        last = self._last_beats.get(agent.name)
        if last is not None and last.request_id == key.request_id:
            require_same(last, key)
            return accepted(agent)
        if (answer := self._journal.repeats.find(key)) is not None:
            return _typed(decode_reply(answer), HeartbeatAccepted)
        cause = self._upkeep.signs.see_heartbeat(agent, request.status)
        state = next_state(agent.state, cause)
        if state is None:
            raise refuse_stopped(agent)
        self._upkeep.see_life(agent.name)
        if state is agent.state and not self._journal.is_changing(agent.name):
            self._last_beats[agent.name] = key
            is_counting = cause is not Cause.RECOVERED and state.value != request.status.value
            reason = None if is_counting else heartbeat_reason(request)
            renewed = self.registry.renew(agent.name, self._clock.now_s(), reason)
            return accepted(renewed or agent)

        def decide(batch: Batch) -> Any:
            current = batch.draft.resolve(request.name)
            if current is None:
                raise unknown_agent(request.name, self.registry.names.ordered())
            check_still_holds(current, request.held_by)
            return decide_heartbeat(batch.draft, current, request, cause, batch.now_s)

        return await self._command("heartbeat", request, call, HeartbeatAccepted, decide)

    async def report_machine(self, request: ReportMachine, call: CallContext) -> Machine:
        """Take a machine's report. Stored when the machine is new, was away or has other hardware than before.

        Raises:
            Conflict: a live machine already has one of the cards.
            NoCapacity: too many machines.
        """
        self._require_ready()
        machines, now_s = self.registry.machines, self._clock.now_s()
        if not machines.needs_commit(request.snapshot, now_s):
            return machines.refresh(request.snapshot, now_s)
        return await self._command(
            "report_machine",
            request,
            call,
            Machine,
            lambda batch: self.registry.machines.decide_report(
                request, batch.machines, batch.now_s, self._config.max_machines
            ),
        )

    async def accept_losses(self, request: AcceptLosses, call: CallContext) -> RegistryStatus:
        """Let the protection go; the agents that it holds are marked lost before the answer."""
        self._require_ready()
        self._upkeep.accept_losses()
        await self._upkeep.tick(self._clock.now_s())
        return get_status(self.registry, self._upkeep.alarm)

    # --- health ----------------------------------------------------------------------------------------------

    async def health(self, request: GetHealth, call: CallContext) -> ServiceHealth:
        """Return how the service is, with reasons; answers in every condition."""
        return judge_health(
            Condition(
                is_serving=self._is_serving,
                is_fenced=self.is_fenced,
                store_fault=self._journal.fault,
                store_weakness=self._journal.weakness,
                commit_s=self._journal.commit_s,
                queued=len(self._writer),
                max_queue=self._config.max_queue,
                ticked_at_s=self._ticked_at_s,
                tick_s=self._config.tick_s,
                now_s=self._clock.now_s(),
                further=(degraded_or_ok("protection", self._upkeep.alarm),),
            ),
            service=SERVICE,
            epoch=self._journal.epoch,
            pid=os.getpid(),
            started_at_s=self._started_at_s,
        )

    # --- after a commit (Listener of the journal) ------------------------------------------------------------

    def committed(self, batch: Batch) -> None:
        """Tell upkeep, watchers and publisher what was committed."""
        changes = batch.draft.changes
        self._upkeep.committed(batch)
        for change in changes:
            if change.agent is None:
                self._last_beats.pop(change.name, None)
        if changes:
            self._watchers.wake()
            self._publish(changes[0].revision - 1)

    def reloaded(self, from_revision: int) -> None:
        """Tell upkeep, watchers and publisher that the state was read anew."""
        self._upkeep.reloaded(self._clock.now_s())
        self._watchers.wake()
        if self._is_serving and self.registry.revision > from_revision:
            self._publish(from_revision)

    def _publish(self, after_revision: int) -> None:
        if self._publisher is None:
            return
        registry = self.registry
        changes = registry.history.after(after_revision, len(registry.history), registry.revision)
        try:
            self._publisher.publish([change.to_event() for change in changes])
        except Exception:  # a subscriber's fault must not undo what is committed
            _log.exception("publisher failed")

    # --- the way of a command --------------------------------------------------------------------------------

    async def _command(
        self, operation: str, request: Any, call: CallContext, reply: type[R], decide: Decide
    ) -> R:
        """Have a command decided and committed once, however often it is sent."""
        self._require_ready()
        key = key_of(operation, request)
        if (answer := self._journal.repeats.find(key)) is not None:
            return _typed(decode_reply(answer), reply)
        timeout_s = self._config.command_timeout_s
        if call.deadline_at_s is not None:
            timeout_s = min(timeout_s, call.deadline_at_s - self._clock.now_s())
            if timeout_s <= 0:
                raise DeadlineExceeded(f"The deadline of {operation} was over when it arrived.")
        try:
            return _typed(await self._writer.submit(lambda batch: batch.run(decide, key), timeout_s), reply)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{operation} was not committed within {timeout_s:.1f} s.",
                "It may still take effect; repeat it with the same request_id.",
            ) from None

    async def _submit(self, decide: Decide) -> object:
        return await self._writer.submit(lambda batch: batch.run(decide), self._config.command_timeout_s)


def _typed(reply: object, expected: type[R]) -> R:
    if not isinstance(reply, expected):
        raise TypeError(f"{type(reply).__name__} is not the reply {expected.__name__}")
    return reply
