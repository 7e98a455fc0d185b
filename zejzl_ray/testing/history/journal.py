"""What a client writes down: one JSON line when a call begins, before it is sent, and one when it ends.

A client that is killed leaves calls without an end, and at most half a line; both are read as what they are.
"""

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from zejzl_ray.testing.history.calls import Action, Call, Outcome


class Journal:
    """A file of calls; a context manager.

    Args:
        path: appended to; one client at a time writes to it.
        client: its name, unique among those that run at the same time.
        now_s: monotonic time, of one clock for all clients.
    """

    def __init__(self, path: Path, client: str, now_s: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._now_s = now_s
        self._file = path.open("a", buffering=1)
        self._count = 0

    def begin(
        self, action: Action, key: str, *, value: str = "", expected: str = "", lease_s: float = 0.0
    ) -> int:
        """Note that a call is about to be sent; return its number for ``end``."""
        self._count += 1
        self._write(
            {
                "call": self._count,
                "client": self._client,
                "action": action,
                "key": key,
                "value": value,
                "expected": expected,
                "lease_s": lease_s,
                "began_s": self._now_s(),
            }
        )
        return self._count

    def end(self, call: int, outcome: Outcome, *, value: str | None = None, error: str = "") -> None:
        """Note what came back; ``value`` is what was read."""
        told = {"ended": call, "ended_s": self._now_s(), "outcome": outcome, "error": error}
        self._write(told if value is None else {**told, "value": value})

    def close(self) -> None:
        """Close the file; safe to repeat."""
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_journals(paths: Iterable[Path]) -> list[Call]:
    """Return all calls of all files, in the order in which they began."""
    calls = [call for path in paths for call in _read_one(path)]
    return sorted(calls, key=lambda call: call.began_s)


def _read_one(path: Path) -> list[Call]:
    begun: dict[int, dict[str, Any]] = {}
    ended: dict[int, dict[str, Any]] = {}
    for text in path.read_text().splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue  # its writer was killed
        (begun if "call" in line else ended)[line.get("call", line.get("ended"))] = line
    return [_call({**line, **ended.get(number, {})}) for number, line in begun.items()]


def _call(line: dict[str, Any]) -> Call:
    fields = {key: line[key] for key in Call.__slots__ if key in line}
    fields["action"] = Action(line["action"])
    fields["outcome"] = Outcome(line.get("outcome", Outcome.UNKNOWN))
    return Call(**fields)
