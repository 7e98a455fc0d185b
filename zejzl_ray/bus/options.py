"""The bounds of a process's bus."""

import math
from dataclasses import dataclass

from zejzl_ray.bus.codec import MAX_MESSAGE_BYTES
from zejzl_ray.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class BusOptions:
    """Sizes and time limits; every one is a bound.

    Attributes:
        default_timeout_s: longest wait of a receive, a request or a sender that waits for room, where none is given.
        history_size: messages kept for history and replay.
        dead_letters: dead letters kept; counts go on.
        max_message_bytes: size of one message between processes, as MessagePack.
        link_capacity: messages that may wait for one other process.
        link_bytes: bytes that may wait for one other process.
        batch_messages: messages in one batch.
        batch_bytes: bytes in one batch, unless one message alone is larger. It is handled in one go there.
        finished_requests: correlation ids remembered to tell a late reply.
    """

    default_timeout_s: float = 30.0
    history_size: int = 100
    dead_letters: int = 10_000
    max_message_bytes: int = MAX_MESSAGE_BYTES
    link_capacity: int = 100_000
    link_bytes: int = 67_108_864
    batch_messages: int = 4096
    batch_bytes: int = 393_216
    finished_requests: int = 10_000

    def __post_init__(self) -> None:
        """Refuse bounds that let nothing through."""
        for name in self.__slots__:
            value = getattr(self, name)
            least = 0 if name in ("history_size", "finished_requests") else 1e-9
            if not isinstance(value, int | float) or isinstance(value, bool) or not value >= least:
                raise InvalidInput(f"{name} of a bus is {value!r}.", "Give a number above 0.")
        if self.max_message_bytes > self.link_bytes:
            raise InvalidInput(
                f"max_message_bytes of a bus is {self.max_message_bytes}, and {self.link_bytes} bytes may wait for "
                "another process.",
                "Give link_bytes that one message fits into.",
            )


def check_time_limit(value: object) -> None:
    """Refuse what is no number of seconds.

    Raises:
        InvalidInput: it is none.
    """
    if not isinstance(value, int | float) or math.isnan(value):
        raise InvalidInput(f"A time limit is {value!r}.", "Give seconds.")
