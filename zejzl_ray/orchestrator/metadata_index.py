"""Finding agents by their free-form metadata."""

from collections.abc import Mapping
from typing import Final

from zejzl_ray.contracts.orchestrator import Agent
from zejzl_ray.orchestrator.indexes import GroupIndex, NameGroup
from zejzl_ray.orchestrator.records import text_of

# Longer values are found through their key and compared one by one.
_LONGEST_INDEXED_TEXT: Final = 128


class MetadataIndex:
    """Metadata key, and key with value as text, -> the agents that have it.

    Made at the first question and kept up to date from then on: a fleet that never asks does not pay for it.

    Args:
        agents: name -> record, as the registry keeps it.
    """

    def __init__(self, agents: Mapping[str, Agent]) -> None:
        self._agents = agents
        self._keys: GroupIndex[str] = GroupIndex()
        self._texts: GroupIndex[tuple[str, str]] = GroupIndex()
        self._is_made = False

    def group(self, key: str, text: str | None) -> NameGroup:
        """Return the agents with a key, or only those whose value reads as ``text``."""
        if not self._is_made:
            self._is_made = True
            for agent in self._agents.values():
                self._add(agent)
        if text is None:
            return self._keys.group(key)
        if len(text) <= _LONGEST_INDEXED_TEXT:
            return self._texts.group((key, text))
        having = self._keys.group(key).members
        return NameGroup(*(name for name in having if text_of(self._agents[name].metadata[key]) == text))

    def replace(self, before: Agent | None, after: Agent | None) -> None:
        """Bring the index in line with a change of one record."""
        if not self._is_made:
            return
        if before is not None and after is not None and before.metadata == after.metadata:
            return
        if before is not None:
            for key, value in before.metadata.items():
                self._keys.discard(key, before.name)
                self._texts.discard((key, text_of(value)), before.name)
        if after is not None:
            self._add(after)

    def forget_order(self) -> None:
        """Drop all orders before many changes."""
        self._keys.forget_order()
        self._texts.forget_order()

    def validate(self) -> None:
        """Check the index against the records."""
        if not self._is_made:
            return
        fresh = MetadataIndex(self._agents)
        fresh.group("", None)
        assert fresh._keys.as_sets() == self._keys.as_sets()
        assert fresh._texts.as_sets() == self._texts.as_sets()

    def _add(self, agent: Agent) -> None:
        for key, value in agent.metadata.items():
            self._keys.add(key, agent.name)
            text = text_of(value)
            if len(text) <= _LONGEST_INDEXED_TEXT:
                self._texts.add((key, text), agent.name)
