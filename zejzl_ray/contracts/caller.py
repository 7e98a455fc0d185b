"""How a request reaches a service, whatever lies between."""

from typing import Protocol

from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation


class Caller(Protocol):
    """One way to call operations: over actor handles, over HTTP, or directly in a test.

    Errors arrive as the project's own exceptions on every way. A call waits at most until ``call.deadline_at_s``, or
    the transport's own limit, and then raises ``DeadlineExceeded``.
    """

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        """Run the operation and return its reply, an instance of ``operation.reply``."""
        ...

    async def close(self) -> None:
        """Release connections; safe to repeat."""
        ...
