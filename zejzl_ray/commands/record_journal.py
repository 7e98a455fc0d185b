"""Records in memory and in the store kept the same: loading, committing, and knowing when they may differ."""

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

import orjson
import structlog

from zejzl_ray.clock import Clock
from zejzl_ray.commands.records import Record, RecordDraft, Records, decode_record
from zejzl_ray.commands.store_writer import StoreWriter
from zejzl_ray.errors import StoreError
from zejzl_ray.store.protocol import Put, Store

D = TypeVar("D", bound=RecordDraft)

META: Final = "meta"
_PAGE: Final = 1000
_MAX_OPS: Final = 50_000
_log = structlog.get_logger(__name__)


class RecordJournal(StoreWriter, Generic[D]):
    """The committed records of one service and the way to change them; the ``Target`` of a group writer.

    Every commit expects the version of the commit before it. So a commit whose outcome was unknown and which arrives
    late is noticed by the next one, which is then decided again on what is really stored.

    Args:
        store: the service's own namespace.
        clock: source of ``now_s`` of the drafts.
        kinds: every kind of record that the service keeps.
        new_draft: makes the service's draft over the committed records.
        seal: called with a draft right before it is stored; may add records to it.
        on_commit: called with a draft that is durable and applied; must return at once and not raise.
        on_reload: called after the records were read anew; ``records`` is another object then.
        commit_timeout_s: longest wait for one commit.
        load_timeout_s: longest wait for reading everything.
        max_batch_bytes: from this size on a draft takes no further command.

    Attributes:
        records: what is committed. Another object after a reload: do not keep it over an ``await``.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        kinds: Sequence[type[Record]],
        new_draft: Callable[[Records, float], D],
        *,
        seal: Callable[[D], object] = lambda draft: None,
        on_commit: Callable[[D], None] = lambda draft: None,
        on_reload: Callable[[], None] = lambda: None,
        commit_timeout_s: float = 10.0,
        load_timeout_s: float = 60.0,
        max_batch_bytes: int = 16 * 2**20,
    ) -> None:
        names = [kind.KIND for kind in kinds]
        if len(set(names)) != len(names) or not all(names) or META in names:
            raise ValueError(f"each kind needs a name of its own: {names}")
        super().__init__(store, clock, commit_timeout_s=commit_timeout_s, load_timeout_s=load_timeout_s)
        self._kinds = tuple(kinds)
        self._new_draft = new_draft
        self._seal = seal
        self._on_commit = on_commit
        self._on_reload = on_reload
        self._max_batch_bytes = max_batch_bytes
        self._version = 0
        self.records = Records()

    async def open(self) -> None:
        """Become the writer and load everything.

        Raises:
            StoreUnavailable: the store cannot be reached in time; safe to call again.
            StoreError: something stored cannot be read by this version.
        """
        await self._take_epoch()
        await self._load()

    def begin(self) -> D:
        """Return an empty draft over the committed records."""
        return self._new_draft(self.records, self._clock.now_s())

    def is_full(self, draft: D) -> bool:
        """Tell whether the draft takes no further command."""
        return draft.size_bytes >= self._max_batch_bytes or len(draft.ops) >= _MAX_OPS

    async def commit(self, draft: D) -> None:
        """Store a draft, then apply it and tell ``on_commit``; a draft without changes costs nothing.

        Raises:
            StoreUnavailable: it may or may not have happened; the next ``prepare`` finds out.
            StaleEpoch, VersionConflict: nothing happened.
        """
        self._seal(draft)
        if draft.ops or not self.is_acknowledged:
            meta = orjson.dumps({"epoch": self.epoch, "at_s": draft.now_s})
            await self._store_ops([*draft.ops, Put(META, meta)], {META: self._version})
            self._version += 1
            draft.apply()
        try:
            self._on_commit(draft)
        except Exception:  # what is committed stays committed, whoever stumbles over it
            _log.exception("news of a commit were not taken")

    async def _end_doubt(self) -> None:
        await self._load()

    async def _load(self) -> None:
        self._version, self.records = await self._read_all(self._read())
        _log.info("records loaded", epoch=self.epoch, records=sum(map(self.records.count, self._kinds)))
        self._on_reload()

    async def _read(self) -> tuple[int, Records]:
        while True:
            before = await self._store.get(META)
            records = Records()
            for kind in self._kinds:
                await self._read_kind(kind, records)
            after = await self._store.get(META)
            # A commit of unknown outcome that lands in between would leave half of it out of what was read.
            if (before and before.version) == (after and after.version):
                return (after.version if after else 0), records

    async def _read_kind(self, kind: type[Record], records: Records) -> None:
        prefix, last = f"{kind.KIND}/", ""
        while page := await self._store.scan(prefix, after=last, limit=_PAGE):
            for key, stored in page:
                try:
                    record, expires_at_s = decode_record(kind, stored.value)
                except ValueError:
                    # Without the reason: it would quote what is stored.
                    raise StoreError(
                        f"The record {key} cannot be read by this version.",
                        "Was it written by a newer version? Run that one, or restore a backup.",
                    ) from None
                records.put(key.removeprefix(prefix), record, expires_at_s)
            last = page[-1][0]
