"""Closed by default: every method of a shell is checked before it runs, and one that cannot be is an error at start."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from zejzl_ray.contracts.access import AuthenticatedCall
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.errors import InvalidInput
from zejzl_ray.log import bind_call

A = TypeVar("A", bound=type)

# Where a shell keeps what checks its calls.
DOOR = "_security"


class Door(Protocol):
    """What checks a call."""

    async def admit(self, operation: Operation, request: Contract, call: CallContext) -> AuthenticatedCall:
        """Return the call with its caller, or raise."""
        ...


def closed(service: str) -> Callable[[A], A]:
    """Close the methods of an actor class: each is an operation of the service, and is admitted before it runs.

    The instance keeps its ``Door`` in ``_security``. The class may have no other methods than ``__init__`` and the
    operations, since every function of an actor class can be called by handle.

    Raises:
        TypeError: a method is no operation of the service, or an operation has no method.
    """

    def close(actor: A) -> A:
        operations = BY_SERVICE[service]
        methods = {
            name: value
            for base in reversed(actor.__mro__[:-1])
            for name, value in vars(base).items()
            if inspect.isroutine(value) and not (name.startswith("__") and name.endswith("__"))
        }
        unknown = sorted(methods.keys() - operations.keys())
        missing = sorted(operations.keys() - methods.keys())
        if unknown or missing:
            raise TypeError(
                f"{actor.__name__}: methods without a declared operation: {', '.join(unknown) or 'none'}; "
                f"operations without a method: {', '.join(missing) or 'none'}."
            )
        for name, method in methods.items():
            setattr(actor, name, _checked(operations[name], method))
        return actor

    return close


def _checked(operation: Operation, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def checked(self: Any, request: Contract, call: CallContext) -> Any:
        if type(request) is not operation.request or not isinstance(call, CallContext):
            raise InvalidInput(
                f"{operation.key} takes a {operation.request.__name__} and a CallContext.",
                "Call it through the typed client, with the same version of zejzl-ray.",
            )
        door: Door = getattr(self, DOOR)
        with bind_call(call.request_id, call.caused_by):  # refusals are logged with them too
            return await method(self, request, await door.admit(operation, request, call))

    return checked
