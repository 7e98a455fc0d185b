"""Agents that send and handle while their processes are killed, and write down every step so that it survives that.

Each process of an agent has files of its own in the folder ``notes``, one line an event, appended at once:

- ``AGENT.PID.up``: ``time`` - the agent is ready.
- ``AGENT.PID.sent``: ``time guarantee receiver id``, written after ``send`` returned; ``- error`` in place of the id
  where it raised.
- ``AGENT.PID.handled``: ``time guarantee id``, written before the handler returns.
- ``HOST.PID.dead``: ``time guarantee receiver id reason lateness detail``; lateness is seconds after the deadline, -
  without one.

Times are monotonic, which all processes of one machine share.
"""

import asyncio
import os
import time
from pathlib import Path
from typing import Any, Final

from zejzl_ray.agents.agent import Agent
from zejzl_ray.bus.dead_letters import DeadLetter
from zejzl_ray.bus.message import HIGH, LOW, NORMAL, Guarantee, Message
from zejzl_ray.errors import ZejzlError

BEAT_S: Final = 0.02
HUSH: Final = "hush"  # senders stop once a file of this name is there
KEPT: Final = "k"
PLAIN: Final = "p"
_PRIORITIES: Final = (HIGH, NORMAL, NORMAL, LOW)
_TEXT: Final = "x" * 80
_LONGEST_CATCH_UP_S: Final = 0.5
_MOST_UNDER_WAY: Final = 2000  # sends at least once of one agent; more are left out, and the rate falls


class Note:
    """A file that whole lines are appended to, each with one system call."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, text: str) -> None:
        """Append whole lines; what is written survives the end of this process."""
        os.write(self._file, text.encode())

    def close(self) -> None:
        """Close it."""
        os.close(self._file)


def own_note(folder: str | Path, name: str, kind: str) -> Note:
    """Open a file of this process."""
    return Note(Path(folder) / f"{name}.{os.getpid()}.{kind}")


def note_letter(note: Note, letter: DeadLetter) -> None:
    """Write a dead letter down."""
    message = letter.message
    late_s = "-" if message.deadline_at_s is None else f"{letter.at_s - message.deadline_at_s:.4f}"
    kind = KEPT if message.guarantee is Guarantee.AT_LEAST_ONCE else PLAIN
    detail = letter.detail.replace("\n", " ") or "-"
    note.write(
        f"{time.monotonic():.4f} {kind} {message.to_agent} {message.id} {letter.reason.value} {late_s} {detail}\n"
    )


class Writer(Agent):
    """Sends to several receivers at a steady rate until the file ``hush`` is there.

    Settings: ``notes``, ``to`` (receivers), ``per_s`` (messages a second to all of them together), ``kept_every`` (one
    of so many is sent at least once).
    """

    async def on_start(self) -> None:
        """Begin to send; each receiver has a task, so that one that is away does not hold up the others."""
        folder = Path(self.settings["notes"])
        self._hush = folder / HUSH
        self._sent = own_note(folder, self.name, "sent")
        receivers: list[str] = list(self.settings["to"])
        per_s = float(self.settings["per_s"]) / len(receivers)
        self._keeping: set[asyncio.Task[None]] = set()
        self._tasks = [asyncio.create_task(self._write(each, per_s)) for each in receivers]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        own_note(folder, self.name, "up").write(f"{time.monotonic():.4f}\n")

    async def on_stop(self) -> None:
        """Stop."""
        for task in (*self._tasks, *self._keeping):
            task.cancel()

    async def on_message(self, message: Message) -> None:
        """Take whatever comes."""

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.log.error("writing failed", exc_info=error)

    async def _write(self, receiver: str, per_s: float) -> None:
        loop = asyncio.get_running_loop()
        kept_every = int(self.settings["kept_every"])
        due_s, owed, number = loop.time(), 0.0, 0
        while not self._hush.exists():
            due_s = max(due_s + BEAT_S, loop.time() - _LONGEST_CATCH_UP_S)
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            owed += per_s * BEAT_S
            lines = []
            while owed >= 1:
                owed, number = owed - 1, number + 1
                if number % kept_every:
                    lines.append(await self._send(receiver, number, PLAIN))
                elif len(self._keeping) < _MOST_UNDER_WAY:
                    task = asyncio.create_task(self._keep(receiver, number))
                    self._keeping.add(task)
                    task.add_done_callback(self._keeping.discard)
            if lines:
                self._sent.write("".join(lines))

    async def _keep(self, receiver: str, number: int) -> None:
        self._sent.write(await self._send(receiver, number, KEPT))

    async def _send(self, receiver: str, number: int, kind: str) -> str:
        content: dict[str, Any] = {"n": number, "text": _TEXT}
        try:
            message_id = await self.send(
                receiver,
                "chaos",
                content,
                priority=_PRIORITIES[number % 4],
                guarantee=Guarantee.AT_LEAST_ONCE if kind == KEPT else Guarantee.AT_MOST_ONCE,
                deadline_s=2.0 if kind == PLAIN and not number % 10 else None,
            )
        except ZejzlError as error:
            return f"{time.monotonic():.4f} {kind} {receiver} - {type(error).__name__}\n"
        return f"{time.monotonic():.4f} {kind} {receiver} {message_id}\n"


class Reader(Agent):
    """Writes down what it handles. Settings: ``notes``."""

    async def on_start(self) -> None:
        """Open its files."""
        folder = self.settings["notes"]
        self._handled = own_note(folder, self.name, "handled")
        own_note(folder, self.name, "up").write(f"{time.monotonic():.4f}\n")

    async def on_message(self, message: Message) -> None:
        """Write it down, and only then be done with it."""
        kind = KEPT if message.guarantee is Guarantee.AT_LEAST_ONCE else PLAIN
        self._handled.write(f"{time.monotonic():.4f} {kind} {message.id}\n")
