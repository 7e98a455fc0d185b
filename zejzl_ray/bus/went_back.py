"""Mail that went back with answers, until it is known what became of it."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from zejzl_ray.bus.link_queue import Encoded
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.ports import Refused

_MOST: Final = 4096  # messages that are remembered; older ones are taken to have arrived
_MOST_BYTES: Final = 8_388_608


class WentBack:
    """Remembers the mail of the last answers: the other process may refuse it, or may not have got the answer."""

    def __init__(self) -> None:
        self._mail: OrderedDict[str, tuple[int, Encoded]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._mail)

    def add(self, call: int, taken: Iterable[Encoded]) -> None:
        """Note what goes back with the answer to a call."""
        for each in taken:
            self._pop(each[0].id)
            self._mail[each[0].id] = call, each
            self._bytes += len(each[1])
        while len(self._mail) > _MOST or self._bytes > _MOST_BYTES:
            self._pop(next(iter(self._mail)))

    def refused(self, returned: Iterable[Refused]) -> list[tuple[Encoded, Refused]]:
        """Return the messages that were not taken, each once."""
        found = [(self._pop(refused.message_id), refused) for refused in returned]
        return [(each, refused) for each, refused in found if each is not None]

    def unanswered(self, calls: Sequence[int]) -> list[Message]:
        """Return the messages of answers that never came there, in their order, each once."""
        lost = set(calls)
        return self._forget([key for key, (call, _) in self._mail.items() if call in lost])

    def arrived(self, ended: int) -> list[Message]:
        """Return the messages of answers to calls up to this one, each once: they have arrived and were taken."""
        arrived = []
        for key, (call, _) in self._mail.items():  # calls that overlap are a few, so their numbers hardly mix
            if call <= ended:
                arrived.append(key)
            elif call > ended + 2:
                break
        return self._forget(arrived)

    def clear(self) -> list[Message]:
        """Forget everything and return it: the other process is another one now."""
        return self._forget(list(self._mail))

    def _forget(self, keys: Iterable[str]) -> list[Message]:
        return [each[0] for key in keys if (each := self._pop(key)) is not None]

    def _pop(self, key: str) -> Encoded | None:
        known = self._mail.pop(key, None)
        if known is None:
            return None
        self._bytes -= len(known[1][1])
        return known[1]
