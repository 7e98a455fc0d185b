"""Every error becomes a problem document; nothing else leaves the application."""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_apps.answer import Header, send_problem
from serve_apps.middleware.request_scope import RequestScope, request_scope_of
from serve_apps.refusal import HttpRefusal, InvalidRequest
from zejzl_ray.contracts.problems import Problem, problem_of, retry_after_of
from zejzl_ray.errors import Unauthenticated, ZejzlError

_log = logging.getLogger("zejzl.ingress")


class ErrorsMiddleware:
    """Answers exceptions of the rest of the application with problem documents.

    A foreign exception is logged with the request id, and its details stay inside. When the answer has
    already begun, the connection is broken off instead, so that a half answer cannot be taken for a whole
    one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the rest of the application and answer what it raises."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = False

        async def send_noting(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        except Exception as error:
            if has_started:
                raise
            request = request_scope_of(scope)
            problem, headers = problem_for(error, request.request_id)
            if problem.status >= 500:
                _log_failure(error, problem, request)
            await send_problem(send, problem, headers)


def problem_for(error: Exception, request_id: str) -> tuple[Problem, tuple[Header, ...]]:
    """Return what the caller is told about an exception, and the headers that belong to it."""
    if isinstance(error, HttpRefusal):
        return error.problem(request_id), error.headers
    if not isinstance(error, ZejzlError):
        error = ZejzlError(
            "Internal error.", "Tell the operator the request id; the log of the ingress has the rest."
        )
    places = error.places if isinstance(error, InvalidRequest) else ()
    headers: tuple[Header, ...] = ()
    retry_after_s = retry_after_of(error)
    if retry_after_s is not None:
        headers = ((b"retry-after", b"%d" % retry_after_s),)
    if isinstance(error, Unauthenticated):
        headers = ((b"www-authenticate", b'Bearer realm="zejzl"'),)
    return problem_of(error, request_id, places), headers


def _log_failure(error: Exception, problem: Problem, request: RequestScope) -> None:
    if isinstance(error, ZejzlError):
        _log.warning("request %s failed with %s: %s", request.request_id, problem.status, error.message)
    else:
        _log.error("request %s failed", request.request_id, exc_info=error)
