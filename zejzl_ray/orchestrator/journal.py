"""Memory and store kept the same: loading, committing, and knowing when they may differ."""

import math
from typing import Protocol

import structlog

from zejzl_ray.clock import Clock
from zejzl_ray.commands.repeats import RepeatWindow
from zejzl_ray.commands.store_writer import StoreWriter
from zejzl_ray.orchestrator.batch import Batch
from zejzl_ray.orchestrator.config import RegistryConfig
from zejzl_ray.orchestrator.history import LogSpan
from zejzl_ray.orchestrator.persistence import CHANGES_LOG, META, Meta, encode_log_entry, encode_meta, load
from zejzl_ray.orchestrator.registry import Registry
from zejzl_ray.store.protocol import Append, Op, Put, Store, Trim

_log = structlog.get_logger(__name__)


class Listener(Protocol):
    """Told what happened to the committed state; must return at once and not raise."""

    def committed(self, batch: Batch) -> None:
        """Take note of a commit that is durable and applied."""
        ...

    def reloaded(self, from_revision: int) -> None:
        """Take note that the state was read from the store anew; the registry object is another one.

        Args:
            from_revision: the revision that was known before.
        """
        ...


class Journal(StoreWriter):
    """The committed registry and the way to change it; the ``Target`` of the group writer.

    Attributes:
        registry: the committed state. Another object after a reload: do not keep it over an ``await``.
        repeats: answers of the last commands.
    """

    def __init__(self, store: Store, clock: Clock, config: RegistryConfig, listener: Listener) -> None:
        super().__init__(
            store, clock, commit_timeout_s=config.commit_timeout_s, load_timeout_s=config.command_timeout_s
        )
        self._config = config
        self._listener = listener
        self._meta = Meta()
        self._under_way: Batch | None = None
        self._shared_until_s = -math.inf
        # what may or may not have happened, until the state has been read again
        self._in_doubt: Batch | None = None
        self.registry = self._new_registry()
        self.repeats = RepeatWindow(config.repeat_window)

    async def open(self) -> None:
        """Become the writer and load everything.

        Raises:
            StoreUnavailable: the store cannot be reached in time.
            StoreError: something stored cannot be read.
        """
        await self._take_epoch()
        if self.epoch > 1:
            self._shared_until_s = self._clock.monotonic_s() + self._config.confirmed_within_s
        await self._load()

    @property
    def shared_s(self) -> float:
        """How long from now on the writer before this one may go on renewing leases, seconds; see ``Confirmation``."""
        return max(0.0, self._shared_until_s - self._clock.monotonic_s())

    def is_changing(self, name: str) -> bool:
        """Tell whether a commit changes this agent that is under way, or of which nobody knows whether it happened."""
        return any(
            batch is not None and batch.draft.touches(name) for batch in (self._under_way, self._in_doubt)
        )

    def begin(self) -> Batch:
        """Return an empty batch over the committed state."""
        config = self._config
        return Batch(
            self.registry,
            self.repeats,
            requests=self._meta.requests,
            repeat_window=config.repeat_window,
            max_bytes=config.max_batch_bytes,
            now_s=self._clock.now_s(),
        )

    def is_full(self, draft: Batch) -> bool:
        """Tell whether the batch takes no further command."""
        return draft.is_full

    async def commit(self, draft: Batch) -> None:
        """Store a batch, then apply it to the registry and tell the listener.

        Raises:
            StoreUnavailable: it may or may not have happened; the next ``prepare`` finds out.
            StaleEpoch, VersionConflict: nothing happened.
        """
        if not draft.ops and self.is_acknowledged:
            self._apply_renewals(draft)
            return
        changes = draft.draft.changes
        through = self.registry.history.trim_through(len(changes))
        meta = Meta(
            revision=draft.draft.revision,
            requests=draft.requests,
            log_index=self._meta.log_index + bool(changes),
            version=self._meta.version + 1,
        )
        ops: list[Op] = [*draft.ops, Put(META, encode_meta(meta))]
        if changes:
            ops.append(Append(CHANGES_LOG, encode_log_entry(draft.now_s, draft.log_changes)))
        if through:
            ops.append(Trim(CHANGES_LOG, through))
        self._under_way = draft
        try:
            await self._store_ops(ops, {META: self._meta.version})
        except BaseException:
            self._in_doubt = draft
            raise
        finally:
            self._under_way = None
        self._meta = meta
        self.registry.apply(LogSpan(meta.log_index, len(changes)), changes, through)
        for machine in draft.machines.values():
            self.registry.machines.put(machine)
        for answer in draft.answers.values():
            self.repeats.add(answer)
        self._apply_renewals(draft)
        self._listener.committed(draft)

    async def _end_doubt(self) -> None:
        await self._load()

    async def _load(self) -> None:
        before = self.registry
        loaded = await self._read_all(load(self._store, self._config.repeat_window))
        registry = self._new_registry()
        for agent in loaded.agents:
            registry.put(agent.name, agent)
        registry.revision = loaded.meta.revision
        for span, changes in loaded.log:
            registry.history.add(span, changes)
        registry.restore_machines(loaded.machines)
        registry.restore_seen(loaded.seen)
        registry.restore_seen({agent.name: agent.last_seen_at_s or 0.0 for agent in before.agents()})
        registry.grant_grace(self._clock.now_s(), self.shared_s)
        repeats = RepeatWindow(self._config.repeat_window)
        for answer in loaded.answers:
            repeats.add(answer)
        for machine in before.machines.listed(self._clock.now_s()):
            registry.machines.put_newer(machine)
        self._meta, self.registry, self.repeats = loaded.meta, registry, repeats
        self._in_doubt = None
        self._listener.reloaded(before.revision)
        _log.info("registry loaded", agents=len(registry), revision=registry.revision, epoch=self.epoch)

    def _apply_renewals(self, draft: Batch) -> None:
        for name in draft.renewed:
            self.registry.renew(name, draft.now_s)

    def _new_registry(self) -> Registry:
        return Registry(
            history_length=self._config.history_length, machine_alive_s=self._config.machine_alive_s
        )
