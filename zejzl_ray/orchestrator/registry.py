"""The registry as committed: agents by name, and every index that a look-up needs.

Reads see this and nothing else. Commands are decided on a ``Draft`` over it (``draft.py``) and come back as
changes.
"""

from collections.abc import Iterable, Mapping, Sequence

from zejzl_ray.contracts.machines import Machine
from zejzl_ray.contracts.orchestrator import Agent, AgentKind, AgentState
from zejzl_ray.orchestrator.agent_indexes import AgentIndexes
from zejzl_ray.orchestrator.changes import Change
from zejzl_ray.orchestrator.history import History, LogSpan
from zejzl_ray.orchestrator.indexes import NameGroup
from zejzl_ray.orchestrator.leases import LeaseTable
from zejzl_ray.orchestrator.machines import MachineTable
from zejzl_ray.orchestrator.quiet_gc import BULK, held_back
from zejzl_ray.orchestrator.records import changed, lease_end_s
from zejzl_ray.orchestrator.states import LIVE


class Registry:
    """All agents and machines at one revision.

    Args:
        history_length: changes to keep for watchers.
        machine_alive_s: how long after its last report a machine counts as alive.
    """

    def __init__(self, *, history_length: int = 10_000, machine_alive_s: float = 6.0) -> None:
        self.revision = 0
        self.history = History(history_length)
        self.leases = LeaseTable()
        self.machines = MachineTable(machine_alive_s)
        # wall time; until then another instance may have renewed leases that this one knows nothing of
        self._shared_until_s = 0.0
        self._agents: dict[str, Agent] = {}
        self._indexes = AgentIndexes(self._agents)

    # --- reads -----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return the number of agents."""
        return len(self._agents)

    def agent(self, name: str) -> Agent | None:
        """Return the record of this name, the stored object itself; None when unknown."""
        return self._agents.get(name)

    def resolve(self, name: str) -> Agent | None:
        """Return the record of this name or alias; a name goes before an alias."""
        agent = self._agents.get(name)
        if agent is None and (holders := self._indexes.aliases.holders(name)):
            agent = self._agents[holders[0]]
        return agent

    def agents(self) -> Iterable[Agent]:
        """Return all records, in no order; valid until the next change."""
        return self._agents.values()

    def alias_holders(self, alias: str) -> tuple[str, ...]:
        """Return the names of agents with this alias, the one it resolves to first."""
        return self._indexes.aliases.holders(alias)

    def endpoint_holders(self, key: str) -> tuple[str, ...]:
        """Return the names of agents with this endpoint key."""
        return self._indexes.endpoints.holders(key)

    @property
    def names(self) -> NameGroup:
        """All names."""
        return self._indexes.names

    def by_machine(self, machine: str) -> NameGroup:
        """Return the agents on a machine."""
        return self._indexes.machine.group(machine)

    def by_capability(self, capability: str) -> NameGroup:
        """Return the agents with a capability."""
        return self._indexes.capability.group(capability)

    def by_type(self, agent_type: str) -> NameGroup:
        """Return the agents of a type."""
        return self._indexes.agent_type.group(agent_type)

    def by_kind(self, kind: AgentKind) -> NameGroup:
        """Return the agents of a kind."""
        return self._indexes.kind.group(kind.value)

    def by_state(self, state: AgentState) -> NameGroup:
        """Return the agents in a state."""
        return self._indexes.state.group(state.value)

    def by_metadata(self, key: str, text: str | None = None) -> NameGroup:
        """Return the agents with a metadata key, and those only whose value reads as ``text`` where one is given."""
        return self._indexes.metadata.group(key, text)

    def live_count(self) -> int:
        """Return how many agents count as there."""
        return sum(len(self._indexes.state.group(state.value)) for state in LIVE)

    # --- changes ---------------------------------------------------------------------------------------------

    def apply(self, span: LogSpan, changes: Sequence[Change], trim_through: int = 0) -> None:
        """Take over committed changes, which follow the current revision.

        Args:
            span: the log entry that they were committed as.
            changes: in the order of their revisions.
            trim_through: history up to this log index was forgotten with the same commit.
        """
        if len(changes) > BULK:
            self._indexes.forget_order()
        with held_back(len(changes) > BULK):
            for change in changes:
                self.put(change.name, change.agent)
            if changes:
                self.revision = changes[-1].revision
                self.history.add(span, changes)
        if trim_through:
            self.history.trim(trim_through)

    def put(self, name: str, agent: Agent | None) -> None:
        """Replace or remove one record and bring every index up to date. For ``apply`` and for loading."""
        before = self._agents.get(name)
        if agent is None:
            self._agents.pop(name, None)
            self.leases.drop(name)
        else:
            if before is not None and (before.last_seen_at_s or 0.0) > (agent.last_seen_at_s or 0.0):
                # renewed in memory while the change was on its way to the store
                agent = changed(agent, last_seen_at_s=before.last_seen_at_s)
            if agent.lease_expires_at_s is not None:
                least_s = self._shared_until_s + (agent.lease_s or 0.0)
                if agent.lease_expires_at_s < least_s:
                    agent = changed(agent, lease_expires_at_s=least_s)
                self.leases.set(name, agent.lease_expires_at_s or least_s)
            else:
                self.leases.drop(name)
            self._agents[name] = agent
        self._indexes.replace(before, agent)

    def renew(self, name: str, now_s: float, reason: str | None = None) -> Agent | None:
        """Note a sign of life in memory: later ``last_seen_at_s`` and lease end, same revision.

        Returns:
            The new record; None when the agent is unknown.
        """
        agent = self._agents.get(name)
        if agent is None:
            return None
        end_at_s = lease_end_s(agent.state, agent.lease_s, max(now_s, self._shared_until_s))
        renewed = changed(
            agent,
            last_seen_at_s=now_s,
            lease_expires_at_s=end_at_s,
            reason=agent.reason if reason is None else reason,
        )
        self._agents[name] = renewed
        if end_at_s is not None:
            self.leases.set(name, end_at_s)
        return renewed

    def grant_grace(self, now_s: float, shared_s: float = 0.0) -> None:
        """Let every running lease run for one full period from now: nobody is lost because the registry was away.

        Also when the clock was set, so the ends may be earlier than before.

        Args:
            now_s: wall time.
            shared_s: how long from now on the instance before this one may go on renewing leases: no lease ends
                before a period from then is over.
        """
        self.leases = LeaseTable()
        self._shared_until_s = now_s + shared_s if shared_s else 0.0
        for name, agent in list(self._agents.items()):
            end_at_s = lease_end_s(agent.state, agent.lease_s, now_s + shared_s)
            if end_at_s != agent.lease_expires_at_s:
                self._agents[name] = changed(agent, lease_expires_at_s=end_at_s)
            if end_at_s is not None:
                self.leases.set(name, end_at_s)

    def restore_seen(self, seen: Mapping[str, float]) -> None:
        """Take over stored renewals: agent name -> when it was last seen; older ones change nothing."""
        for name, seen_at_s in seen.items():
            agent = self._agents.get(name)
            if agent is not None and seen_at_s > (agent.last_seen_at_s or 0.0):
                self._agents[name] = changed(agent, last_seen_at_s=seen_at_s)

    def restore_machines(self, machines: Iterable[Machine]) -> None:
        """Take over stored machines."""
        for machine in machines:
            self.machines.put(machine)

    # --- checks ----------------------------------------------------------------------------------------------

    def validate(self) -> None:
        """Check that every index says what the records say; raises ``AssertionError`` where not. For tests."""
        agents = self._agents
        assert all(name == agent.name for name, agent in agents.items())
        self._indexes.validate()
        leased = {
            name: agent.lease_expires_at_s
            for name, agent in agents.items()
            if agent.lease_expires_at_s is not None
        }
        assert self.leases.ends() == leased
        for agent in agents.values():
            assert (agent.lease_expires_at_s is not None) == (
                agent.lease_s is not None and agent.state in LIVE
            ), agent
            assert agent.revision <= self.revision
        self.history.validate()
        assert self.history.oldest_revision(self.revision) + len(self.history) == self.revision + 1
