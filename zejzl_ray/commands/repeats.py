"""The answers of the last commands, so that repeating one changes nothing and gets the same answer."""

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import orjson

from zejzl_ray.contracts.base import Contract
from zejzl_ray.errors import Conflict

_DIGEST_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What makes a command the same command: its id, the operation, what it is about and what it says.

    Attributes:
        digest: of the content, as ``content_digest`` gives it.
    """

    request_id: str
    operation: str
    target: str = ""
    digest: str = ""


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
        if answer is not None:
            require_same(answer.key, key)
        return answer

    def add(self, answer: Answer) -> None:
        """Remember an answer and forget the oldest above the size."""
        self._answers[answer.key.request_id] = answer
        while len(self._answers) > self._size:
            self._answers.popitem(last=False)

    def __len__(self) -> int:
        """Return the number of remembered answers."""
        return len(self._answers)


def key_of(operation: str, request: Any) -> RequestKey:
    """Return the key of a command.

    Args:
        operation: its name.
        request: a contract with ``request_id``.
    """
    return RequestKey(request.request_id, operation, getattr(request, "name", ""), content_digest(request))


def content_digest(request: Contract) -> str:
    """Return a digest of all that a request says, without its id and the ids of requests inside it.

    It is empty for what cannot be written as JSON (a number of more than 64 bits, nested too deep): the
    decision about the command refuses that and says where it stands.
    """
    try:
        content = orjson.dumps(request, default=_without_id, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return ""
    return blake2b(content, digest_size=_DIGEST_BYTES).hexdigest()


def require_same(known: RequestKey, asked: RequestKey) -> None:
    """Refuse a request id that was used for something else.

    Raises:
        Conflict: says for what.
    """
    if known == asked:
        return
    before, now = (f"{key.operation} {key.target}".rstrip() for key in (known, asked))
    raise Conflict(
        f"Request id {asked.request_id} was used for another command: {before} with other content."
        if before == now
        else f"Request id {asked.request_id} was used for {before}, not for {now}.",
        "Give every command an id of its own; use the same one only to repeat the command.",
    )


def _without_id(model: Contract) -> dict[str, Any]:
    fields = model.__dict__.copy()
    # Inside another request it is not sent, and made anew with each repetition.
    fields.pop("request_id", None)
    return fields
