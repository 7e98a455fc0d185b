"""Files of a session: every event that anybody logs, bounded, in UTC, without secrets."""

import json
from pathlib import Path

import pytest

from zejzl_ray.errors import InvalidInput
from zejzl_ray.log import SessionLog


def make(tmp_path: Path, swarm_mode: bool = True) -> SessionLog:
    return SessionLog("s-1", "find Bearer abc", tmp_path, swarm_mode, clock_s=lambda: 1_700_000_000.25)


def do_everything(log: SessionLog) -> None:
    log.log_agent_init("a")
    log.log_agent_ready("a")
    log.log_agent_start("a", "task")
    log.log_agent_activity("a", "reads\nand writes")
    log.log_agent_wait("a", "b")
    log.log_agent_error("a", ValueError("redis://u:hunter2@h"))
    log.log_agent_error("b", "plain")
    log.log_agent_restart("a", "died")
    log.log_agent_stop("b", "done")
    log.log_heartbeat("a")
    log.log_handoff("a", "b", 10.0)
    log.log_handoff("b", "a", 30.0)
    log.log_message("a", "b", "task")
    log.log_iteration(1, {"token": "hunter2", "n": 1})
    log.log_iteration(2)
    log.log_tool_execution("grep", {"password": "hunter2"}, "r" * 500)
    log.log_api_call(0.5, "m", prompt_tokens=3, completion_tokens=4)
    log.log_api_call(0.5, "m", success=False)
    log.log_confirmation("a", "delete", 0.7, True)
    log.log_confirmation("a", "delete", 0.2, False)
    log.log_validation("plan", False, "too long")
    log.log_validation("plan", True)
    log.log_rollback("step 3", "failed")
    log.log_decision("a", "go")
    log.log_decomposition("task", 3)
    log.log_deadlock(("a", "b"))
    log.log_session_end("partial", "out of time")


def test_the_story_is_written_line_by_line(tmp_path: Path) -> None:
    log = make(tmp_path)
    do_everything(log)
    log.finalize()
    log.finalize()
    lines = (tmp_path / "s-1" / "session.log").read_text().splitlines()
    assert lines[:5] == [
        "Session: s-1", "Task: find Bearer [hidden]", "Started: 2023-11-14T22:13:20.250Z", "Swarm Mode: True", "-" * 80,
    ]  # fmt: skip
    story = [line.removeprefix("[22:13:20.250] ") for line in lines[5:]]
    assert story[:4] == [
        "[AGENT INIT] a",
        "[AGENT READY] a",
        "[AGENT START] a task",
        "[AGENT ACTIVITY] a reads\\nand writes",
    ]
    for tag in (
        "[AGENT WAIT] a b", "[AGENT ERROR] a ValueError: redis://u:[hidden]@h", "[AGENT RESTART] a died",
        "[AGENT STOP] b done", "[HANDOFF] a -> b (10.00 ms)", "[MESSAGE] a -> b: task",
        '[ITERATION 1] {"token":"[hidden]","n":1}', "[ITERATION 2]", "[API] m 0.500 s ok",
        "[CONFIRM] a: delete (score 0.7) approved", "[VALIDATION] plan: not valid too long", "[ROLLBACK] step 3 failed",
        "[DECISION] a: go", "[DECOMPOSITION] task: 3 parts", "[DEADLOCK] a -> b", "[SESSION END] partial out of time",
    ):  # fmt: skip
        assert tag in story
    assert story[-1].startswith("[SUMMARY] partial")
    assert "hunter2" not in "".join(lines)
    assert log.figures().dropped == 0


def test_figures_and_lists_are_saved(tmp_path: Path) -> None:
    log = make(tmp_path)
    do_everything(log)
    log.save_metrics()
    metrics = json.loads((tmp_path / "s-1" / "metrics.json").read_text())
    session = json.loads((tmp_path / "s-1" / "session.json").read_text())
    log.close()
    assert {key: metrics[key] for key in ("iterations", "tool_executions", "api_calls", "errors", "status")} == {
        "iterations": 2, "tool_executions": 1, "api_calls": 2, "errors": 2, "status": "partial",
    }  # fmt: skip
    swarm = metrics["swarm"]
    assert swarm["agent_states"] == {"a": "running", "b": "stopped"}
    assert (swarm["avg_handoff_latency"], swarm["max_handoff_latency"], swarm["handoff_latencies"]) == (
        20.0,
        30.0,
        [10.0, 30.0],
    )
    assert {name: swarm[name] for name in ("deadlocks_detected", "agent_restarts", "heartbeats_received")} == {
        "deadlocks_detected": 1, "agent_restarts": 1, "heartbeats_received": 1,
    }  # fmt: skip
    assert (swarm["confirmations_requested"], swarm["confirmations_approved"]) == (2, 1)
    assert (swarm["agent_message_counts"], swarm["message_count"]) == ({"a": 1}, 1)
    assert session["iterations"][0]["data"] == {"token": "[hidden]", "n": 1}
    assert len(session["tool_executions"][0]["result"]) == 200
    assert (session["api_calls"][0]["prompt_tokens"], session["api_calls"][1]["success"]) == (3, False)
    assert session["start_time"] == "2023-11-14T22:13:20.250Z"
    assert "hunter2" not in json.dumps(session)


def test_without_a_swarm_lines_are_written_and_no_figures_kept(tmp_path: Path) -> None:
    log = make(tmp_path, swarm_mode=False)
    do_everything(log)
    log.finalize()
    metrics = json.loads((tmp_path / "s-1" / "metrics.json").read_text())
    assert "swarm" not in metrics
    assert "[HANDOFF]" in (tmp_path / "s-1" / "session.log").read_text()


def test_a_session_that_ends_well_says_so(tmp_path: Path) -> None:
    log = make(tmp_path)
    log.finalize()
    assert json.loads((tmp_path / "s-1" / "metrics.json").read_text())["status"] == "completed"


def test_a_long_session_keeps_its_last_entries_and_counts_all(tmp_path: Path) -> None:
    log = make(tmp_path)
    for number in range(1100):
        log.log_iteration(number)
        log.log_handoff("a", "b", 1.0)
        log.log_agent_start(f"agent{number}")
    log.finalize()
    session = json.loads((tmp_path / "s-1" / "session.json").read_text())
    assert (len(session["iterations"]), session["counts"]["iterations"]) == (1000, 1100)
    assert (len(session["swarm"]["handoff_latencies"]), session["swarm"]["total_handoffs"]) == (1000, 1100)
    assert len(session["swarm"]["agent_states"]) == 1001


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "a" * 200])
def test_a_session_cannot_leave_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="session_id"):
        SessionLog(name, "t", tmp_path)
    assert list(tmp_path.iterdir()) == []
