import pickle
from typing import Any

import pytest

from serve_apps.middleware.errors import ErrorsMiddleware
from serve_apps.middleware.request_scope import RequestScopeMiddleware
from serve_apps.refusal import HttpRefusal, InvalidRequest, method_not_allowed
from zejzl_ray.contracts.problems import ProblemPlace

SCOPE = {"type": "http", "headers": [], "path": "/", "method": "GET"}


async def nothing(*_: Any) -> Any:
    raise AssertionError("nobody reads or sends")


async def test_an_answer_that_has_begun_is_broken_off() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("half way")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(RuntimeError, match="half way"):
        await RequestScopeMiddleware(ErrorsMiddleware(app))(dict(SCOPE), nothing, send)
    assert [message["type"] for message in sent] == ["http.response.start"]


async def test_what_is_not_http_passes() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    await RequestScopeMiddleware(ErrorsMiddleware(app))({"type": "lifespan"}, nothing, nothing)
    assert seen == ["lifespan"]


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("bad", "mend it", (ProblemPlace(place="body.x", message="no"),)),
        HttpRefusal(418, "tea", "Teapot", "short and stout", "none", ((b"a", b"b"),)),
    ],
)
def test_refusals_survive_pickling(error: Exception) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert vars(back) == vars(error)
    assert back.args == error.args


def test_a_refused_method_without_known_others_names_the_document() -> None:
    assert "openapi" in method_not_allowed("").remedy
