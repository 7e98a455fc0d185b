"""What the registry will be once the commands of this commit are stored.

Commands are decided on a draft, one after the other, so that each sees what the ones before it did. Reads
keep seeing the committed registry. When the store refuses, the draft is thrown away and nothing has to be
undone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.machines import Machine
from zejzl_ray.contracts.orchestrator import Agent
from zejzl_ray.orchestrator.changes import Change
from zejzl_ray.orchestrator.endpoint import agent_endpoint_keys
from zejzl_ray.store.protocol import Op


@dataclass(frozen=True, slots=True)
class Decision:
    """What a command leads to. Deciding changes nothing; the service commits and applies it.

    Attributes:
        reply: the answer, once the decision is committed.
        changes: in the order of their revisions, which follow each other without gaps.
        renewed: agents that have shown life besides.
        machine: a machine record to store.
        ops: other things to store.
        draft: where the changes were tried, so that they need not be laid over the batch one by one again.
    """

    reply: Contract
    changes: tuple[Change, ...] = ()
    renewed: tuple[str, ...] = ()
    machine: Machine | None = None
    ops: tuple[Op, ...] = ()
    draft: "Draft | None" = None


class View(Protocol):
    """What decisions read: the committed registry or a draft over it."""

    @property
    def revision(self) -> int:
        """Revision of the last change."""
        ...

    def __len__(self) -> int:
        """Return the number of agents."""
        ...

    def agent(self, name: str) -> Agent | None:
        """Return the record of this name."""
        ...

    def agents(self) -> Iterable[Agent]:
        """Return all records, in no order."""
        ...

    def alias_holders(self, alias: str) -> tuple[str, ...]:
        """Return the names of agents with this alias."""
        ...

    def endpoint_holders(self, key: str) -> tuple[str, ...]:
        """Return the names of agents with this endpoint key."""
        ...


class Draft:
    """A view that lays decided changes over another view."""

    def __init__(self, base: View) -> None:
        self._base = base
        self._revision = base.revision
        self._count = len(base)
        # name -> record after the changes; None: forgotten
        self._agents: dict[str, Agent | None] = {}
        self._aliases: dict[str, list[str]] = {}
        self._endpoints: dict[str, list[str]] = {}
        self.changes: list[Change] = []
        self._origin: Draft | None = None

    @property
    def revision(self) -> int:
        """Revision of the last change."""
        return self._revision

    def __len__(self) -> int:
        """Return the number of agents."""
        return self._count

    def fork(self) -> "Draft":
        """Return a draft over this one, to try several changes that must all succeed."""
        trial = Draft(self._base if not self.changes else self)
        trial._origin = self
        return trial

    def touches(self, name: str) -> bool:
        """Tell whether the draft changes this agent."""
        return name in self._agents

    def agent(self, name: str) -> Agent | None:
        """Return the record of this name."""
        drafted = self._agents
        return drafted[name] if name in drafted else self._base.agent(name)

    def resolve(self, name: str) -> Agent | None:
        """Return the record of this name or alias; a name goes before an alias."""
        agent = self.agent(name)
        if agent is None and (holders := self.alias_holders(name)):
            agent = self.agent(holders[0])
        return agent

    def agents(self) -> Iterator[Agent]:
        """Return all records, in no order."""
        for agent in self._base.agents():
            if agent.name not in self._agents:
                yield agent
        for drafted in self._agents.values():
            if drafted is not None:
                yield drafted

    def alias_holders(self, alias: str) -> tuple[str, ...]:
        """Return the names of agents with this alias."""
        names = (*self._base.alias_holders(alias), *self._aliases.get(alias, ()))
        return tuple(
            dict.fromkeys(n for n in names if (a := self.agent(n)) is not None and alias in a.aliases)
        )

    def endpoint_holders(self, key: str) -> tuple[str, ...]:
        """Return the names of agents with this endpoint key."""
        base, drafted = self._base.endpoint_holders(key), self._endpoints.get(key)
        if not base and drafted is None:
            return ()
        names = dict.fromkeys((*base, *(drafted or ())))
        return tuple(n for n in names if (a := self.agent(n)) is not None and key in agent_endpoint_keys(a))

    def record(self, decision: Decision) -> None:
        """Lay the changes of a decision over what is there."""
        tried = decision.draft
        if tried is None or tried._origin is not self:
            for change in decision.changes:
                self.record_change(change)
            return
        self._agents.update(tried._agents)
        self._revision, self._count = tried._revision, tried._count
        self.changes += tried.changes
        for mine, theirs in ((self._aliases, tried._aliases), (self._endpoints, tried._endpoints)):
            if not mine:
                mine.update(theirs)
                continue
            for key, names in theirs.items():
                mine.setdefault(key, []).extend(names)

    def record_change(self, change: Change) -> None:
        """Lay one change over what is there."""
        name, agent = change.name, change.agent
        self._count += (agent is not None) - (change.from_state is not None)
        self._agents[name] = agent
        self._revision = change.revision
        self.changes.append(change)
        if agent is None:
            return
        for alias in agent.aliases:
            self._aliases.setdefault(alias, []).append(name)
        for key in agent_endpoint_keys(agent):
            self._endpoints.setdefault(key, []).append(name)
