"""What the hub tells of deadlocks while agents talk: healthy traffic must raise none."""

import asyncio
from types import TracebackType
from typing import Final, Self

from pydantic import SecretStr

from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.gateway_access import GatewayAccess
from zejzl_ray.cluster.observability_hub import ObservabilityHubClient
from zejzl_ray.contracts.observability_hub import GetDeadlockStatus, WaitCondition
from zejzl_ray.errors import ZejzlError

_LIMIT_S: Final = 10.0


class DeadlockWatch:
    """Asks the hub now and then; needs a process that is connected to Ray, and no running event loop.

    Args:
        namespace: of the services.
        credential: of who asks; may read what waits.

    Attributes:
        detected: deadlocks that the hub has found since its start.
        asked: how many times it was asked and has answered.
        most_busy: the most agents with a handler at work, or requests in their mailbox, that it told of at once.
        problem: why it did not answer when it was asked last; empty when it did.
    """

    def __init__(self, namespace: str, credential: SecretStr) -> None:
        self._namespace = namespace
        self._credential = credential
        self._runner = asyncio.Runner()
        self._access: GatewayAccess | None = None  # one for all questions: each new one leaves a token behind
        self.detected = 0
        self.asked = 0
        self.most_busy = 0
        self.problem = ""

    def __enter__(self) -> Self:
        """Begin."""
        self._runner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of its token and its event loop."""
        if self._access is not None:
            self._runner.run(self._access.close())
        self._runner.__exit__(kind, error, trace)

    def ask(self) -> None:
        """Ask once; a hub that does not answer is asked again next time."""
        try:
            self._runner.run(self._ask())
        except (ZejzlError, TimeoutError) as error:
            self.problem = f"{type(error).__name__}: {error}"
        else:
            self.problem = ""
            self.asked += 1

    async def _ask(self) -> None:
        if self._access is None:
            self._access = GatewayAccess(self._namespace, self._credential, SystemClock(), timeout_s=_LIMIT_S)
        status = await ObservabilityHubClient(self._access.caller).get_deadlock_status(GetDeadlockStatus())
        self.detected = status.detected
        busy = status.agents_monitored - status.by_condition.get(WaitCondition.IDLE, 0)
        self.most_busy = max(self.most_busy, busy)
