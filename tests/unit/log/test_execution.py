"""What ran, how long, and how it ended; never what it returned."""

import asyncio
import io
import json
from typing import Any

import pytest

from zejzl_ray.log import (
    DebugSnapshots,
    PerformanceHistory,
    RequestTracker,
    TokenCounts,
    configure_logging,
    debug_snapshot,
    log_ai_interaction,
    log_execution,
    trace_request,
)


@pytest.fixture
def stream() -> io.StringIO:
    made = io.StringIO()
    configure_logging("DEBUG", stream=made)
    return made


def written(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def tracker() -> RequestTracker:
    return RequestTracker()


@pytest.fixture
def history() -> PerformanceHistory:
    return PerformanceHistory()


async def test_functions_and_coroutines_are_logged_with_their_duration(
    stream: io.StringIO, tracker: RequestTracker, history: PerformanceHistory
) -> None:
    @log_execution("warning", tracker=tracker, history=history)
    def now(a: int) -> str:
        """Say it."""
        return f"hunter2 {a}"

    @log_execution(tracker=tracker, history=history)
    async def later(a: int) -> str:
        await asyncio.sleep(0)
        return f"hunter2 {a}"

    assert (now(1), await later(2)) == ("hunter2 1", "hunter2 2")
    assert (now.__doc__, now.__name__) == ("Say it.", "now")
    assert "hunter2" not in stream.getvalue()
    ends = [line for line in written(stream) if line["event"] == "execution completed"]
    assert [line["level"] for line in ends] == ["warning", "info"]
    assert [line["operation"].rpartition(".")[2] for line in ends] == ["now", "later"]
    assert [line["duration_ms"] >= 0 for line in ends] == [True, True]
    assert [request.status for request in tracker.finished()] == ["completed", "completed"]
    assert tracker.active() == []
    assert "hunter2" not in str(tracker.finished()) + str(history.last(9))


async def test_an_error_is_told_with_its_cause_and_raised_again(
    stream: io.StringIO, tracker: RequestTracker, history: PerformanceHistory
) -> None:
    @log_execution(tracker=tracker, history=history)
    async def fail() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("Bearer abc") from error

    @log_execution(tracker=tracker, history=history)
    def fail_plainly() -> None:
        raise ValueError("alone")

    with pytest.raises(ValueError, match="Bearer abc"):
        await fail()
    with pytest.raises(ValueError, match="alone"):
        fail_plainly()
    first, second = (line for line in written(stream) if line["event"] == "execution failed")
    assert (first["error"], first["cause"]) == ("ValueError: Bearer [hidden]", "KeyError: 'first'")
    assert [fault["exc_type"] for fault in first["exception"]] == ["ValueError", "KeyError"]
    assert second["cause"] == ""
    assert [request.error for request in tracker.finished()] == [
        "ValueError: Bearer [hidden]",
        "ValueError: alone",
    ]
    assert history.summary()["error_ratio"] == 1.0


async def test_a_cancelled_coroutine_is_no_error(
    stream: io.StringIO, tracker: RequestTracker, history: PerformanceHistory
) -> None:
    @log_execution(tracker=tracker, history=history)
    async def wait() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    assert [request.status for request in tracker.active()] == ["active"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [line["event"] for line in written(stream) if line["level"] == "error"] == []
    assert "execution was cancelled" in stream.getvalue()


def test_an_unknown_level_fails_where_it_is_written() -> None:
    wrong: Any = "loud"
    with pytest.raises(ValueError, match="no level 'loud'"):
        log_execution(wrong)


def test_requests_are_kept_in_bounds(stream: io.StringIO) -> None:
    now = iter(range(100))
    tracker = RequestTracker(active=2, finished=3, clock_s=lambda: float(next(now)))
    ids = [tracker.start_request("op", number=n) for n in range(4)]
    assert len(set(ids)) == 4
    assert [request.metadata for request in tracker.active()] == [{"number": 2}, {"number": 3}]
    assert [request.status for request in tracker.finished()] == ["forgotten", "forgotten"]
    assert tracker.end_request(ids[0]) is None
    ended = tracker.end_request(ids[3], "redis://me:hunter2@h")
    assert ended is not None
    assert (ended.status, ended.error, ended.duration_s) == ("error", "redis://me:[hidden]@h", 1.0)
    tracker.end_request(ids[2])
    assert len(tracker.finished()) == 3
    (line,) = written(stream)
    assert (line["level"], line["ended"]) == ("warning", ids[0])


async def test_a_models_call_is_logged_with_real_token_counts(stream: io.StringIO) -> None:
    @log_ai_interaction(
        "openai", tokens_of=lambda answer: TokenCounts(prompt=7, completion=len(answer.split()))
    )
    async def ask(prompt: str, *, temperature: float = 0.0) -> str:
        return "three words here"

    @log_ai_interaction("ollama", "embed")
    async def embed(text: str) -> list[float]:
        if not text:
            raise RuntimeError("secret prompt")
        return [1.0]

    assert await ask("secret prompt", temperature=1.0) == "three words here"
    assert await embed("secret prompt") == [1.0]
    with pytest.raises(RuntimeError):
        await embed("")
    lines = written(stream)
    assert (lines[0]["arguments"], lines[0]["keywords"]) == (1, ["temperature"])
    assert (lines[1]["usage"], lines[1]["response_length"]) == ({"prompt": 7, "completion": 3}, 16)
    assert "usage" not in lines[3]
    assert (lines[5]["level"], lines[5]["error_type"]) == ("error", "RuntimeError")
    assert "secret prompt" not in stream.getvalue()


def test_a_traced_request_shows_no_secret_and_not_everything(stream: io.StringIO) -> None:
    trace_request("r-1", "op", {"token": "hunter2", "n": 1})
    trace_request("r-1", "op", "x" * 9000)
    trace_request("r-1", "op")
    first, second, third = written(stream)
    assert (first["level"], first["traced"], first["data"]) == ("debug", "r-1", {"token": "[hidden]", "n": 1})
    assert (len(second["data"]), third["data"]) == (2000, None)


def test_a_snapshot_holds_what_it_is_given(tracker: RequestTracker) -> None:
    history = PerformanceHistory(kept=60)
    for number in range(70):
        history.record("op", 2.0, is_error=number % 2 == 0, at_s=float(number), rows=number)
    tracker.start_request("waiting")
    shot = debug_snapshot(
        5.0, system={"cpu_count": 2}, agents={"a": {"state": "idle"}}, bus={"sent": 1}, deadlocks=[("a", "b")],
        tracker=tracker, history=history,
    )  # fmt: skip
    assert (shot["timestamp"], shot["system_info"], shot["bus"]) == (5.0, {"cpu_count": 2}, {"sent": 1})
    assert [request["operation"] for request in shot["active_requests"]] == ["waiting"]
    assert shot["performance_metrics"] == {
        "total_requests": 70,
        "avg_response_time_s": 2.0,
        "error_ratio": 0.5,
    }
    assert [entry["metrics"]["rows"] for entry in shot["recent_logs"]] == list(range(20, 70))
    empty = debug_snapshot(6.0)
    assert (empty["performance_metrics"], empty["active_requests"], history.last(0)) == ({}, [], [])
    kept = DebugSnapshots(kept=2)
    for taken in range(3):
        kept.add(debug_snapshot(float(taken)))
    assert [one["timestamp"] for one in kept.all()] == [1.0, 2.0]


def test_an_empty_history_has_a_summary() -> None:
    assert PerformanceHistory().summary() == {
        "total_requests": 0,
        "avg_response_time_s": 0.0,
        "error_ratio": 0.0,
    }
