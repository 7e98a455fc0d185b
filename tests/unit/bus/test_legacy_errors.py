import copy
import pickle

import pytest
import structlog

from zejzl_ray import errors
from zejzl_ray.bus import legacy_errors as legacy
from zejzl_ray.bus.legacy_errors import handle_error, text_of, without_secrets
from zejzl_ray.errors import ZejzlError

OLD_NAMES = (
    "GrokputerError",
    "APIError",
    "MemoryError",
    "MemoryError_",
    "AgentError",
    "MessageBusError",
    "VisionError",
    "ConfigurationError",
    "ValidationError",
    "TimeoutError",
    "TimeoutError_",
    "ResourceError",
    "BudgetExhaustedError",
    "PermissionDeniedError",
    "SwarmCoordinationError",
    "DeadlockError",
    "ToonDecodeError",
)
every_name = pytest.mark.parametrize("name", OLD_NAMES)


@every_name
def test_an_old_name_is_a_class_of_the_tree_and_takes_details_second(name: str) -> None:
    cls: type[ZejzlError] = getattr(legacy, name)
    assert cls.__module__ == errors.__name__
    error = cls("it failed", {"attempt": 3})
    with pytest.raises(legacy.GrokputerError) as info:
        raise error
    assert info.value is error
    assert (error.message, error.details) == ("it failed", {"attempt": 3})
    assert cls("it failed").details == {}
    assert cls("it failed", details={"attempt": 3}).details == {"attempt": 3}


@every_name
def test_an_old_error_survives_the_trip_between_processes(name: str) -> None:
    error = getattr(legacy, name)("it failed", {"attempt": 3})
    for back in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(back), vars(back), text_of(back)) == (type(error), vars(error), text_of(error))


def test_what_the_bus_raises_is_caught_by_its_old_names() -> None:
    with pytest.raises(legacy.MessageBusError):
        raise errors.UnknownAgent("Unknown agent: planner")
    with pytest.raises(legacy.TimeoutError):
        raise errors.RequestTimedOut("no reply")
    with pytest.raises(TimeoutError):
        raise legacy.TimeoutError_("no reply")
    with pytest.raises(legacy.DeadlockError):
        raise errors.DeadlockDetected("a, b")


def test_the_names_without_an_underscore_are_not_the_built_in_ones() -> None:
    assert not issubclass(legacy.MemoryError, MemoryError)
    assert legacy.TimeoutError.__module__ == errors.__name__
    assert issubclass(legacy.TimeoutError, TimeoutError)


def test_the_old_text_has_the_details_and_no_secret() -> None:
    assert text_of(legacy.APIError("refused")) == "refused"
    assert text_of(legacy.APIError("refused", {"status": 500})) == "refused | Details: {'status': 500}"
    hidden = text_of(
        legacy.APIError(
            "refused by redis://me:sesame@host",
            {"api_key": "sesame", "headers": {"Authorization": "Bearer sesame"}, "tries": ["Bearer sesame1"]},
        )
    )
    assert "sesame" not in hidden
    assert "'api_key': '[hidden]'" in hidden
    assert text_of(ValueError("redis://me:sesame@host")) == "redis://me:[hidden]@host"


def test_hiding_secrets_leaves_the_error_as_it_was() -> None:
    details = {"password": "sesame", "inner": {"token": "sesame"}}
    assert without_secrets(details) == {"password": "[hidden]", "inner": {"token": "[hidden]"}}
    assert details == {"password": "sesame", "inner": {"token": "sesame"}}


@pytest.mark.parametrize(
    ("context", "text"),
    [("", "ProviderFailed: refused"), ("planner", "[planner] ProviderFailed: refused")],
)
def test_an_error_is_logged_with_its_context_and_details_at_debug(context: str, text: str) -> None:
    with structlog.testing.capture_logs() as lines:
        handle_error(legacy.APIError("refused", {"token": "sesame", "status": 500}), context)
    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("error", text),
        ("debug", "details of the error"),
    ]
    assert lines[1]["details"] == {"token": "[hidden]", "status": 500}


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        ("debug", "debug"),
        ("INFO", "info"),
        ("warning", "warning"),
        ("critical", "critical"),
        ("loud", "error"),
    ],
)
def test_an_unknown_level_counts_as_error(asked: str, used: str) -> None:
    with structlog.testing.capture_logs() as lines:
        handle_error(ValueError("redis://me:sesame@host"), log_level=asked)
    assert [(line["log_level"], line["event"]) for line in lines] == [
        (used, "ValueError: redis://me:[hidden]@host")
    ]
