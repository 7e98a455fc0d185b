"""Which pieces of work are under way in this process, and how the last ones ended; bounded."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from time import monotonic, time
from typing import Any, Literal

from zejzl_ray.ids import new_id
from zejzl_ray.log.redaction import redact
from zejzl_ray.log.setup import get_logger

_MAX_ERROR = 500


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens of one call of a model, as its provider counts them."""

    prompt: int = 0
    completion: int = 0


@dataclass(frozen=True, slots=True)
class TrackedRequest:
    """One piece of work; what it returned is not kept.

    Attributes:
        started_at_s: wall time.
        duration_s: null while it is under way.
        status: ``forgotten`` is one that was pushed out by newer ones before it ended.
        error: type and text, at most 500 characters, without secrets; empty if there was none.
    """

    request_id: str
    operation: str
    started_at_s: float
    metadata: Mapping[str, Any] = field(default_factory=dict)
    status: Literal["active", "completed", "error", "forgotten"] = "active"
    duration_s: float | None = None
    error: str = ""


class RequestTracker:
    """Keeps requests that are under way, and a ring of those that ended; may be used by several threads.

    Args:
        active: how many under way are kept; the oldest are forgotten first.
        finished: how many that ended are kept.
        clock_s: monotonic time.
    """

    def __init__(
        self, *, active: int = 1000, finished: int = 1000, clock_s: Callable[[], float] = monotonic
    ) -> None:
        self._lock = threading.Lock()
        self._max_active = active
        self._active: OrderedDict[str, tuple[float, TrackedRequest]] = OrderedDict()
        self._finished: deque[TrackedRequest] = deque(maxlen=finished)
        self._clock_s = clock_s

    def start_request(self, operation: str, /, **metadata: Any) -> str:
        """Return the new request's id, unique over processes."""
        request_id = new_id()
        with self._lock:
            self._active[request_id] = (
                self._clock_s(),
                TrackedRequest(request_id, operation, time(), metadata),
            )
            if len(self._active) > self._max_active:
                _, (_, oldest) = self._active.popitem(last=False)
                self._finished.append(replace(oldest, status="forgotten"))
        return request_id

    def end_request(self, request_id: str, error: BaseException | str | None = None) -> TrackedRequest | None:
        """Note the end of a request and return it; one that is not known is a warning in the log, and null."""
        with self._lock:
            found = self._active.pop(request_id, None)
            if found is not None:
                started_s, request = found
                text = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else error or ""
                ended = replace(
                    request,
                    status="completed" if error is None else "error",
                    duration_s=self._clock_s() - started_s,
                    error=redact(text)[:_MAX_ERROR],
                )
                self._finished.append(ended)
        if found is None:
            get_logger("zejzl.tracking").warning("an unknown request has ended", ended=request_id)
            return None
        return ended

    def active(self) -> list[TrackedRequest]:
        """Return what is under way, oldest first."""
        with self._lock:
            return [request for _, request in self._active.values()]

    def finished(self) -> list[TrackedRequest]:
        """Return the last that ended, oldest first."""
        with self._lock:
            return list(self._finished)
