"""From an HTTP request to the operation's request model; each mistake gets its place and what to do."""

import re
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.types import Receive, Scope

from serve_apps.middleware.request_scope import RequestScope
from serve_apps.refusal import InvalidRequest, unsupported_media_type
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.problems import ProblemPlace
from zejzl_ray.errors import InvalidInput, ServiceUnavailable

MAX_QUERY_BYTES: Final = 8192
_MAX_PLACES: Final = 20
_MAX_SHOWN_NAME: Final = 64
_MAX_INT: Final = 2**63 - 1
_REMEDY: Final = "Correct it; GET /openapi.json has the names, types and ranges."
_PATH_FIELD: Final = re.compile(r"{(\w+)}")
# leaves only the brackets: strings first, then everything that is not a bracket; a string that is never closed ends
# with the body, and nothing is read twice, so that no body takes longer than its length
_NOT_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[^\[\]{}"]++', re.DOTALL)


def path_fields(operation: Operation) -> tuple[str, ...]:
    """Return the fields of the request that stand in the path."""
    return tuple(_PATH_FIELD.findall(operation.path))


def has_body(operation: Operation) -> bool:
    """Tell whether the other fields are a JSON body; otherwise they are query parameters."""
    return operation.verb in {"POST", "PUT", "PATCH"}


def parse_query(scope: Scope) -> dict[str, str]:
    """Return the query parameters.

    Raises:
        InvalidInput: too long, not text, or a parameter is given twice.
    """
    query: bytes = scope["query_string"]
    if not query:
        return {}
    if len(query) > MAX_QUERY_BYTES:
        raise InvalidInput(f"query: longer than {MAX_QUERY_BYTES} bytes.", "Ask for less at once.")
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=64)
    except ValueError:
        raise InvalidInput(
            "query: not valid percent-encoded UTF-8.", "Encode the parameters again."
        ) from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidInput(f"query.{shown(name)}: given twice.", "Give it once.")
        found[name] = value
    return found


async def parse_body(request: RequestScope, receive: Receive, max_depth: int) -> dict[str, Any]:
    """Return the JSON object of the body; an empty body is an empty object.

    Raises:
        HttpRefusal: the body is not said to be JSON (415).
        InvalidInput: not JSON, not an object, or nested too deep.
    """
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ServiceUnavailable(
                "The client went away before the whole body had arrived.", "Send the request again."
            )
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            break
    body = b"".join(chunks)
    if not body:
        return {}
    media_type = request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise unsupported_media_type()
    _check_depth(body, max_depth)
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(
            f"body: not JSON (line {error.lineno}, column {error.colno}).", "Correct it."
        ) from None
    if not isinstance(content, dict):
        raise InvalidInput("body: not a JSON object.", _REMEDY)
    return content


def _check_depth(body: bytes, max_depth: int) -> None:
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return
    depth = 0
    for bracket in _NOT_BRACKETS.sub(b"", body):
        depth += 1 if bracket in b"[{" else -1
        if depth > max_depth:
            raise InvalidInput(f"body: nested deeper than {max_depth} levels.", "Flatten it.")


def min_revision_of(query: dict[str, str]) -> int | None:
    """Take ``min_revision`` out of the query parameters of a read.

    Raises:
        InvalidInput: not a whole number from 0 on.
    """
    given = query.pop("min_revision", None)
    if given is None:
        return None
    if not given.isascii() or not given.isdigit() or len(given) > 19 or int(given) > _MAX_INT:
        raise InvalidInput(
            "query.min_revision: not a whole number from 0 to 2**63-1.", "Take it from a write's answer."
        )
    return int(given)


def build_request(
    operation: Operation,
    path: dict[str, str],
    query: dict[str, str],
    body: dict[str, Any],
    request_id: str,
) -> Contract:
    """Return the operation's request model from the three parts.

    A command without a ``request_id`` of its own gets the one of the HTTP request, so that a client which
    repeats a request with the same ``X-Request-ID`` changes nothing twice.

    Raises:
        InvalidRequest: names every wrong place.
    """
    for name in path:
        if name in body or name in query:
            raise InvalidInput(
                f"{'body' if name in body else 'query'}.{name}: stands in the path already.", "Leave it out."
            )
    if query and has_body(operation):
        raise InvalidInput(f"query.{shown(next(iter(query)))}: this route has no such parameter.", _REMEDY)
    fields: dict[str, Any] = {**query, **body, **path}
    if "request_id" in operation.request.model_fields:
        fields.setdefault("request_id", request_id)
    try:
        return operation.request.model_validate(fields)
    except ValidationError as error:
        raise _invalid(operation, error, path) from None


def _invalid(operation: Operation, error: ValidationError, path: dict[str, str]) -> InvalidRequest:
    rest = "body" if has_body(operation) else "query"
    found = error.errors(include_url=False, include_context=False, include_input=False)
    places = tuple(
        _place(problem, "path" if problem["loc"][:1] and problem["loc"][0] in path else rest)
        for problem in found
    )
    more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
    return InvalidRequest(f"{places[0].place}: {places[0].message}{more}.", _REMEDY, places[:_MAX_PLACES])


def _place(problem: ErrorDetails, part: str) -> ProblemPlace:
    location = ".".join(shown(str(step)) for step in problem["loc"])
    return ProblemPlace(place=f"{part}.{location}" if location else part, message=problem["msg"])


def shown(name: str) -> str:
    """Return a name from outside in a form that can stand in a message: short and printable."""
    text = "".join(char if char.isprintable() else "?" for char in name[:_MAX_SHOWN_NAME])
    return text if len(name) <= _MAX_SHOWN_NAME else text + "..."
