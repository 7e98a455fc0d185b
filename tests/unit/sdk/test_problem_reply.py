import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray import errors
from zejzl_ray.contracts.problems import problem_of
from zejzl_ray.errors import ZejzlError
from zejzl_ray.sdk.problem_reply import retry_after_s, to_error


def test_a_problem_gives_back_the_exception_that_the_service_raised() -> None:
    body = problem_of(errors.AgentNotFound("No agent 'x'.", "List them."), "req-1").model_dump_json().encode()
    error = to_error(404, body, where="get_agent")
    assert (type(error), error.message, error.remedy) == (errors.AgentNotFound, "No agent 'x'.", "List them.")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, errors.InvalidInput),
        (401, errors.Unauthenticated),
        (405, errors.InvalidInput),
        (408, errors.DeadlineExceeded),
        (418, errors.InvalidInput),
        (429, errors.RateLimited),
        (500, ZejzlError),
        (502, errors.ServiceUnavailable),
        (503, errors.ServiceUnavailable),
        (504, errors.DeadlineExceeded),
        (302, ZejzlError),
        (999, ZejzlError),
    ],
)
def test_the_page_of_a_proxy_gives_the_error_of_its_status(status: int, expected: type[ZejzlError]) -> None:
    error = to_error(status, b"<html><h1>Bad Gateway</h1></html>", where="get_agent at http://x")
    assert type(error) is expected
    assert (
        error.message == f"get_agent at http://x was answered with HTTP status {status} and no problem code."
    )
    assert "proxy" in error.remedy


def test_a_code_of_a_newer_server_gives_the_error_of_the_status_with_its_texts() -> None:
    body = json.dumps({"code": "moon_phase_wrong", "detail": "Not today.", "remedy": "Wait."}).encode()
    error = to_error(409, body, where="x")
    assert (type(error), error.message, error.remedy) == (errors.Conflict, "Not today.", "Wait.")


def test_an_unknown_code_without_a_text_is_named() -> None:
    assert to_error(405, b'{"code": "method_not_allowed"}', where="x").message == "x: method_not_allowed."


def test_json_that_is_no_problem_document_lends_its_title() -> None:
    error = to_error(500, b'{"title": "Oops", "code": 7}', where="x")
    assert error.message == "x was answered with HTTP status 500 and no problem code: Oops."


def test_an_internal_error_of_the_service_stays_one_whatever_the_status() -> None:
    assert type(to_error(400, b'{"code": "internal", "detail": "d"}', where="x")) is ZejzlError


@given(st.integers(300, 999), st.binary())
def test_every_answer_gives_an_error_of_the_project(status: int, body: bytes) -> None:
    assert str(to_error(status, body, where="x"))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("3", 3.0),
        (" 0 ", 0.0),
        (None, None),
        ("", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("-1", None),
    ],
)
def test_retry_after_is_read_as_whole_seconds(header: str | None, expected: float | None) -> None:
    assert retry_after_s(header) == expected
