"""The order in which a mailbox is read: by priority, fair between senders, and nobody starves.

Within a priority and sender first in is first out; senders of one priority take turns, a message each. Mail of a
lower priority that waits is read at the latest after 63 messages of higher ones, so at least 1 in 64.
"""

from bisect import bisect
from collections import deque
from collections.abc import Iterator
from typing import Final

from zejzl_ray.bus.message import LOW, Message

PATIENCE: Final = 63  # messages of higher priority that may go first


class _Queue(deque[Message]):
    """The mail of one sender.

    Attributes:
        sender: under which name the lane keeps it; the messages' own field may be changed by whoever sent them.
        returned: of the messages in front that were taken before, when that was.
    """

    __slots__ = ("returned", "sender")
    sender: str
    returned: list[int]

    def take(self) -> Message:
        """Take the first."""
        if self.returned:
            del self.returned[0]
        return self.popleft()


_NOTHING: Final[list[int]] = []  # of nearly all queues: nothing was put back


class FairLane:
    """Mail of one priority: a queue for each sender, and whose turn it is.

    Attributes:
        turns: the queues of the senders with mail, the next one first.
        queues: the same by their sender.
    """

    __slots__ = ("queues", "turns")

    def __init__(self) -> None:
        self.queues: dict[str, _Queue] = {}
        self.turns: deque[_Queue] = deque()

    def __bool__(self) -> bool:
        return bool(self.turns)

    def push(self, message: Message) -> None:
        """Put a message behind the others of its sender."""
        queue = self.queues.get(message.from_agent)
        if queue is None:
            self.begin(message)
        else:
            queue.append(message)

    def begin(self, message: Message) -> None:
        """Put the first message of a sender."""
        queue = self._begin(message)
        self.turns.append(queue)
        queue.append(message)

    def push_back(self, message: Message, taken: int) -> None:
        """Put a message that was taken in vain back to where it was.

        Args:
            message: the message.
            taken: a number that grows with every message that is taken: those put back keep their order by it.
        """
        queue = self.queues.get(message.from_agent)
        if queue is None:
            queue = self._begin(message)
        else:
            self._end_turn(queue)
        self.turns.appendleft(queue)
        if not queue.returned:
            queue.returned = []
        place = bisect(queue.returned, taken)
        queue.returned.insert(place, taken)
        queue.insert(place, message)

    def pop(self) -> Message:
        """Take the next message; the lane must not be empty."""
        turns = self.turns
        queue = turns[0]
        message = queue.take() if queue.returned else queue.popleft()
        if not queue:
            turns.popleft()
            del self.queues[queue.sender]
        elif len(turns) > 1:
            turns.rotate(-1)
        return message

    def drop_oldest(self) -> Message:
        """Take the message that was sent first, whoever sent it; the lane must not be empty."""
        queue = min(self.turns, key=lambda each: each[0].sent_at_s)
        message = queue.take()
        if not queue:
            self._end_turn(queue)
            del self.queues[queue.sender]
        return message

    def __iter__(self) -> Iterator[Message]:
        for queue in self.turns:
            yield from queue

    def _end_turn(self, queue: _Queue) -> None:
        # Not ``remove``, which compares what is in them.
        del self.turns[next(place for place, each in enumerate(self.turns) if each is queue)]

    def _begin(self, message: Message) -> _Queue:
        queue = self.queues[message.from_agent] = _Queue()
        queue.sender, queue.returned = message.from_agent, _NOTHING
        return queue


class Lanes:
    """Three lanes and the rule between them.

    Attributes:
        size: how many messages wait in all.
        by_priority: the lanes.
    """

    __slots__ = ("_high", "_low", "_normal", "_skipped", "by_priority", "size")

    def __init__(self) -> None:
        self._high, self._normal, self._low = FairLane(), FairLane(), FairLane()
        self.by_priority = (self._high, self._normal, self._low)
        self._skipped = [0, 0, 0]  # messages of higher lanes taken while this one waited
        self.size = 0

    def push(self, message: Message) -> None:
        """Put a message into the lane of its priority."""
        self.by_priority[message.priority].push(message)
        self.size += 1

    def push_back(self, message: Message, taken: int) -> None:
        """Put a message that was taken in vain back into its lane; see ``FairLane.push_back``."""
        self.by_priority[message.priority].push_back(message, taken)
        self.size += 1

    def pop(self) -> Message:
        """Take the message whose turn it is; there must be one."""
        self.size -= 1
        skipped = self._skipped
        # ``turns`` in place of the lanes' own truth: a call less for each, on the hot path.
        high, normal, low = self._high, self._normal, self._low
        if low.turns:
            if skipped[2] >= PATIENCE or not (high.turns or normal.turns):
                skipped[2] = 0
                return low.pop()
            skipped[2] += 1
        elif not high.turns:  # nearly always: nothing but NORMAL mail
            skipped[1] = 0
            turns = normal.turns
            if len(turns) == 1:
                queue = turns[0]
                if len(queue) > 1 and not queue.returned:
                    return queue.popleft()
            return normal.pop()
        if normal.turns:
            if skipped[1] >= PATIENCE or not high.turns:
                skipped[1] = 0
                return normal.pop()
            skipped[1] += 1
        return high.pop()

    def drop_oldest_low(self) -> Message | None:
        """Take the LOW message that was sent first; None when there is none."""
        if not self._low:
            return None
        self.size -= 1
        dropped = self.by_priority[LOW].drop_oldest()
        if not self._low:
            self._skipped[LOW] = 0  # later mail has not waited yet
        return dropped

    def clear(self) -> list[Message]:
        """Take everything, in the order in which it would have been read."""
        taken = []
        while self.size:
            taken.append(self.pop())
        return taken

    def __iter__(self) -> Iterator[Message]:
        for lane in self.by_priority:
            yield from lane
