"""What a process knows of keys, revocations, standings and limits, and how old that is."""

from typing import Final

from zejzl_ray.auth.addresses import AddressFilter
from zejzl_ray.auth.key_set import KeySet
from zejzl_ray.auth.revocations import RevocationList
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.access import GOOD_STANDING, Standing
from zejzl_ray.contracts.health import Check, CheckStatus
from zejzl_ray.contracts.policy import AddressPolicy
from zejzl_ray.contracts.security_feed import FeedBatch, GuardLimits
from zejzl_ray.errors import InvalidInput
from zejzl_ray.log import get_logger

_log = get_logger("security")
_NAME: Final = "security_feed"


class SecurityState:
    """The gateway's word, as this process last heard it.

    Every answer of the feed renews its age, an empty one too. The age is the longer of what the wall clock and the
    monotonic clock say: a clock that is set back, or a computer that slept, makes news no younger.

    Args:
        clock: source of time.
        max_feed_age_s: news older than this are stale.
        keys: where public keys go; None for a process that verifies no tokens.

    Attributes:
        keys: the public keys.
        revocations: what no longer counts; the same object for ever.
        limits: rates and address lists; None before the first news.
        addresses: the filter made of them.
        epoch: the gateway's, as of the last news; 0 before.
        revision: up to which the news are known.
        standings_revision: grows whenever a standing or a limit has changed.
    """

    def __init__(self, clock: Clock, *, max_feed_age_s: float = 30.0, keys: KeySet | None = None) -> None:
        self._clock = clock
        self._max_feed_age_s = max_feed_age_s
        self.keys = keys
        self.revocations = RevocationList()
        self.limits: GuardLimits | None = None
        self.addresses = AddressFilter(AddressPolicy())
        self.epoch = 0
        self.revision = 0
        self.standings_revision = 0
        # subject -> its standing; only those that are not the default, so that it is as short as the list of trouble
        self._standings: dict[str, Standing] = {}
        self._heard: tuple[float, float] | None = None  # wall and monotonic time of the last news
        self._trouble = ""

    @property
    def is_read(self) -> bool:
        """Whether the whole state was heard once; before that nobody can be checked."""
        return self._heard is not None

    def standing_of(self, subject: str) -> Standing:
        """Return what the subject's trust allows; a subject that nothing is known of is in good standing."""
        return self._standings.get(subject, GOOD_STANDING)

    def apply(self, batch: FeedBatch, now_s: float) -> None:
        """Take news in; safe to repeat.

        Args:
            batch: changes, or everything: what ``is_whole`` says, and what another epoch means anyway.
            now_s: wall time at which they arrived.
        """
        is_whole = batch.is_whole or batch.epoch != self.epoch
        if batch.keys is not None and self.keys is not None:
            self.keys.replace(batch.keys)
        if is_whole:
            self.revocations.replace(batch.revocations)
        elif batch.revocations:
            self.revocations.add(batch.revocations)
        self.revocations.forget(now_s)
        if is_whole:
            self._standings.clear()
        for standing in batch.standings:
            self._take_standing(standing)
        if batch.limits is not None:
            self._take_limits(batch.limits)
        if is_whole or batch.standings or batch.limits is not None:
            self.standings_revision += 1
        self.epoch, self.revision = batch.epoch, batch.revision
        self._heard = (now_s, self._clock.monotonic_s())

    def feed_age_s(self, now_s: float) -> float:
        """Return how many seconds ago the last news came, at wall time ``now_s``; infinite before the first."""
        if self._heard is None:
            return float("inf")
        wall_s, monotonic_s = self._heard
        return max(now_s - wall_s, self._clock.monotonic_s() - monotonic_s, 0.0)

    def is_stale(self, now_s: float) -> bool:
        """Return whether the news are too old for anything but calm operations."""
        return self.feed_age_s(now_s) > self._max_feed_age_s

    def check(self) -> Check:
        """Return how the news are, for readiness: without any a service cannot serve, with old ones it reads."""
        if self._heard is None:
            return Check(
                name=_NAME,
                status=CheckStatus.FAILED,
                reason="the security gateway's keys and revocations have not been read yet",
            )
        now_s = self._clock.now_s()
        if self.is_stale(now_s):
            reason = (
                f"the last news of the security gateway are {self.feed_age_s(now_s):.0f} s old: until it answers, "
                "only reading and reporting are allowed"
            )
            return Check(name=_NAME, status=CheckStatus.DEGRADED, reason=reason)
        if self._trouble:
            return Check(name=_NAME, status=CheckStatus.DEGRADED, reason=self._trouble)
        return Check(name=_NAME, status=CheckStatus.OK)

    def _take_standing(self, standing: Standing) -> None:
        if standing == GOOD_STANDING.model_copy(update={"subject": standing.subject}):
            self._standings.pop(standing.subject, None)
        else:
            self._standings[standing.subject] = standing

    def _take_limits(self, limits: GuardLimits) -> None:
        try:
            addresses = AddressFilter(limits.addresses)
        except InvalidInput as error:
            # One line that cannot be read must not keep revocations from arriving.
            self._trouble = f"the address lists before stay in force: {error.message}"
            _log.error("address lists cannot be used", error=str(error))
        else:
            self.addresses, self._trouble = addresses, ""
        self.limits = limits
