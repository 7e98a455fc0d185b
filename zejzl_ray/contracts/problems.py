"""Errors on the wire: problem details (RFC 9457), and the one table from error class to HTTP and gRPC status.

The ingress turns an exception into a ``Problem``; the SDK turns it back with ``error_of``. A class that the
table does not name has the status of its nearest parent in the tree.
"""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pydantic import ConfigDict, Field

from zejzl_ray import errors
from zejzl_ray.contracts.base import Contract
from zejzl_ray.errors import ZejzlError

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"
PROBLEM_TYPE_PREFIX: Final = "urn:zejzl:problem:"


class GrpcCode(IntEnum):
    """The status codes of gRPC that the project uses, with gRPC's own numbers."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class WireStatus:
    """How an error class looks on the wire.

    Attributes:
        http: HTTP status.
        grpc: gRPC status.
        title: short name of the kind of problem, the same for all of them.
        retry_after_s: seconds to wait before trying again; None when trying again does not help.
    """

    http: int
    grpc: GrpcCode
    title: str
    retry_after_s: int | None = None


_TABLE: Final[dict[type[ZejzlError], WireStatus]] = {
    errors.ZejzlError: WireStatus(500, GrpcCode.INTERNAL, "Internal error"),
    errors.InvalidInput: WireStatus(422, GrpcCode.INVALID_ARGUMENT, "The input cannot be used"),
    errors.PayloadTooLarge: WireStatus(413, GrpcCode.RESOURCE_EXHAUSTED, "Too large"),
    errors.NotFound: WireStatus(404, GrpcCode.NOT_FOUND, "Not found"),
    errors.Conflict: WireStatus(409, GrpcCode.FAILED_PRECONDITION, "The state does not allow it"),
    errors.AgentExists: WireStatus(409, GrpcCode.ALREADY_EXISTS, "The name is taken"),
    errors.AgentHeld: WireStatus(409, GrpcCode.ALREADY_EXISTS, "Another process holds the agent"),
    errors.VersionConflict: WireStatus(409, GrpcCode.ABORTED, "Changed by somebody else"),
    errors.RevisionCompacted: WireStatus(410, GrpcCode.OUT_OF_RANGE, "The history is no longer kept"),
    errors.NoCapacity: WireStatus(409, GrpcCode.RESOURCE_EXHAUSTED, "No room"),
    errors.Unauthenticated: WireStatus(401, GrpcCode.UNAUTHENTICATED, "No valid proof of who is calling"),
    errors.Forbidden: WireStatus(403, GrpcCode.PERMISSION_DENIED, "Not allowed"),
    errors.Unavailable: WireStatus(503, GrpcCode.UNAVAILABLE, "Try again later", retry_after_s=1),
    errors.Overloaded: WireStatus(503, GrpcCode.RESOURCE_EXHAUSTED, "Too much to do", retry_after_s=1),
    errors.RateLimited: WireStatus(429, GrpcCode.RESOURCE_EXHAUSTED, "Too many calls", retry_after_s=1),
    errors.DeadlineExceeded: WireStatus(504, GrpcCode.DEADLINE_EXCEEDED, "Not done in time"),
    errors.StaleEpoch: WireStatus(503, GrpcCode.UNAVAILABLE, "Try again later", retry_after_s=1),
}


class ProblemPlace(Contract):
    """One thing that is wrong, and where."""

    place: str = Field(description="such as body.port, query.limit, path.name, or the name of a check")
    message: str


class Problem(Contract):
    """Problem details as RFC 9457 has them, with the project's own members after ``detail``."""

    # a newer server may send members that an older SDK does not know
    model_config = ConfigDict(frozen=True, extra="ignore")

    type: str = Field(description="a URN that ends with the code")
    title: str
    status: int = Field(ge=200, le=599)
    detail: str = Field(description="what is wrong and where; one sentence")
    code: str = Field(description="stable name of the error, for programs")
    remedy: str = Field(default="", description="what to do about it")
    request_id: str = ""
    errors: tuple[ProblemPlace, ...] = Field(
        default=(), description="every wrong place, when there are several"
    )


def wire_status(error: ZejzlError | type[ZejzlError]) -> WireStatus:
    """Return the statuses of an error or error class."""
    error_class = error if isinstance(error, type) else type(error)
    return next(_TABLE[parent] for parent in error_class.__mro__ if parent in _TABLE)


def retry_after_of(error: ZejzlError) -> int | None:
    """Return after how many whole seconds it may be tried again, at least 1; None when that does not help."""
    if isinstance(error, errors.RateLimited):
        return max(1, math.ceil(error.retry_after_s))
    return wire_status(error).retry_after_s


def problem_of(error: ZejzlError, request_id: str = "", places: tuple[ProblemPlace, ...] = ()) -> Problem:
    """Return what the caller is told about an error."""
    status = wire_status(error)
    return Problem(
        type=PROBLEM_TYPE_PREFIX + error.code,
        title=status.title,
        status=status.http,
        detail=error.message or status.title,
        code=error.code,
        remedy=error.remedy,
        request_id=request_id,
        errors=places,
    )


def error_of(problem: Problem) -> ZejzlError:
    """Return the exception that a problem stands for.

    A code of a newer server becomes the error that fits its status best, at worst ``ZejzlError`` itself.
    """
    error_class = _class_by_code().get(problem.code) or _BY_HTTP.get(problem.status, ZejzlError)
    return error_class(problem.detail, problem.remedy)


_BY_HTTP: Final[dict[int, type[ZejzlError]]] = {
    400: errors.InvalidInput,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    410: errors.RevisionCompacted,
    413: errors.PayloadTooLarge,
    415: errors.InvalidInput,
    422: errors.InvalidInput,
    429: errors.RateLimited,
    502: errors.ServiceUnavailable,
    503: errors.ServiceUnavailable,
    504: errors.DeadlineExceeded,
}


def _class_by_code() -> dict[str, type[ZejzlError]]:
    found: dict[str, type[ZejzlError]] = {}
    waiting: list[type[ZejzlError]] = [ZejzlError]
    while waiting:
        error_class = waiting.pop()
        # a subclass that keeps its parent's code does not replace the parent
        found.setdefault(error_class.code, error_class)
        waiting.extend(error_class.__subclasses__())
    return found
