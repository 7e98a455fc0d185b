"""What every line inside of a piece of work carries, without being handed from function to function."""

from contextlib import AbstractContextManager

import structlog


def bind_call(request_id: str, caused_by: str = "") -> AbstractContextManager[None]:
    """Return a context in which every line carries this request id and what caused it; calls may nest."""
    # Both always: an inner call that nobody caused must not show the cause of the outer one.
    return structlog.contextvars.bound_contextvars(request_id=request_id, caused_by=caused_by)


def bind_agent(agent: str) -> AbstractContextManager[None]:
    """Return a context in which every line carries ``agent``, by which ``zejzl logs --agent`` finds it."""
    return structlog.contextvars.bound_contextvars(agent=agent)
