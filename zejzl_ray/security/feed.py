"""The feed that every verifier follows: changes in order, or the whole state to who has missed some."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from zejzl_ray.clock import Clock
from zejzl_ray.commands.watchers import Watchers
from zejzl_ray.contracts.access import Standing
from zejzl_ray.contracts.security_feed import FeedBatch, GuardLimits, Revocation, WatchFeed
from zejzl_ray.contracts.tokens import PublicKey


@dataclass(frozen=True, slots=True)
class FeedState:
    """Everything that a verifier has to know, as it is now."""

    keys: tuple[PublicKey, ...]
    limits: GuardLimits
    revocations: tuple[Revocation, ...]
    standings: tuple[Standing, ...]


@dataclass(frozen=True, slots=True)
class _Change:
    revision: int
    are_keys_changed: bool
    are_limits_changed: bool
    revocations: tuple[Revocation, ...]
    standings: tuple[Standing, ...]


class Feed:
    """The last changes, and the callers that wait for the next one.

    Args:
        clock: source of the batches' time.
        whole: reads the whole state as it is committed.
        length: changes that are kept; who is further behind gets the whole state.
        max_watchers: callers that may wait.

    Attributes:
        revision: of the last change; counted from 1 in each epoch.
    """

    def __init__(
        self, clock: Clock, whole: Callable[[], FeedState], *, length: int, max_watchers: int
    ) -> None:
        self._clock = clock
        self._whole = whole
        self._changes: deque[_Change] = deque(maxlen=length)
        self._watchers = Watchers(max_watchers)
        self._epoch = 0
        self.revision = 0

    @property
    def epoch(self) -> int:
        """Of the gateway's journal; 0 before ``restart``."""
        return self._epoch

    @property
    def waiting(self) -> int:
        """How many callers wait."""
        return len(self._watchers)

    def restart(self, epoch: int) -> None:
        """Have every follower read the whole state again: a new epoch, or records that were read anew."""
        self._epoch = epoch
        self.revision += 1
        self._changes.clear()
        self._watchers.wake()

    def add(
        self,
        *,
        revocations: Iterable[Revocation] = (),
        standings: Mapping[str, Standing] | None = None,
        are_keys_changed: bool = False,
        are_limits_changed: bool = False,
    ) -> None:
        """Tell the followers what a commit has changed; nothing changed is no news."""
        change = _Change(
            self.revision + 1,
            are_keys_changed,
            are_limits_changed,
            tuple(revocations),
            tuple((standings or {}).values()),
        )
        if not (change.revocations or change.standings or are_keys_changed or are_limits_changed):
            return
        self.revision = change.revision
        self._changes.append(change)
        self._watchers.wake()

    def wake(self) -> None:
        """Wake all who wait, so that they see that the service stops."""
        self._watchers.wake()

    def batch_after(self, request: WatchFeed) -> FeedBatch | None:
        """Return what is new to a follower; null when nothing is."""
        now_s = self._clock.now_s()
        oldest = self._changes[0].revision if self._changes else self.revision + 1
        if request.epoch != self._epoch or not oldest - 1 <= request.revision <= self.revision:
            state = self._whole()
            return FeedBatch(
                epoch=self._epoch,
                revision=self.revision,
                at_s=now_s,
                is_whole=True,
                keys=state.keys,
                limits=state.limits,
                revocations=state.revocations,
                standings=state.standings,
            )
        news = [change for change in self._changes if change.revision > request.revision]
        if not news:
            return None
        are_keys_new = any(change.are_keys_changed for change in news)
        are_limits_new = any(change.are_limits_changed for change in news)
        state_now = self._whole() if are_keys_new or are_limits_new else None
        # The last standing of a subject is the one that counts.
        standings = {standing.subject: standing for change in news for standing in change.standings}
        return FeedBatch(
            epoch=self._epoch,
            revision=self.revision,
            at_s=now_s,
            keys=state_now.keys if state_now and are_keys_new else None,
            limits=state_now.limits if state_now and are_limits_new else None,
            revocations=tuple(revocation for change in news for revocation in change.revocations),
            standings=tuple(standings.values()),
        )

    async def wait(self, request: WatchFeed, require_ready: Callable[[], None]) -> FeedBatch:
        """Return what is new, at the latest after the request's time; empty when nothing is.

        Args:
            request: where the follower stands.
            require_ready: raises when this gateway must not answer (any more); asked before every answer.

        Raises:
            Overloaded: too many callers wait.
        """
        deadline_s = self._clock.monotonic_s() + request.timeout_s
        while True:
            require_ready()
            if (batch := self.batch_after(request)) is not None:
                return batch
            left_s = deadline_s - self._clock.monotonic_s()
            if left_s <= 0 or not await self._watchers.wait(left_s):
                require_ready()
                return self.batch_after(request) or FeedBatch(
                    epoch=self._epoch, revision=self.revision, at_s=self._clock.now_s()
                )
