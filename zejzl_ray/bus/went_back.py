"""Mail that went back with answers, until it is known what became of it."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from zejzl_ray.bus.message import Message
from zejzl_ray.bus.ports import Refused

_MOST: Final = 4096  # messages that are remembered; older ones are taken to have arrived


class WentBack:
    """Remembers the mail of the last answers: the other process may refuse it, or may not have got the answer."""

    def __init__(self) -> None:
        self._messages: OrderedDict[str, tuple[int, Message]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, call: int, messages: Iterable[Message]) -> None:
        """Note what goes back with the answer to a call."""
        for message in messages:
            self._messages[message.id] = (call, message)
        while len(self._messages) > _MOST:
            self._messages.popitem(last=False)

    def refused(self, returned: Iterable[Refused]) -> list[tuple[Message, Refused]]:
        """Return the messages that were not taken, each once."""
        found = [(self._messages.pop(refused.message_id, None), refused) for refused in returned]
        return [(kept[1], refused) for kept, refused in found if kept is not None]

    def unanswered(self, calls: Sequence[int]) -> list[Message]:
        """Return the messages of answers that never came there, in their order, each once."""
        lost = [key for key, (call, _) in self._messages.items() if call in calls] if calls else []
        return [self._messages.pop(key)[1] for key in lost]

    def clear(self) -> None:
        """Forget everything: the other process is another one now."""
        self._messages.clear()
