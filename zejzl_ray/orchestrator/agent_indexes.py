"""Every way to find agents other than by name."""

from collections.abc import Mapping
from typing import Any

from zejzl_ray.contracts.orchestrator import Agent
from zejzl_ray.orchestrator.endpoint import agent_endpoint_keys
from zejzl_ray.orchestrator.indexes import Claims, GroupIndex, NameGroup
from zejzl_ray.orchestrator.metadata_index import MetadataIndex


class AgentIndexes:
    """All indexes over one set of records.

    Args:
        agents: name -> record, as the registry keeps it; to be changed before ``replace`` is called.

    Attributes:
        aliases: alias -> the agents that have it, the one it resolves to first.
        endpoints: endpoint key -> the agents that listen there.
    """

    def __init__(self, agents: Mapping[str, Agent]) -> None:
        self._agents = agents
        self.names = NameGroup()
        self.aliases = Claims()
        self.endpoints = Claims()
        self.machine: GroupIndex[str] = GroupIndex()
        self.capability: GroupIndex[str] = GroupIndex()
        self.agent_type: GroupIndex[str] = GroupIndex()
        self.kind: GroupIndex[str] = GroupIndex()
        self.state: GroupIndex[str] = GroupIndex()
        self.metadata = MetadataIndex(agents)

    def replace(self, before: Agent | None, after: Agent | None) -> None:
        """Bring all indexes in line with a change of one record; None: there was, or is, no record."""
        if before is None and after is not None:
            self._add(after)
        elif before is not None and after is None:
            self._discard(before)
        elif before is not None and after is not None:
            self._move(before, after)
        self.metadata.replace(before, after)

    def forget_order(self) -> None:
        """Drop all orders before many changes; each is made again when it is read."""
        self.names.forget_order()
        self.machine.forget_order()
        self.capability.forget_order()
        self.agent_type.forget_order()
        self.kind.forget_order()
        self.state.forget_order()
        self.metadata.forget_order()

    def validate(self) -> None:
        """Check every index against the records."""
        agents = self._agents
        assert self.names.members == set(agents)
        assert self.names.ordered() == sorted(agents)
        records = agents.values()
        _same(self.machine, {(agent.machine, agent.name) for agent in records})
        _same(self.agent_type, {(agent.agent_type, agent.name) for agent in records})
        _same(self.kind, {(agent.kind.value, agent.name) for agent in records})
        _same(self.state, {(agent.state.value, agent.name) for agent in records})
        _same(self.capability, {(key, agent.name) for agent in records for key in agent.capabilities})
        assert self.aliases.as_pairs() == {(key, agent.name) for agent in records for key in agent.aliases}
        assert self.endpoints.as_pairs() == {
            (key, agent.name) for agent in records for key in agent_endpoint_keys(agent)
        }
        self.metadata.validate()

    # The three below are written out, and kinds and states are keyed by ``_value_`` (enum members hash
    # slowly): this is much of what a bulk registration costs.

    def _add(self, agent: Agent) -> None:
        name = agent.name
        self.names.add(name)
        self.machine.add(agent.machine, name)
        self.agent_type.add(agent.agent_type, name)
        self.kind.add(agent.kind._value_, name)
        self.state.add(agent.state._value_, name)
        for capability in agent.capabilities:
            self.capability.add(capability, name)
        for alias in agent.aliases:
            self.aliases.add(alias, name)
        for key in agent_endpoint_keys(agent):
            self.endpoints.add(key, name)

    def _discard(self, agent: Agent) -> None:
        name = agent.name
        self.names.discard(name)
        self.machine.discard(agent.machine, name)
        self.agent_type.discard(agent.agent_type, name)
        self.kind.discard(agent.kind._value_, name)
        self.state.discard(agent.state._value_, name)
        for capability in agent.capabilities:
            self.capability.discard(capability, name)
        for alias in agent.aliases:
            self.aliases.discard(alias, name)
        for key in agent_endpoint_keys(agent):
            self.endpoints.discard(key, name)

    def _move(self, before: Agent, after: Agent) -> None:
        # What stays the same is not touched: an alias keeps its first holder, an order needs no repair.
        name = after.name
        if before.state is not after.state:
            self.state.discard(before.state._value_, name)
            self.state.add(after.state._value_, name)
        if before.machine != after.machine:
            self.machine.discard(before.machine, name)
            self.machine.add(after.machine, name)
        if before.agent_type != after.agent_type:
            self.agent_type.discard(before.agent_type, name)
            self.agent_type.add(after.agent_type, name)
        if before.kind is not after.kind:
            self.kind.discard(before.kind._value_, name)
            self.kind.add(after.kind._value_, name)
        if before.capabilities != after.capabilities:
            for capability in before.capabilities:
                self.capability.discard(capability, name)
            for capability in after.capabilities:
                self.capability.add(capability, name)
        _reclaim(self.aliases, name, before.aliases, after.aliases)
        _reclaim(self.endpoints, name, agent_endpoint_keys(before), agent_endpoint_keys(after))


def _reclaim(claims: Claims, name: str, before: tuple[str, ...], after: tuple[str, ...]) -> None:
    if before != after:
        for key in before:
            if key not in after:
                claims.discard(key, name)
        for key in after:
            claims.add(key, name)


def _same(index: GroupIndex[Any], pairs: set[tuple[Any, str]]) -> None:
    found = {(key, name) for key, names in index.as_sets().items() for name in names}
    assert found == pairs, found ^ pairs
