import pickle
from collections.abc import Iterator

import pytest

from zejzl_ray import errors
from zejzl_ray.contracts.problems import (
    Problem,
    ProblemPlace,
    error_of,
    problem_of,
    retry_after_of,
    wire_status,
)
from zejzl_ray.errors import ZejzlError


def _tree(parent: type[ZejzlError] = ZejzlError) -> Iterator[type[ZejzlError]]:
    for child in parent.__subclasses__():
        if child.__module__ == errors.__name__ and child.__bases__[0] is parent:
            yield child
            yield from _tree(child)


@pytest.mark.parametrize("error_class", list(_tree()))
def test_every_error_comes_back_from_the_wire_as_itself(error_class: type[ZejzlError]) -> None:
    problem = problem_of(error_class("what", "do this"), "req-1")
    back = error_of(Problem.model_validate_json(problem.model_dump_json()))
    assert type(back) is error_class
    assert (back.message, back.remedy) == ("what", "do this")
    assert problem.type == f"urn:zejzl:problem:{error_class.code}"
    assert 400 <= problem.status < 600


@pytest.mark.parametrize(
    ("error_class", "http"),
    [
        (errors.InvalidInput, 422),
        (errors.FleetInvalid, 422),
        (errors.PayloadTooLarge, 413),
        (errors.AgentNotFound, 404),
        (errors.AgentExists, 409),
        (errors.RevisionCompacted, 410),
        (errors.Unauthenticated, 401),
        (errors.Forbidden, 403),
        (errors.StoreUnavailable, 503),
        (errors.Overloaded, 503),
        (errors.RateLimited, 429),
        (errors.LoginRefused, 401),
        (errors.TokenRevoked, 401),
        (errors.SecurityFeedStale, 503),
        (errors.DeadlineExceeded, 504),
        (errors.StoreLocked, 500),
        (errors.StaleEpoch, 503),
        (ZejzlError, 500),
    ],
)
def test_the_table_gives_each_class_its_http_status(error_class: type[ZejzlError], http: int) -> None:
    assert wire_status(error_class).http == http


@pytest.mark.parametrize("error_class", [ZejzlError, *_tree()])
def test_exactly_the_answers_with_429_and_503_say_when_to_try_again(error_class: type[ZejzlError]) -> None:
    status = wire_status(error_class)
    assert (status.retry_after_s is not None) == (status.http in (429, 503))


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (errors.RateLimited("m", "r", 2.2), 3),
        (errors.RateLimited("m", "r", 0.0), 1),
        (errors.Overloaded("m"), 1),
        (errors.Forbidden("m"), None),
    ],
)
def test_who_calls_too_often_is_told_its_own_time_in_whole_seconds(
    error: ZejzlError, seconds: int | None
) -> None:
    assert retry_after_of(error) == seconds


def test_an_unknown_code_becomes_the_error_of_its_status() -> None:
    known = problem_of(errors.AgentNotFound("gone"))
    assert type(error_of(known.model_copy(update={"code": "new", "status": 404}))) is errors.NotFound
    assert type(error_of(known.model_copy(update={"code": "new", "status": 418}))) is ZejzlError


def test_an_error_without_a_message_is_described_by_its_title() -> None:
    assert problem_of(errors.Forbidden()).detail == "Not allowed"


def test_an_older_reader_ignores_members_it_does_not_know() -> None:
    document = problem_of(errors.NotFound("no")).model_dump() | {"added_later": 1}
    assert Problem.model_validate(document).detail == "no"


def test_a_problem_names_every_wrong_place_and_survives_pickling() -> None:
    places = (ProblemPlace(place="body.port", message="too large"),)
    problem = problem_of(errors.InvalidInput("bad"), places=places)
    assert pickle.loads(pickle.dumps(problem)).errors == places
