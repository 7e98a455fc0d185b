"""A copy of the registry in memory: look-up, filters and pages without a call. Pure data, no waiting."""

import base64
import binascii
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from zejzl_ray.contracts.orchestrator import Agent, AgentEvent, ListAgents, RegistrySnapshot
from zejzl_ray.errors import InvalidInput
from zejzl_ray.ids import NAME_REGEX
from zejzl_ray.orchestrator.records import text_of

_INDEXED: Final = ("machine", "capability", "agent_type", "kind", "state")
_CURSOR_PREFIX: Final = "1:"


class RegistryCopy:
    """All agents at one revision, by name, by alias and by the filters of ``ListAgents``.

    Serialised records are made at the first read of a record and kept until it changes.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.boot = ""
        # name -> record
        self._agents: dict[str, Agent] = {}
        # all names, ascending
        self._names: list[str] = []
        # alias -> name
        self._aliases: dict[str, str] = {}
        # name -> JSON of the record; a subset of the names
        self._bodies: dict[str, bytes] = {}
        # (filter, value) -> names; no empty sets
        self._index: dict[tuple[str, str], set[str]] = {}

    def __len__(self) -> int:
        """Return the number of agents."""
        return len(self._agents)

    @property
    def names(self) -> Sequence[str]:
        """All names, ascending; not to be changed."""
        return self._names

    def agents(self) -> Iterable[Agent]:
        """Return all records, in no particular order."""
        return self._agents.values()

    def load(self, snapshot: RegistrySnapshot) -> None:
        """Replace everything by a snapshot."""
        self._agents, self._names, self._aliases, self._bodies, self._index = {}, [], {}, {}, {}
        for agent in snapshot.agents:
            self._agents[agent.name] = agent
            self._add_to_index(agent)
        self._names = sorted(self._agents)
        self.revision = snapshot.revision
        self.boot = snapshot.boot

    def apply(self, events: Iterable[AgentEvent]) -> None:
        """Take over changes, in order; those up to the revision before the call are skipped."""
        known = self.revision
        for event in events:
            if event.revision <= known:
                continue
            self._remove(event.name)
            if event.agent is not None:
                self._agents[event.name] = event.agent
                insort(self._names, event.name)
                self._add_to_index(event.agent)
            self.revision = event.revision

    def renew(self, agents: Iterable[Agent]) -> None:
        """Take over renewal times of records that are otherwise the same; no revision changes."""
        for agent in agents:
            current = self._agents.get(agent.name)
            if current is not None and current.revision == agent.revision and current != agent:
                self._agents[agent.name] = agent
                self._bodies.pop(agent.name, None)

    def find(self, name: str) -> Agent | None:
        """Return the record of a name or alias."""
        agent = self._agents.get(name)
        if agent is None and name in self._aliases:
            agent = self._agents[self._aliases[name]]
        return agent

    def body(self, name: str) -> bytes | None:
        """Return the JSON of the record of a name or alias."""
        body = self._bodies.get(name)
        if body is None:
            agent = self.find(name)
            if agent is None:
                return None
            # always under the record's own name: the number of kept bodies is bounded by the number of agents
            body = self._bodies.get(agent.name)
            if body is None:
                body = self._bodies[agent.name] = agent.model_dump_json().encode()
        return body

    def page(self, query: ListAgents) -> bytes:
        """Return the JSON of an ``AgentPage``.

        Raises:
            InvalidInput: the cursor is not one of ours, or ``metadata_value`` stands without a key.
        """
        if query.metadata_value is not None and query.metadata_key is None:
            raise InvalidInput("query.metadata_value: needs metadata_key.", "Name the key as well.")
        after = decode_cursor(query.cursor) if query.cursor else ""
        names = list(islice(self._matching(query, after), query.limit + 1))
        next_cursor = ""
        if len(names) > query.limit:
            names.pop()
            next_cursor = encode_cursor(names[-1])
        bodies = [body for name in names if (body := self.body(name)) is not None]
        return b'{"agents":[%b],"next_cursor":"%b","revision":%d}' % (
            b",".join(bodies), next_cursor.encode(), self.revision,
        )  # fmt: skip

    def _matching(self, query: ListAgents, after: str) -> Iterator[str]:
        wanted = [(key, str(value)) for key in _INDEXED if (value := getattr(query, key)) is not None]
        if not wanted:
            # a slice without copying: names may be ten thousand, a page is a hundred
            candidates: Iterable[str] = islice(self._names, bisect_right(self._names, after), None)
            others: list[set[str]] = []
        else:
            sets = sorted((self._index.get(key, set()) for key in wanted), key=len)
            candidates = sorted(name for name in sets[0] if name > after)
            others = sets[1:]
        for name in candidates:
            if all(name in other for other in others) and self._has_metadata(name, query):
                yield name

    def _has_metadata(self, name: str, query: ListAgents) -> bool:
        if query.metadata_key is None:
            return True
        metadata = self._agents[name].metadata
        if query.metadata_key not in metadata:
            return False
        return query.metadata_value in (None, text_of(metadata[query.metadata_key]))

    def _remove(self, name: str) -> None:
        agent = self._agents.pop(name, None)
        if agent is None:
            return
        del self._names[bisect_left(self._names, name)]
        self._bodies.pop(name, None)
        for alias in agent.aliases:
            if self._aliases.get(alias) == name:
                del self._aliases[alias]
        for key in _index_keys(agent):
            names = self._index[key]
            names.discard(name)
            if not names:
                del self._index[key]

    def _add_to_index(self, agent: Agent) -> None:
        for alias in agent.aliases:
            self._aliases[alias] = agent.name
        for key in _index_keys(agent):
            self._index.setdefault(key, set()).add(agent.name)


def _index_keys(agent: Agent) -> set[tuple[str, str]]:
    keys = {(name, str(getattr(agent, name))) for name in _INDEXED if name != "capability"}
    keys.update(("capability", capability) for capability in agent.capabilities)
    return keys


def encode_cursor(name: str) -> str:
    """Return the cursor after ``name``; safe in a URL."""
    return base64.urlsafe_b64encode((_CURSOR_PREFIX + name).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """Return the name after which a page begins.

    Raises:
        InvalidInput: the cursor does not come from ``encode_cursor``.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode(
            "ascii"
        )
    except (binascii.Error, ValueError):
        text = ""
    name = text.removeprefix(_CURSOR_PREFIX)
    if not text.startswith(_CURSOR_PREFIX) or not NAME_REGEX.fullmatch(name):
        raise InvalidInput(
            "query.cursor: not a cursor of this server.", "Use next_cursor of the page before, as it is."
        )
    return name
