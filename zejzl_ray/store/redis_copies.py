"""How many copies of an acknowledged commit there are, and what happens while a replica is away."""

from enum import StrEnum
from typing import Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError

from zejzl_ray.clock import Clock
from zejzl_ray.log import get_logger
from zejzl_ray.store.redis_witness import Witness

# Longer than a round trip between two machines by far, so that a replica that stutters is not taken for one that is
# away; short enough that the commits that find out can be waited for.
PATIENCE_MS: Final = 500
# While a replica is away commits do not wait for it, but for one a second: an answer takes a moment to come.
_GLANCE_MS: Final = 1  # Redis waits for ever where it is told 0
_LOOK_MS: Final = 50
_LOOK_EVERY_S: Final = 1.0

log = get_logger("store")


class Lonely(StrEnum):
    """What to do with a commit that too few replicas have received."""

    REFUSE = "refuse"
    """It is not acknowledged; it may come again, and is applied once."""

    ACKNOWLEDGE = "acknowledge"
    """It is acknowledged with the copies that there are, and the store says so."""

    WITNESS = "witness"
    """As ``acknowledge``, where more than half of all Sentinels still name this primary; else as ``refuse``."""


class Copies:
    """The rule for the copies of one store's commits.

    Args:
        replicas: how many must have received a commit before it is acknowledged; 0: none is asked.
        when_away: what to do while fewer have.
        clock: monotonic time.
        name: of the store, for the log.
        witness: who is asked before a commit is acknowledged with fewer copies; given for ``Lonely.WITNESS``.

    Attributes:
        missing: how many replicas were missing at the last commit.
    """

    def __init__(
        self, replicas: int, when_away: Lonely, clock: Clock, name: str, witness: Witness | None = None
    ) -> None:
        self.replicas = replicas
        self.missing = 0
        self._when_away = when_away
        self._clock = clock
        self._name = name
        self._witness = witness
        self._objection = ""
        self._next_look_s = 0.0

    def wait_ms(self, most_ms: int) -> int:
        """Return how long Redis shall wait for the replicas of the next commit, of ``most_ms`` at most."""
        if self._when_away is Lonely.REFUSE:
            return most_ms
        if not self.missing:
            return min(most_ms, PATIENCE_MS)
        now_s = self._clock.monotonic_s()
        if now_s < self._next_look_s:
            return _GLANCE_MS
        self._next_look_s = now_s + _LOOK_EVERY_S
        return _LOOK_MS

    async def check(self, reply: Any) -> None:
        """Learn how many replicas have received a commit.

        Args:
            reply: Redis' answer to ``WAIT``, or the error that came instead.

        Raises:
            RedisConnectionError: too few, and then a commit is not acknowledged; it may be applied.
            Exception: the given one.
        """
        if isinstance(reply, Exception):
            raise reply
        missing = max(0, self.replicas - int(reply))
        if missing and self._when_away is Lonely.REFUSE:
            self.missing = missing
            raise RedisConnectionError(f"{reply} of {self.replicas} replicas have the commit")
        if missing and self._witness is not None:
            self._objection = await self._witness.objection()
            if self._objection:
                self.missing = missing
                raise RedisConnectionError(
                    f"{reply} of {self.replicas} replicas have the commit, and {self._objection}"
                )
        if missing and not self.missing:
            log.warning(
                "replicas are away: commits are acknowledged without them", store=self._name, missing=missing
            )
        elif self.missing and not missing:
            log.info("replicas are back", store=self._name)
        self.missing = missing

    async def close(self) -> None:
        """Close the connections to whoever is asked; safe to repeat."""
        if self._witness is not None:
            await self._witness.close()

    def describe(self) -> tuple[str, tuple[str, ...]]:
        """Return what is promised, to follow the policy of the primary, and the weak points of now."""
        if not self.replicas:
            return "", ()
        promise = f", on {self.replicas} replica{'s' if self.replicas > 1 else ''} too"
        if self._when_away is Lonely.ACKNOWLEDGE:
            promise += " while they are there"
        elif self._when_away is Lonely.WITNESS:
            promise += ", or on this one alone while more than half of the Sentinels name it the primary"
        if not self.missing:
            return promise, ()
        away = f"{self.missing} of {self.replicas} replicas are away"
        if self._when_away is Lonely.REFUSE:
            return promise, (f"{away}: commits are refused",)
        if self._objection:
            return promise, (f"{away}: commits are refused, {self._objection}",)
        return promise, (
            f"{away}: what is acknowledged now is lost if this primary is lost before they are back",
        )
