"""Refusals of HTTP itself, which are no errors of a service, and requests with several wrong places."""

from zejzl_ray.contracts.problems import PROBLEM_TYPE_PREFIX, Problem, ProblemPlace
from zejzl_ray.errors import InvalidInput


class InvalidRequest(InvalidInput):
    """A request whose parts do not fit the operation; names every wrong place."""

    def __init__(self, message: str = "", remedy: str = "", places: tuple[ProblemPlace, ...] = ()) -> None:
        super().__init__(message, remedy)
        self.args = (message, remedy, places)
        self.places = places


class HttpRefusal(Exception):
    """A request that HTTP alone refuses: no such route, wrong method, wrong media type.

    Args:
        status: HTTP status.
        code: stable name of the problem.
        title: short name of the kind of problem.
        detail: what is wrong and where.
        remedy: what to do about it.
        headers: further headers of the answer.
    """

    def __init__(  # exceptions are pickled by position
        self,
        status: int,
        code: str,
        title: str,
        detail: str,
        remedy: str,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(status, code, title, detail, remedy, headers)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.remedy = remedy
        self.headers = headers

    def problem(self, request_id: str) -> Problem:
        """Return what the caller is told."""
        return Problem(
            type=PROBLEM_TYPE_PREFIX + self.code,
            title=self.title,
            status=self.status,
            detail=self.detail,
            code=self.code,
            remedy=self.remedy,
            request_id=request_id,
        )


def route_not_found() -> HttpRefusal:
    """Return the refusal of an unknown path."""
    return HttpRefusal(
        404, "route_not_found", "Not found", "path: no such route.", "GET /openapi.json lists the routes."
    )


def method_not_allowed(allow: str) -> HttpRefusal:
    """Return the refusal of a method that the path does not have; ``allow`` lists the ones it has."""
    return HttpRefusal(
        405,
        "method_not_allowed",
        "Method not allowed",
        "method: the path does not have this method.",
        f"Use one of: {allow}." if allow else "GET /openapi.json lists the routes.",
        ((b"allow", allow.encode("ascii")),),
    )


def unsupported_media_type() -> HttpRefusal:
    """Return the refusal of a body that is not JSON."""
    return HttpRefusal(
        415,
        "unsupported_media_type",
        "Unsupported media type",
        "header.Content-Type: not application/json.",
        "Send JSON with Content-Type: application/json.",
        ((b"accept", b"application/json"),),
    )
