"""The namespaces of stores in memory: where a back-up is tried out without touching anything."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from zejzl_ray.errors import NotFound
from zejzl_ray.store.image import (
    ImageCommitId,
    ImageEntry,
    ImageFigures,
    ImageHead,
    ImageLog,
    ImageLogEntry,
    Record,
    checked,
    epoch_after_restore,
)
from zejzl_ray.store.memory import MemoryLog, MemoryState
from zejzl_ray.store.protocol import Versioned
from zejzl_ray.store.site import Images


class MemorySite:
    """A ``StoreSite`` over states in this process.

    Attributes:
        states: namespace -> state; hand one to a ``MemoryStore``.
    """

    def __init__(self, states: dict[str, MemoryState] | None = None) -> None:
        self.states: dict[str, MemoryState] = {} if states is None else states
        self.name = "memory"

    async def namespaces(self) -> list[str]:
        """Return the namespaces, as ``StoreSite.namespaces``."""
        return sorted(self.states)

    async def export(self, namespace: str) -> AsyncIterator[Sequence[Record]]:
        """Yield the records, as ``StoreSite.export``; in one batch, so of one moment."""
        state = self.states.get(namespace)
        if state is None:
            raise NotFound(f"{self.name} has no namespace {namespace}.")
        yield list(records_of(namespace, state))

    async def users(self) -> list[str] | None:
        """Return nobody: stores over a state are not counted."""
        return []

    async def interrupted(self) -> str:
        """Return nothing: it cannot be cut off."""
        return ""

    async def replace(self, images: Images, *, source: str, now_s: float) -> list[str]:
        """Replace all states, as ``StoreSite.replace``; stores over the old ones are fenced."""
        staged = {namespace: state_of(records) for namespace, records in images}
        for namespace in {*self.states, *staged}:
            old, new = self.states.get(namespace, MemoryState()), staged.get(namespace, MemoryState())
            old.epoch = epoch_after_restore(max(old.epoch, new.epoch), now_s)
            # In place: a store that is open goes on with the same object and has to see it. Its commits may not
            # go back, by which it knows that its list of keys is old.
            old.commits, old.values, old.commit_ids = (
                max(old.commits, new.commits) + 1,
                new.values,
                new.commit_ids,
            )
            old.logs, old.expiries = new.logs, new.expiries
            self.states[namespace] = old
        return sorted(self.states)

    async def close(self) -> None:
        """Do nothing; the states stay."""


def records_of(namespace: str, state: MemoryState) -> Iterator[Record]:
    """Yield the records of a state in their order."""
    yield ImageHead(namespace, state.epoch, state.commits)
    for commit_id, number in state.commit_ids.items():
        yield ImageCommitId(commit_id, number)
    for key in sorted(state.values):
        current, expires_at_s = state.values[key]
        yield ImageEntry(key.decode(), current.version, expires_at_s, current.value)
    for name in sorted(state.logs):
        log = state.logs[name]
        yield ImageLog(name.decode(), log.last_index)
        first = log.last_index - len(log.entries) + 1
        for index, value in enumerate(log.entries, first):
            yield ImageLogEntry(index, value)


def state_of(records: Iterable[Record]) -> MemoryState:
    """Return the state that records make.

    Raises:
        StoreError: they are not what a store can hold.
    """
    state = MemoryState()
    log = MemoryLog()
    for record in checked(records, ImageFigures()):
        match record:
            case ImageHead(epoch=epoch, commits=commits):
                state.epoch, state.commits = epoch, commits
            case ImageCommitId(commit_id=commit_id, number=number):
                state.commit_ids[commit_id] = number
            case ImageEntry(key=key, version=version, expires_at_s=expires_at_s, value=value):
                state.values[key.encode()] = (Versioned(value, version), expires_at_s)
                if expires_at_s is not None:
                    state.expiries.append((expires_at_s, key.encode()))
            case ImageLog(log=name, last_index=last_index):
                log = state.logs[name.encode()] = MemoryLog(last_index)
            case ImageLogEntry(value=value):
                log.entries.append(value)
    state.expiries.sort()  # a sorted list is a heap
    return state
