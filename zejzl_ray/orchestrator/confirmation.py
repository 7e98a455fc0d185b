"""Whether a registry may renew leases: only while the store has confirmed lately that nobody has taken over."""

import asyncio
from collections.abc import Awaitable, Callable

from zejzl_ray.errors import StoreUnavailable, ZejzlError


class Confirmation:
    """Lets renewals be answered from memory, without two owners of a name when another instance takes over unseen.

    With ``limit_s`` = L, a lease of D seconds and times of one ideal clock: a renewal is granted at R <= C + L, where
    C is when the last commit was sent that the store took. The next instance takes its epoch at T; the store refuses
    commits of this one from then on, so C < T. Who was granted it relies on the lease until R + D at most, counted
    from when it asked. The next instance ends no lease before T + L + D, also not one that is renewed there meanwhile
    (``Registry.grant_grace``), and

        R + D <= C + L + D < T + L + D.

    So it does not matter how soon another instance starts, nor what time the machines' clocks show. What must hold is
    that clocks run alike: 100 parts in a million of 35 s are 4 ms, about as long as it takes to load after T.

    Half-way to the limit a renewal begins a commit in the background, so none waits for the store unless that is slow;
    a registry without renewals commits nothing.

    Args:
        age_s: gives the time since C.
        commit: commits something; raises where the store does not take it.
        limit_s: L.
    """

    def __init__(
        self, age_s: Callable[[], float], commit: Callable[[], Awaitable[object]], limit_s: float
    ) -> None:
        self._age_s = age_s
        self._commit = commit
        self._limit_s = limit_s
        self._task: asyncio.Task[None] | None = None
        self._reason = ""

    @property
    def is_due(self) -> bool:
        """Whether the next renewal has to call ``require``."""
        return self._age_s() > self._limit_s / 2

    async def require(self) -> None:
        """Begin a commit and return while renewals may be granted; from the limit on callers wait for it together.

        Raises:
            StoreUnavailable: the store does not confirm it.
        """
        task = self._task = self._task or asyncio.create_task(self._ask(), name="confirm-registry")
        if self._age_s() <= self._limit_s:
            return
        await asyncio.wait({task})  # ends: each commit has a limit
        age_s = self._age_s()
        if age_s > self._limit_s:
            raise StoreUnavailable(
                f"Leases are not renewed: the store has confirmed this registry {age_s:.0f} s ago, and"
                f" {self._limit_s:g} s is the limit. {self._reason}".rstrip(),
                "The lease runs on to its end; send the heartbeat again.",
            )

    async def _ask(self) -> None:
        try:
            await self._commit()
        except (ZejzlError, TimeoutError) as error:
            self._reason = str(error)
        else:
            self._reason = ""
        finally:
            self._task = None
