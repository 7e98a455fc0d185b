"""The routes, generated from the list of operations."""

from collections.abc import Callable
from typing import Any, Final

from fastapi.routing import APIRoute

from serve_apps.endpoint import Endpoint
from serve_apps.openapi import documented, problem_responses, responses_of
from zejzl_ray.contracts.operation import Operation

# operations that a replica answers from its copy; they take min_revision
COPY_READS: Final = frozenset(
    f"core_orchestrator.{name}"
    for name in ("get_agent", "list_agents", "get_machine", "list_machines", "get_fleet")
)
_STREAM_CONTENT: Final = {
    "text/event-stream": {
        "schema": {"type": "string"},
        "example": 'id: 7\nevent: agent_registered\ndata: {"kind": "agent_registered", ...}\n\n',
    }
}


class OperationRoute(APIRoute):
    """A route that FastAPI documents and that runs an ASGI endpoint of ours.

    FastAPI's own handling of parameters and replies is left out: the endpoint validates against the same
    models, and the reads send bytes that are already serialised.
    """

    def __init__(
        self, path: str, documentation: Callable[..., None], endpoint: Endpoint, **options: Any
    ) -> None:
        super().__init__(path, documentation, **options)
        self.app = endpoint


def operation_route(operation: Operation, endpoint: Endpoint) -> OperationRoute:
    """Return the route of an operation; its OpenAPI entry shows the scope as ``x-scope``."""
    responses = responses_of(operation)
    if operation.key == "core_orchestrator.watch_agents":
        responses[operation.status] = {"content": _STREAM_CONTENT}
    extra: dict[str, Any] = {"x-scope": operation.scope}
    if operation.own_scope:
        extra |= {"x-own-scope": operation.own_scope, "x-own-field": operation.own_field}
    if operation.is_public:
        extra["security"] = []
    return OperationRoute(
        operation.path,
        documented(operation, takes_min_revision=operation.key in COPY_READS),
        endpoint,
        methods=[operation.verb],
        name=operation.key,
        operation_id=operation.key,
        response_model=operation.reply,
        status_code=operation.status,
        responses=responses,
        openapi_extra=extra,
        tags=[operation.path.split("/")[2] if operation.path.startswith("/v1/") else "keys"],
    )


def probe_route(
    path: str, name: str, endpoint: Endpoint, *, reply: Any, is_public: bool = False
) -> OperationRoute:
    """Return a route without parameters that is no operation of a service."""

    def documentation() -> None:
        raise AssertionError("documentation only")

    documentation.__doc__ = endpoint.__doc__
    responses = {} if is_public else problem_responses(401, 403, 422, 429, 500, 503)
    if reply is None:
        responses[200] = {
            "description": "Prometheus text",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    return OperationRoute(
        path,
        documentation,
        endpoint,
        methods=["GET"],
        name=name,
        operation_id=name,
        response_model=reply,
        responses=responses,
        openapi_extra={"security": []} if is_public else None,
        tags=["probes"],
    )
