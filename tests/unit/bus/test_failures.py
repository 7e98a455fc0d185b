from collections.abc import Iterator
from typing import Any

import pytest

from zejzl_ray import errors
from zejzl_ray.bus import codec
from zejzl_ray.bus.failures import FAILURE, error_from, failure_content, is_failure
from zejzl_ray.bus.message import Message
from zejzl_ray.errors import AgentUnreachable, BusError, Conflict, RateLimited, ZejzlError


def tree(parent: type[ZejzlError]) -> Iterator[type[ZejzlError]]:
    yield parent
    for child in parent.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


@pytest.mark.parametrize("kind", tuple(tree(ZejzlError)), ids=lambda kind: kind.__name__)
def test_every_error_of_the_tree_comes_out_as_it_went_in(kind: type[ZejzlError]) -> None:
    content = failure_content(kind("it failed", "Try again."))
    reply = codec.decode(codec.encode(Message("a", "b", FAILURE, content, is_reply=True)))
    assert is_failure(reply)
    error = error_from(reply.content)
    assert (type(error), error.message, error.remedy) == (kind, "it failed", "Try again.")


def test_details_travel_as_far_as_they_are_plain() -> None:
    error = AgentUnreachable(
        "gone", "", {"moves_to": "h2", "hosts": ("a", "b"), "object": object(), "n": None}
    )
    back = error_from(failure_content(error))
    assert isinstance(back, AgentUnreachable)
    assert back.details == {"moves_to": "h2", "hosts": ["a", "b"], "n": None}


def test_a_rate_limit_keeps_its_wait() -> None:
    back = error_from(failure_content(RateLimited("too many", "", 7.5)))
    assert isinstance(back, RateLimited)
    assert back.retry_after_s == 7.5


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        ({"error": "of_a_newer_version", "message": "new", "remedy": ""}, BusError, "new"),
        ({}, BusError, "The request failed."),
        ({"error": 3, "message": [], "remedy": {}, "details": "x"}, BusError, "The request failed."),
        ({"error": "rate_limited", "details": {"retry_after_s": "soon"}}, RateLimited, "The request failed."),
        ({"error": "rate_limited", "details": {"retry_after_s": -1}}, RateLimited, "The request failed."),
        ({"error": "conflict", "message": "x" * 9999}, Conflict, "x" * 2000),
    ],
)
def test_whatever_comes_is_an_error(content: dict[str, Any], kind: type[ZejzlError], message: str) -> None:
    error = error_from(content)
    assert (type(error), error.message) == (kind, message)
    if kind is BusError:
        assert isinstance(error, BusError)
        assert error.details["code"] == (
            content.get("error") if content.get("error") == "of_a_newer_version" else ""
        )


def test_other_replies_are_no_failures() -> None:
    assert not is_failure(Message("a", "b", FAILURE, {}))
    assert not is_failure(Message("a", "b", "x_response", {}, is_reply=True))
