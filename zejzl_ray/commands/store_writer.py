"""The one writer of a store: its epoch, its commits, and whether memory may differ from what is stored."""

import asyncio
import math
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import structlog

from zejzl_ray.clock import Clock
from zejzl_ray.commands.silence import SLOW_S, Silence
from zejzl_ray.errors import StaleEpoch, StoreUnavailable, VersionConflict, ZejzlError
from zejzl_ray.ids import new_id
from zejzl_ray.store.protocol import Op, Store

T = TypeVar("T")
_log = structlog.get_logger(__name__)
_REPEAT = "The command may still take effect; repeat it with the same request_id."


class StoreWriter:
    """What the journals of all services share; every wait for the store has a limit.

    The store's own limit is the shorter one and comes first, since it can say more.

    Args:
        store: the service's own namespace.
        clock: what waits are measured by.
        commit_timeout_s: longest wait for one commit, or for an epoch.
        load_timeout_s: longest wait for reading everything.

    Attributes:
        epoch: this writer's epoch; 0 before it was taken.
        is_in_doubt: nobody knows whether the last commit has happened, until everything was read anew.
        is_acknowledged: whether the store has taken a commit since the last one of which nobody knew whether it
            happened. Until then what it shows may come to nothing: one that is cut off has written it, and will drop
            it. So even who is only refused waits for a commit.
        is_fenced: another writer has taken over; nothing can be committed any more.
        fault: why the store was of no use the last time; empty when it was.
        commit_s: how long the last commit took in the store, seconds.
    """

    def __init__(self, store: Store, clock: Clock, *, commit_timeout_s: float, load_timeout_s: float) -> None:
        self._store = store
        self._clock = clock
        self._commit_timeout_s = commit_timeout_s
        self._load_timeout_s = load_timeout_s
        self.epoch = 0
        self.is_in_doubt = False
        self.is_acknowledged = True
        self.is_fenced = False
        self.fault = ""
        self.commit_s = 0.0
        self._silence = Silence(lambda: store.get("meta"), clock)
        # monotonic and wall time; a machine that sleeps stops the one, a person sets the other
        self._confirmed_at = (-math.inf, -math.inf)

    @property
    def weakness(self) -> str:
        """Why acknowledged commits are less safe than was asked for; empty when they are not."""
        return self._store.weakness

    @property
    def confirmed_s_ago(self) -> float:
        """How long ago this writer sent the last commit that the store took, seconds.

        At that moment nobody else had taken over. The longer of what both clocks say.
        """
        monotonic_s, wall_s = self._confirmed_at
        return max(self._clock.monotonic_s() - monotonic_s, self._clock.now_s() - wall_s)

    async def prepare(self) -> None:
        """Make sure that memory agrees with the store; called before anything is decided.

        Raises:
            StoreUnavailable: the store is silent, and nothing was sent to it; or what became of the last commit is
                still not known.
            StaleEpoch: another writer has taken over.
            StoreError: something stored cannot be read by this version.
        """
        if self._silence.reason:
            await self._silence.check()
        if self.is_in_doubt:
            await self._end_doubt()

    async def _end_doubt(self) -> None:
        """Find out what became of the last commit; raises as ``prepare``."""
        raise NotImplementedError

    async def _take_epoch(self) -> None:
        """Become the writer.

        Raises:
            StoreUnavailable: the store cannot be reached in time.
        """
        asked_at = self._now()
        self.epoch = await _in_time(self._store.take_epoch(), "give an epoch", self._commit_timeout_s)
        self._confirmed_at = asked_at

    async def _store_ops(self, ops: Sequence[Op], expect: Mapping[str, int], commit_id: str = "") -> None:
        """Commit; after a failure of unknown outcome ``is_in_doubt`` stays set.

        Args:
            ops: applied together.
            expect: key -> version that it must have.
            commit_id: of an earlier call with the same ``ops`` that is repeated; empty for a new commit.

        Raises:
            StoreUnavailable: it may or may not have happened.
            StaleEpoch, VersionConflict: nothing happened.
        """
        sent_at = self._now()
        # Until the store has answered, a failure of any kind leaves open whether the commit happened.
        self.is_in_doubt = True
        self.is_acknowledged = False
        try:
            async with asyncio.timeout(self._commit_timeout_s):
                await self._store.commit(
                    ops, epoch=self.epoch, expect=expect, commit_id=commit_id or new_id("commit")
                )
        except TimeoutError:
            error = StoreUnavailable(
                f"The store did not finish a commit within {self._commit_timeout_s:g} s.",
                _REPEAT,
            )
            self.fault = error.message
            self._silence.begins(error.message, sent_at[0])
            raise error from None
        except StaleEpoch as error:
            self.is_fenced = True
            self.fault = error.message
            _log.error("another writer has taken over", epoch=self.epoch)
            raise
        except VersionConflict:
            raise
        except ZejzlError as error:
            self.fault = error.message
            if self._is_silence(error, sent_at):
                raise StoreUnavailable(error.message, _REPEAT) from error
            raise
        self.is_in_doubt = False
        self.is_acknowledged = True
        self.fault = ""
        self.commit_s = self._clock.monotonic_s() - sent_at[0]
        self._confirmed_at = sent_at
        self._silence.ends()

    async def _read_all(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what reading everything gave; memory agrees with the store once the caller has taken it over.

        Raises:
            StoreUnavailable: not within the time.
            StoreError: something stored cannot be read.
        """
        asked_at = self._now()
        try:
            found = await _in_time(work, "load", self._load_timeout_s)
        except ZejzlError as error:
            self.fault = error.message
            self._is_silence(error, asked_at)
            raise
        self.is_in_doubt = False
        self.fault = ""
        return found

    def _is_silence(self, error: ZejzlError, asked_at: tuple[float, float]) -> bool:
        """Tell whether the store was silent until the error, and take note of it."""
        is_silence = isinstance(error, StoreUnavailable) and self._clock.monotonic_s() - asked_at[0] >= SLOW_S
        if is_silence:
            self._silence.begins(error.message, asked_at[0])
        return is_silence

    def _now(self) -> tuple[float, float]:
        return self._clock.monotonic_s(), self._clock.now_s()


async def _in_time(work: Coroutine[Any, Any, T], what: str, timeout_s: float) -> T:
    try:
        async with asyncio.timeout(timeout_s):
            return await work
    except TimeoutError:
        raise StoreUnavailable(
            f"The store did not {what} within {timeout_s:g} s.", "Is it running?"
        ) from None
