"""A kept-alive registration for blocking code."""

from types import TracebackType
from typing import Self

from zejzl_ray.contracts.orchestrator import Agent, HealthStatus
from zejzl_ray.errors import ZejzlError
from zejzl_ray.sdk.loop_thread import LoopThread
from zejzl_ray.sdk.registration import STOP_S, Registration

# longer than any call inside, which has its own limit
_START_S = 3600.0


class SyncRegistration:
    """Registers an agent on entry, renews its lease in the private loop, deregisters it on exit.

    All as ``Registration`` does it.

    Args:
        inner: what does the work.
        loop: the loop of the client.
    """

    def __init__(self, inner: Registration, loop: LoopThread) -> None:
        self._inner = inner
        self._loop = loop

    @property
    def name(self) -> str:
        """The agent's name."""
        return self._inner.name

    @property
    def agent(self) -> Agent | None:
        """The agent as registered; null before entry."""
        return self._inner.agent

    @property
    def error(self) -> ZejzlError | None:
        """Why the renewals ended; null while they go on."""
        return self._inner.error

    @property
    def is_renewing(self) -> bool:
        """Whether the lease is being renewed."""
        return self._inner.is_renewing

    def report(self, status: HealthStatus | str, reason: str = "") -> None:
        """Say how the agent is; sent at once and with every renewal from now on."""

        async def report() -> None:
            self._inner.report(status, reason)

        self._loop.run(report(), STOP_S)

    def start(self) -> Self:
        """Register and begin to renew; what ``with`` does on entry."""
        self._loop.run(self._inner.start(), _START_S)
        return self

    def stop(self) -> None:
        """Stop renewing and deregister; safe to repeat, also after the client was closed."""
        if self._loop.is_open:
            self._loop.run(self._inner.stop(), 3 * STOP_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
