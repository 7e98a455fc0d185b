"""Sending answers: ready bytes, models and problems."""

from collections.abc import Iterable
from typing import Final

from starlette.types import Send

from zejzl_ray.contracts.problems import PROBLEM_MEDIA_TYPE, Problem

JSON_TYPE: Final = (b"content-type", b"application/json")
NO_STORE: Final = (b"cache-control", b"no-store")
_PROBLEM_TYPE: Final = (b"content-type", PROBLEM_MEDIA_TYPE.encode())

Header = tuple[bytes, bytes]


async def send_bytes(send: Send, status: int, body: bytes, headers: Iterable[Header]) -> None:
    """Send a whole answer."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def send_json(send: Send, status: int, body: bytes, headers: Iterable[Header] = ()) -> None:
    """Send JSON that is already serialised; answers are never cached on the way."""
    await send_bytes(send, status, body, (JSON_TYPE, NO_STORE, *headers))


async def send_problem(send: Send, problem: Problem, headers: Iterable[Header] = ()) -> None:
    """Send a problem document."""
    body = problem.model_dump_json().encode()
    await send_bytes(send, problem.status, body, (_PROBLEM_TYPE, NO_STORE, *headers))
