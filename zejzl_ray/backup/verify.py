"""Reading a back-up as a restore would, into stores in memory."""

from dataclasses import dataclass
from pathlib import Path

from zejzl_ray.backup.archive import Archive
from zejzl_ray.backup.manifest import Manifest, NamespaceInBackup
from zejzl_ray.clock import Clock
from zejzl_ray.errors import InvalidInput
from zejzl_ray.store.memory import MemoryState, MemoryStore
from zejzl_ray.store.site_memory import state_of

_PAGE = 1000


@dataclass(slots=True)
class _Found:
    entries: int = 0
    log_entries: int = 0


async def verify_backup(path: Path, clock: Clock) -> Manifest:
    """Read all of a back-up, and open and read each namespace as a store in memory.

    What is checked: the file's sum, each namespace's sum, the order and ranges of all records, that each namespace
    opens, takes a new writer, and gives by ``scan`` and ``read_log`` as much as the manifest says.

    Raises:
        NotFound: no such file.
        InvalidInput: it is not whole, or of a newer program.
        StoreError: it holds what no store can hold.
    """
    archive = Archive.open(path)
    told = {each.name: each for each in archive.manifest.namespaces}
    for namespace, records in archive.images():
        await _try_out(told[namespace], state_of(records), clock, path)
    for _ in archive.secrets():
        pass  # each is summed when it is read
    return archive.manifest


async def _try_out(told: NamespaceInBackup, state: MemoryState, clock: Clock, path: Path) -> None:
    has = (state.epoch, state.commits, len(state.values), len(state.logs))
    if has != (told.epoch, told.commits, told.entries, told.logs):
        raise InvalidInput(f"{path}: {told.name} is not what the manifest says.", "Take another back-up.")
    now_s = clock.now_s()
    alive = sum(
        1 for _, expires_at_s in state.values.values() if expires_at_s is None or expires_at_s > now_s
    )
    store = MemoryStore(clock=_Stopped(now_s), state=state, name=told.name)
    try:
        await store.take_epoch()
        found = _Found()
        after = ""
        while page := await store.scan("", after=after, limit=_PAGE):
            found.entries += len(page)
            after = page[-1][0]
        for log in state.logs:
            index = 0
            while entries := await store.read_log(log.decode(), after=index, limit=_PAGE):
                found.log_entries += len(entries)
                index = entries[-1].index
    finally:
        await store.close()
    if (found.entries, found.log_entries) != (alive, told.log_entries):
        raise InvalidInput(
            f"{path}: {told.name} does not read as the manifest says.", "Take another back-up."
        )


class _Stopped:
    """A clock that stands still, so that nothing expires between counting and reading."""

    def __init__(self, now_s: float) -> None:
        self._now_s = now_s

    def now_s(self) -> float:
        return self._now_s

    def monotonic_s(self) -> float:
        return 0.0
