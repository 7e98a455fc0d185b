"""A line is never lost, whatever it holds, and its core fields are what the process says."""

import asyncio
import io
import json
import logging
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.log import bind_agent, bind_call, configure_logging, get_logger
from zejzl_ray.log.lines import LEVELS, LineMaker
from zejzl_ray.log.redaction import hide_secrets, redact
from zejzl_ray.log.setup import ForeignRecords


def written(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def stream() -> io.StringIO:
    made = io.StringIO()
    configure_logging("DEBUG", service="core_orchestrator", stream=made, machine="pc2")
    return made


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_extras_never_take_the_place_of_core_fields(stream: io.StringIO) -> None:
    with bind_call("r-1"), bind_agent("Watchdog"):
        get_logger("shell").warning(
            "here", level="x", timestamp="y", service="z", machine="m", pid="p", component="c",
            request_id="forged", agent="forged",
        )  # fmt: skip
    (line,) = written(stream)
    assert (line["level"], line["service"], line["machine"], line["component"]) == (
        "warning", "core_orchestrator", "pc2", "shell",
    )  # fmt: skip
    assert (line["request_id"], line["agent"]) == ("r-1", "Watchdog")
    assert line["timestamp"].endswith("Z")
    assert line["extra"] == {
        "level": "x", "timestamp": "y", "service": "z", "machine": "m", "pid": "p", "component": "c",
        "request_id": "forged", "agent": "forged",
    }  # fmt: skip


def test_a_field_called_extra_is_kept_beside_what_was_moved(stream: io.StringIO) -> None:
    get_logger("x").info("here", extra=1, level="high")
    assert written(stream)[0]["extra"] == {"extra": 1, "level": "high"}


def test_lines_carry_the_request_of_the_innermost_call(stream: io.StringIO) -> None:
    log = get_logger("x")
    with bind_call("r-1", "r-0"):
        log.info("outer")
        with bind_call("r-2"):
            log.info("inner")
        log.info("outer again")
    log.info("outside")
    assert [(line.get("request_id"), line.get("caused_by")) for line in written(stream)] == [
        ("r-1", "r-0"), ("r-2", None), ("r-1", "r-0"), (None, None),
    ]  # fmt: skip


async def test_calls_side_by_side_do_not_mix(stream: io.StringIO) -> None:
    async def call(name: str) -> None:
        with bind_call(name):
            await asyncio.sleep(0)
            get_logger("x").info(name)

    await asyncio.gather(*(call(f"r-{n}") for n in range(5)))
    names = [f"r-{n}" for n in range(5)]
    assert sorted((line["event"], line["request_id"]) for line in written(stream)) == [(n, n) for n in names]


def test_other_bound_fields_are_written_too(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(phase="start"):
        get_logger("x").info("a")
        get_logger("x").info("b", phase="end")
    assert [line["phase"] for line in written(stream)] == ["start", "end"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (object, "<class 'object'>"),
        ({1, }, [1]),
        (2**70, str(2**70)),
        ("half \ud800 a pair", "half \\ud800 a pair"),
        ({("a", 1): 2}, {"('a', 1)": 2}),
        (float("nan"), None),
        (Mute(), "[Mute without a text: RuntimeError]"),
        (ValueError("redis://u:hunter2@h"), "redis://u:[hidden]@h"),
    ],
)  # fmt: skip
def test_a_value_that_is_no_json_becomes_text(stream: io.StringIO, value: object, expected: object) -> None:
    get_logger("x").info("event", value=value)
    (line,) = written(stream)
    assert (line["event"], line["value"]) == ("event", expected)


def test_a_number_beyond_json_does_not_change_its_neighbours(stream: io.StringIO) -> None:
    get_logger("x").info("event", a=2**70, b=[1, 2.5, None, True, {"c": (1,)}], d=Mute())
    (line,) = written(stream)
    assert line["b"] == [1, 2.5, None, True, {"c": [1]}]


def test_a_value_that_holds_itself_ends(stream: io.StringIO) -> None:
    ring: dict[str, Any] = {"name": "ring"}
    ring["inner"] = [ring]
    get_logger("x").info("event", ring=ring)
    (line,) = written(stream)
    assert line["ring"]["inner"][0]["name"] == "ring"
    assert "[too deep]" in json.dumps(line)


def test_an_event_that_is_no_text_becomes_one(stream: io.StringIO) -> None:
    log: Any = get_logger("x")
    log.info(Mute())
    log.info({"a": 1})
    assert [line["event"] for line in written(stream)] == ["[Mute without a text: RuntimeError]", "{'a': 1}"]


def test_a_line_that_cannot_be_made_says_so(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("zejzl_ray.log.lines.hide_secrets", fail)
    with bind_call("r-1"):
        get_logger("x").error("Bearer abc.def", detail="lost")
    (line,) = written(stream)
    assert (line["event"], line["level"], line["request_id"]) == ("Bearer [hidden]", "error", "r-1")
    assert (line["component"], line["fault"]) == ("x", "this line could not be made: RuntimeError")


def test_a_line_has_a_bound(stream: io.StringIO) -> None:
    get_logger("x").info("e" * 100_000, detail="x" * 100_000)
    text = stream.getvalue()
    assert len(text) < 64 * 1024
    assert "this line was cut: it had 200" in text


def test_a_closed_stream_stops_nobody() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    stream.close()
    get_logger("x").info("nobody hears it")


@given(
    st.dictionaries(
        st.text(max_size=20),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
            lambda inner: (
                st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
            ),
            max_leaves=10,
        ),
        max_size=6,
    )
)
def test_every_event_becomes_one_line_of_json(fields: dict[str, Any]) -> None:
    line = LineMaker("s", "m").line("info", fields | {"event": "e"})
    assert "\n" not in line.text
    data = json.loads(line.text)
    assert (data["event"], data["level"], data["service"], data["machine"]) == ("e", "info", "s", "m")
    assert line.level == LEVELS["info"]


def test_records_of_the_standard_librarys_loggers_become_lines(stream: io.StringIO) -> None:
    own, foreign = logging.getLogger("zejzl.ingress"), logging.getLogger("somebody.else")
    with bind_call("r-9"):
        own.info("asked %s", "twice")
    foreign.info("chatter")
    foreign.log(35, "careful: %s", "Bearer abc")
    # straight to the handler, since the one of the test runner raises
    wrong = logging.LogRecord("zejzl.ingress", logging.DEBUG, "", 0, "wrong %d", ("arguments",), None)
    next(one for one in logging.getLogger().handlers if isinstance(one, ForeignRecords)).emit(wrong)
    try:
        raise ValueError("x")
    except ValueError:
        own.exception("failed")
    lines = written(stream)
    assert [(line["level"], line["event"], line["component"]) for line in lines] == [
        ("info", "asked twice", "zejzl.ingress"),
        ("warning", "careful: Bearer [hidden]", "somebody.else"),
        ("debug", "wrong %d", "zejzl.ingress"),
        ("error", "failed", "zejzl.ingress"),
    ]
    assert lines[0]["request_id"] == "r-9"
    assert lines[3]["exception"][0]["exc_type"] == "ValueError"


def test_repeating_the_setup_doubles_no_line_of_the_standard_library(stream: io.StringIO) -> None:
    configure_logging("DEBUG", service="a", stream=stream)
    configure_logging("DEBUG", service="a", stream=stream)
    logging.getLogger("zejzl.x").warning("once")
    assert len(written(stream)) == 1


def test_a_level_below_all_is_debug(stream: io.StringIO) -> None:
    logging.getLogger("zejzl").setLevel(1)
    logging.getLogger("zejzl.x").log(3, "tiny")
    assert written(stream)[0]["level"] == "debug"


def test_what_is_too_deep_is_cut_not_followed() -> None:
    deep: Any = "end"
    for _ in range(40):
        deep = [deep]
    assert "end" not in str(hide_secrets(None, "info", {"deep": deep}))


def test_long_words_are_searched_in_one_pass() -> None:
    # by the square of its length this would take minutes, and the test runner's time limit would end it
    text = "e" * 2_000_000 + "://me:hunter2@host"
    assert redact(text).endswith("e://me:[hidden]@host")
