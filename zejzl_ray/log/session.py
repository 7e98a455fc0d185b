"""The files of one session of agents: its story line by line, and its figures."""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from zejzl_ray.errors import InvalidInput
from zejzl_ray.ids import NAME_REGEX
from zejzl_ray.log.background import BackgroundWriter, WriterFigures
from zejzl_ray.log.files import RotatingLogFile
from zejzl_ray.log.lines import encode_json
from zejzl_ray.log.redaction import hide_secrets, redact
from zejzl_ray.log.session_figures import KEPT, SwarmFigures

_MAX_TEXT: Final = 2000
_MAX_RESULT: Final = 200
_FILE_BYTES: Final = 10 * 2**20
_FILES_KEPT: Final = 5


class SessionLog:
    """Writes ``<directory>/<session_id>/session.log``, ``session.json`` and ``metrics.json``.

    Lines go through a queue to a writing thread, so every method but ``save_metrics``, ``finalize`` and ``close`` may
    be called in an event loop. Lists keep their last 1,000 entries, the counts go on. Times are UTC.

    Args:
        session_id: letters, digits, ``_``, ``.`` and ``-``; names the folder.
        task: what the session is about.
        directory: where the folder is made, with mode 0700.
        swarm_mode: keep the figures of several agents too.
        clock_s: wall time.

    Raises:
        InvalidInput: the id cannot be the name of a folder.
        OSError: the folder cannot be made.
    """

    def __init__(
        self,
        session_id: str,
        task: str,
        directory: Path,
        swarm_mode: bool = False,
        *,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        if not NAME_REGEX.fullmatch(session_id):
            raise InvalidInput(
                f"session_id: {session_id[:80]!r} cannot be the name of a folder.",
                "Begin with a letter; then letters, digits, '_', '.' and '-'.",
            )
        self.session_id = session_id
        self.directory = directory / session_id
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._task = redact(task)
        self._clock_s = clock_s
        self._started_at_s = clock_s()
        self._status = "running"
        self._is_closed = False
        self._swarm = SwarmFigures() if swarm_mode else None
        self._counts = {"iterations": 0, "tool_executions": 0, "api_calls": 0, "errors": 0}
        self._lists: dict[str, deque[dict[str, Any]]] = {name: deque(maxlen=KEPT) for name in self._counts}
        handler = RotatingLogFile(self.directory / "session.log", _FILE_BYTES, _FILES_KEPT)
        self._writer = BackgroundWriter([handler], 10_000, lambda n: _record(f"[DROPPED] {n} lines"))
        for line in (
            f"Session: {session_id}", f"Task: {_one_line(self._task)}", f"Started: {_iso(self._started_at_s)}",
            f"Swarm Mode: {swarm_mode}", "-" * 80,
        ):  # fmt: skip
            self._writer.offer(_record(line))

    # --- lines ----------------------------------------------------------------------------------------------

    def log(self, text: str) -> None:
        """Write one line: ``[HH:MM:SS.mmm] text``."""
        now = datetime.fromtimestamp(self._clock_s(), UTC)
        self._writer.offer(
            _record(f"[{now:%H:%M:%S}.{now.microsecond // 1000:03d}] {_one_line(redact(text))}")
        )

    def log_agent_init(self, agent: str, details: str = "") -> None:
        """An agent is being made."""
        self._agent(agent, "initialising", "AGENT INIT", details)

    def log_agent_ready(self, agent: str, details: str = "") -> None:
        """An agent can work."""
        self._agent(agent, "ready", "AGENT READY", details)

    def log_agent_start(self, agent: str, details: str = "") -> None:
        """An agent begins."""
        self._agent(agent, "running", "AGENT START", details)

    def log_agent_stop(self, agent: str, reason: str = "") -> None:
        """An agent has ended."""
        self._agent(agent, "stopped", "AGENT STOP", reason)

    def log_agent_wait(self, agent: str, waits_for: str = "") -> None:
        """An agent waits."""
        self._agent(agent, "waiting", "AGENT WAIT", waits_for)

    def log_agent_activity(self, agent: str, activity: str) -> None:
        """An agent does something."""
        self._agent(agent, "running", "AGENT ACTIVITY", activity)

    def log_agent_error(self, agent: str, error: BaseException | str) -> None:
        """Something went wrong in an agent."""
        text = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else error
        text = redact(text)[:_MAX_TEXT]
        self._agent(agent, "error", "AGENT ERROR", text)
        self._add("errors", agent=agent, error=text)
        if self._swarm is not None:
            self._swarm.agent_failed(agent, text)

    def log_agent_restart(self, agent: str, reason: str = "") -> None:
        """An agent was started again."""
        self._agent(agent, "running", "AGENT RESTART", reason)
        self._count("agent_restarts")

    def log_heartbeat(self, agent: str) -> None:
        """An agent is alive; counted, not written."""
        self._count("heartbeats_received")

    def log_handoff(self, from_agent: str, to_agent: str, latency_ms: float) -> None:
        """Work went from one agent to another."""
        self.log(f"[HANDOFF] {from_agent} -> {to_agent} ({latency_ms:.2f} ms)")
        if self._swarm is not None:
            self._swarm.handed_over(latency_ms)

    def log_message(self, from_agent: str, to_agent: str, message_type: str) -> None:
        """A message was sent; its content is not written."""
        self.log(f"[MESSAGE] {from_agent} -> {to_agent}: {message_type}")
        if self._swarm is not None:
            self._swarm.agent_sent(from_agent)

    def log_iteration(self, number: int, data: Mapping[str, Any] | None = None) -> None:
        """A round begins or has ended."""
        self.log(f"[ITERATION {number}] {_short(data)}".rstrip())
        self._add("iterations", iteration=number, data=_clean(data))

    def log_tool_execution(
        self, name: str, params: Mapping[str, Any] | None, result: object = None, status: str = "success"
    ) -> None:
        """A tool ran; of its result the first 200 characters are kept."""
        shown = redact(str(result))[:_MAX_RESULT]
        self.log(f"[TOOL] {name} {status} {_short(params)} -> {shown}")
        self._add("tool_executions", tool=name, params=_clean(params), result=shown, status=status)

    def log_api_call(
        self,
        duration_s: float,
        model: str,
        success: bool = True,
        *,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
    ) -> None:
        """A model was asked; tokens as its provider counts them."""
        self.log(f"[API] {model} {duration_s:.3f} s {'ok' if success else 'failed'}")
        self._add(
            "api_calls", model=model, duration_s=duration_s, success=success,
            prompt_tokens=prompt_tokens, completion_tokens=completion_tokens,
        )  # fmt: skip

    def log_confirmation(self, agent: str, action: str, score: float, approved: bool) -> None:
        """Somebody was asked whether an agent may do something."""
        self.log(f"[CONFIRM] {agent}: {action} (score {score:g}) {'approved' if approved else 'refused'}")
        self._count("confirmations_requested")
        if approved:
            self._count("confirmations_approved")

    def log_validation(self, what: str, is_valid: bool, details: str = "") -> None:
        """Something was checked."""
        self.log(f"[VALIDATION] {what}: {'valid' if is_valid else 'not valid'} {details}".rstrip())

    def log_rollback(self, what: str, reason: str = "") -> None:
        """Something was taken back."""
        self.log(f"[ROLLBACK] {what} {reason}".rstrip())

    def log_decision(self, agent: str, decision: str) -> None:
        """A coordinator has decided."""
        self.log(f"[DECISION] {agent}: {decision}")
        self._count("coordinator_decisions")

    def log_decomposition(self, task: str, parts: int) -> None:
        """A task was taken apart."""
        self.log(f"[DECOMPOSITION] {task}: {parts} parts")
        self._count("task_decompositions")

    def log_deadlock(self, agents: tuple[str, ...]) -> None:
        """Agents wait for one another."""
        self.log(f"[DEADLOCK] {' -> '.join(agents)}")
        self._count("deadlocks_detected")

    def log_session_end(self, status: str = "completed", summary: str = "") -> None:
        """The session is over; ``finalize`` writes the files."""
        self._status = status
        self.log(f"[SESSION END] {status} {summary}".rstrip())

    # --- files ----------------------------------------------------------------------------------------------

    def save_metrics(self) -> None:
        """Write ``metrics.json`` with counts and ``session.json`` with the kept lists, each whole or not; blocks.

        Raises:
            OSError: they cannot be written.
        """
        head = {
            "session_id": self.session_id,
            "task": self._task,
            "status": self._status,
            "start_time": _iso(self._started_at_s),
            "duration_seconds": self._clock_s() - self._started_at_s,
            "swarm_mode": self._swarm is not None,
        }
        if self._swarm is not None:
            head["swarm"] = self._swarm.as_data()
        lists = {name: list(entries) for name, entries in self._lists.items()}
        _replace(self.directory / "metrics.json", head | self._counts)
        _replace(self.directory / "session.json", head | lists | {"counts": self._counts})

    def finalize(self) -> None:
        """Write a summary, save the figures and close; blocks; safe to repeat."""
        if self._is_closed:
            return
        if self._status == "running":
            self._status = "completed"
        counts = ", ".join(f"{name} {count}" for name, count in self._counts.items())
        duration_s = self._clock_s() - self._started_at_s
        self.log(f"[SUMMARY] {self._status}, {duration_s:.1f} s, {counts}")
        self.save_metrics()
        self.close()

    def close(self) -> None:
        """Write what is queued and close ``session.log``; blocks; safe to repeat."""
        self._is_closed = True
        self._writer.stop()

    def figures(self) -> WriterFigures:
        """Return how many lines were written and dropped."""
        return self._writer.figures()

    def _agent(self, agent: str, state: str, tag: str, details: str) -> None:
        self.log(f"[{tag}] {agent} {details}".rstrip())
        if self._swarm is not None:
            self._swarm.agent_is(agent, state)

    def _add(self, name: str, **entry: Any) -> None:
        self._counts[name] += 1
        self._lists[name].append({**entry, "timestamp": _iso(self._clock_s())})

    def _count(self, name: str) -> None:
        if self._swarm is not None:
            self._swarm.counts[name] += 1


def _record(text: str) -> logging.LogRecord:
    return logging.LogRecord("session", logging.INFO, "", 0, text, None, None)


def _one_line(text: str) -> str:
    return text[:_MAX_TEXT].replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def _clean(data: Mapping[str, Any] | None) -> dict[str, Any]:
    return dict(hide_secrets(None, "info", dict(data or {})))


def _short(data: Mapping[str, Any] | None) -> str:
    return encode_json(_clean(data)).decode("utf-8", "replace")[:_MAX_RESULT] if data else ""


def _iso(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _replace(path: Path, data: Mapping[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(encode_json(data))
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
