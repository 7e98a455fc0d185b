"""Log lines are JSON, name their service, and hold no secret."""

import asyncio
import io
import json
from typing import Any

import pytest
from pydantic import SecretStr

from zejzl_ray.log import configure_logging, get_logger, redact


def written(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_component_and_service() -> None:
    stream = io.StringIO()
    configure_logging("INFO", service="error_bus", stream=stream)
    get_logger("shell").info("ready", took_s=1.5)
    (line,) = written(stream)
    assert (line["event"], line["component"], line["service"]) == ("ready", "shell", "error_bus")
    assert (line["level"], line["took_s"]) == ("info", 1.5)
    assert line["timestamp"].endswith("Z")


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    configure_logging("WARNING", stream=stream)
    get_logger("x").info("quiet")
    get_logger("x").warning("loud")
    assert [line["event"] for line in written(stream)] == ["loud"]
    assert "service" not in written(stream)[0]


def test_a_repeated_configuration_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging(stream=first)
    configure_logging(service="b", stream=second)
    get_logger("x").info("here")
    assert first.getvalue() == ""
    assert written(second)[0]["service"] == "b"


async def test_the_service_is_named_in_tasks_that_began_before_it_was_configured() -> None:
    stream = io.StringIO()
    begin = asyncio.Event()

    async def later() -> None:
        await begin.wait()
        get_logger("x").info("from a task")

    task = asyncio.create_task(later())
    await asyncio.sleep(0)
    configure_logging(service="error_bus", stream=stream)
    begin.set()
    await task
    assert written(stream)[0]["service"] == "error_bus"


@pytest.mark.parametrize(
    "key", ["token", "ray_token", "Password", "api_key", "apikey", "secrets", "authorization"]
)
def test_values_of_secret_keys_are_hidden(key: str) -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    get_logger("x").info("event", **{key: "hunter2"})
    assert "hunter2" not in stream.getvalue()
    assert written(stream)[0][key] == "[hidden]"


def test_empty_secrets_and_words_that_only_look_like_keys_are_shown() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    get_logger("x").info("event", token="", tokenizer="bpe")
    (line,) = written(stream)
    assert (line["token"], line["tokenizer"]) == ("", "bpe")


def test_secrets_are_hidden_however_deep_they_lie() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    get_logger("x").info(
        "event",
        settings={"redis": {"password": "hunter2", "port": 6380}},
        lines=["Bearer hunter2", ("redis://u:hunter2@host/0",)],
        proof=SecretStr("hunter2"),
        raw=b"hunter2",
    )
    assert "hunter2" not in stream.getvalue()
    (line,) = written(stream)
    assert line["settings"]["redis"]["port"] == 6380
    assert line["lines"] == ["Bearer [hidden]", ["redis://u:[hidden]@host/0"]]


def test_an_exception_is_told_without_local_variables_and_without_secrets_in_its_text() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)

    def fail() -> None:
        given = "hunter" + "2"
        raise ValueError(f"refused: Bearer {given}")

    try:
        fail()
    except ValueError:
        get_logger("x").exception("failed")
    text = stream.getvalue()
    assert "hunter2" not in text
    (line,) = written(stream)
    assert line["exception"][0]["exc_type"] == "ValueError"
    assert line["exception"][0]["frames"][-1]["name"] == "fail"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: bearer abc.def-1", "Authorization: Bearer [hidden]"),
        ("rediss://:p%40ss@host:6380/0", "rediss://:[hidden]@host:6380/0"),
        ("http://127.0.0.1:7000/v1", "http://127.0.0.1:7000/v1"),
    ],
)
def test_texts_lose_tokens_and_passwords(text: str, expected: str) -> None:
    assert redact(text) == expected
