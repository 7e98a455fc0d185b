"""The one writer of a store: its epoch, its commits, and whether memory may differ from what is stored."""

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import structlog

from zejzl_ray.errors import StaleEpoch, StoreUnavailable, VersionConflict, ZejzlError
from zejzl_ray.ids import new_id
from zejzl_ray.store.protocol import Op, Store

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class StoreWriter:
    """What the journals of all services share; every wait for the store has a limit.

    Args:
        store: the service's own namespace.
        commit_timeout_s: longest wait for one commit, or for an epoch.
        load_timeout_s: longest wait for reading everything.

    Attributes:
        epoch: this writer's epoch; 0 before it was taken.
        is_in_doubt: nobody knows whether the last commit has happened, until everything was read anew.
        is_fenced: another writer has taken over; nothing can be committed any more.
        fault: why the store was of no use the last time; empty when it was.
        commit_s: how long the last commit took in the store, seconds.
    """

    def __init__(self, store: Store, *, commit_timeout_s: float, load_timeout_s: float) -> None:
        self._store = store
        self._commit_timeout_s = commit_timeout_s
        self._load_timeout_s = load_timeout_s
        self.epoch = 0
        self.is_in_doubt = False
        self.is_fenced = False
        self.fault = ""
        self.commit_s = 0.0

    @property
    def weakness(self) -> str:
        """Why acknowledged commits are less safe than was asked for; empty when they are not."""
        return self._store.weakness

    async def _take_epoch(self) -> None:
        """Become the writer.

        Raises:
            StoreUnavailable: the store cannot be reached in time.
        """
        self.epoch = await _in_time(self._store.take_epoch(), "give an epoch", self._commit_timeout_s)

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
        started = time.perf_counter()
        # Until the store has answered, a failure of any kind leaves open whether the commit happened.
        self.is_in_doubt = True
        try:
            async with asyncio.timeout(self._commit_timeout_s):
                await self._store.commit(
                    ops, epoch=self.epoch, expect=expect, commit_id=commit_id or new_id("commit")
                )
        except TimeoutError:
            error = StoreUnavailable(
                f"The store did not finish a commit within {self._commit_timeout_s:g} s.",
                "The command may still take effect; repeat it with the same request_id.",
            )
            self.fault = error.message
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
            raise
        self.is_in_doubt = False
        self.fault = ""
        self.commit_s = time.perf_counter() - started

    async def _read_all(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what reading everything gave; memory agrees with the store once the caller has taken it over.

        Raises:
            StoreUnavailable: not within the time.
            StoreError: something stored cannot be read.
        """
        try:
            found = await _in_time(work, "load", self._load_timeout_s)
        except ZejzlError as error:
            self.fault = error.message
            raise
        self.is_in_doubt = False
        self.fault = ""
        return found


async def _in_time(work: Coroutine[Any, Any, T], what: str, timeout_s: float) -> T:
    try:
        async with asyncio.timeout(timeout_s):
            return await work
    except TimeoutError:
        raise StoreUnavailable(
            f"The store did not {what} within {timeout_s:g} s.", "Is it running?"
        ) from None
