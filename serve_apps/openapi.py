"""The OpenAPI document, from the list of operations."""

import inspect
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from fastapi import Body, FastAPI, Path, Query
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from serve_apps.request_parsing import has_body, path_fields
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.problems import PROBLEM_MEDIA_TYPE, Problem

_SECURITY_SCHEME: Final = "bearer"
_PROBLEM_REF: Final = {"$ref": "#/components/schemas/Problem"}
_TEXTS: Final[dict[int, str]] = {
    401: "No valid token.",
    403: "Known, but not allowed.",
    404: "No such thing.",
    408: "The request did not arrive in time.",
    405: "The path does not have this method.",
    409: "The current state does not allow it.",
    410: "The asked-for history is no longer kept.",
    411: "The body comes without its length.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    429: "Too many calls of this caller or from this address.",
    422: "The request cannot be used; every wrong place is named.",
    500: "Internal error; the request id leads to the log.",
    502: "The ingress went away while it answered.",
    503: "Not now; try again after the named seconds.",
    504: "Not done within the time limit; it may still take effect.",
}
_NAME_THINGS_IN_THE_QUERY: Final = {"read_audit", "read_logs"}
_RETRY_AFTER: Final = {
    "Retry-After": {
        "description": "seconds to wait",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    }
}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of problem documents with these statuses."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted(statuses):
        found[status] = {
            "description": _TEXTS[status],
            "content": {PROBLEM_MEDIA_TYPE: {"schema": _PROBLEM_REF}},
        }
        if status in (429, 503):
            found[status]["headers"] = _RETRY_AFTER
    return found


def responses_of(operation: Operation) -> dict[int | str, dict[str, Any]]:
    """Return every refusal that an operation may answer with."""
    statuses = {401, 403, 408, 422, 429, 500, 502, 503, 504}
    if path_fields(operation) or operation.name in _NAME_THINGS_IN_THE_QUERY:
        statuses.add(404)
    if operation.verb != "GET":
        statuses |= {404, 409, 411, 413}
    if has_body(operation):
        statuses.add(415)
    if operation.name in {"watch_agents", "get_history"}:
        statuses.add(410)
    return problem_responses(*statuses)


def documented(operation: Operation, *, takes_min_revision: bool) -> Callable[..., None]:
    """Return a function whose signature tells FastAPI the parameters and body of an operation.

    It is never called: the route runs an endpoint of its own.
    """

    def endpoint() -> None:
        raise AssertionError("documentation only")

    in_path = path_fields(operation)
    parameters = [_parameter(name, operation.request.model_fields[name], Path) for name in in_path]
    rest = {name: field for name, field in operation.request.model_fields.items() if name not in in_path}
    if has_body(operation):
        if rest:
            parameters.append(_keyword("body", Annotated[_body_model(operation, in_path, rest), Body()]))
    else:
        parameters += [_parameter(name, field, Query) for name, field in rest.items()]
    if takes_min_revision:
        text = "wait, within bounds, until this replica has the revision; comes from the answer to a write"
        annotation: Any = Annotated[int, Query(ge=0, le=2**63 - 1, description=text)]
        parameters.append(_keyword("min_revision", annotation, None))
    endpoint.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # functions take attributes
    endpoint.__name__ = operation.name
    endpoint.__doc__ = operation.request.__doc__
    return endpoint


def _parameter(name: str, field: FieldInfo, kind: Callable[..., Any]) -> inspect.Parameter:
    default: Any = inspect.Parameter.empty
    annotation: Any = field.annotation
    if not field.is_required():
        # a factory makes a new value for each call, so the document calls the parameter optional
        default = None if field.default_factory is not None else field.default
    if get_origin(annotation) in (Union, UnionType):
        # a parameter in a URL is given or not; there is no null
        annotation = Union[tuple(kind for kind in get_args(annotation) if kind is not NoneType)]  # noqa: UP007  # built
    metadata = (*field.metadata, kind(description=field.description))
    return _keyword(name, Annotated[(annotation, *metadata)], default)


def _keyword(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _body_model(
    operation: Operation, in_path: tuple[str, ...], rest: dict[str, FieldInfo]
) -> type[BaseModel]:
    if not in_path:
        return operation.request
    fields: dict[str, Any] = {name: (field.annotation, field) for name, field in rest.items()}
    model: type[BaseModel] = create_model(
        f"{operation.request.__name__}Body", __base__=Contract, __doc__=operation.request.__doc__, **fields
    )
    return model


def install_openapi(app: FastAPI) -> None:
    """Let the application's document contain the problem schema and the bearer token."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            components = schema.setdefault("components", {})
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            components.setdefault("schemas", {}).update({**problem.pop("$defs", {}), "Problem": problem})
            components["securitySchemes"] = {_SECURITY_SCHEME: {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{_SECURITY_SCHEME: []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
