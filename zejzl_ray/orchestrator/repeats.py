"""The answers of the last commands, so that repeating one changes nothing and gets the same answer."""

from collections import OrderedDict
from dataclasses import dataclass

from zejzl_ray.contracts.base import Contract
from zejzl_ray.errors import Conflict


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What makes a command the same command: its id, the operation and what it is about."""

    request_id: str
    operation: str
    target: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A remembered answer; raw JSON after a restart, until somebody asks for it."""

    key: RequestKey
    reply: Contract | bytes


class RepeatWindow:
    """The last ``size`` answers by request id."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def find(self, key: RequestKey) -> Answer | None:
        """Return the answer that this very command got; None for a new one.

        Raises:
            Conflict: the request id belongs to another command.
        """
        answer = self._answers.get(key.request_id)
        if answer is not None and answer.key != key:
            raise other_command(answer.key, key)
        return answer

    def add(self, answer: Answer) -> None:
        """Remember an answer and forget the oldest above the size."""
        self._answers[answer.key.request_id] = answer
        while len(self._answers) > self._size:
            self._answers.popitem(last=False)

    def __len__(self) -> int:
        """Return the number of remembered answers."""
        return len(self._answers)


def other_command(known: RequestKey, asked: RequestKey) -> Conflict:
    """Return the error for a request id that was used for something else."""
    return Conflict(
        f"Request id {asked.request_id} was used for {known.operation} {known.target}".rstrip()
        + f", not for {asked.operation} {asked.target}".rstrip()
        + ".",
        "Give every command an id of its own; use the same one only to repeat the command.",
    )
