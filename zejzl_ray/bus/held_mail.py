"""Mail for agents of another process whose mailboxes are full and let their senders wait: it waits at its sender."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from zejzl_ray.bus.link_queue import Encoded, LinkQueue
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.errors import BusError
from zejzl_ray.log import get_logger

_BATCH: Final = 128  # messages brought at once; what finds no room has gone in vain
_SHARE: Final = 8  # of what may wait for a process, what may wait for one such receiver: this part
_PAUSE_S: Final = (
    0.05  # after a batch of which something found no room; the receiver has waited for it already
)
log = get_logger("zejzl.bus")


class _Held:
    """What waits for one receiver: what it was offered already, then the rest."""

    def __init__(self, queue: LinkQueue) -> None:
        self.queue = queue
        self.returned: list[tuple[int, Encoded]] = []  # by the number of its batch
        self.task: asyncio.Task[None] | None = None


class HeldMail:
    """Keeps the mail of such receivers in its order, and brings it as there is room; other mail goes on meanwhile.

    Args:
        host: where it goes.
        queue: of the link: mail for a receiver that is held goes past it.
        options: bounds.
        bring: brings messages to a receiver that may wait for room, and returns what has to come later still.
        is_over: whether the time of a message is over.
        give_up: takes such messages.
    """

    def __init__(
        self,
        host: str,
        queue: LinkQueue,
        options: BusOptions,
        *,
        bring: Callable[[Sequence[Encoded]], Awaitable[list[Encoded]]],
        is_over: Callable[[Message], bool],
        give_up: Callable[[Message], None],
    ) -> None:
        self._host = host
        self._queue = queue
        self._options = replace(
            options,
            link_capacity=max(1, options.link_capacity // _SHARE),
            link_bytes=max(options.max_message_bytes, options.link_bytes // _SHARE),
            batch_messages=min(_BATCH, options.batch_messages),
        )
        self._bring = bring
        self._is_over = is_over
        self._give_up = give_up
        self._held: dict[str, _Held] = {}

    def __len__(self) -> int:
        """Return for how many receivers mail is held."""
        return len(self._held)

    def hold(self, later: Sequence[Encoded], number: int, before: Collection["asyncio.Task[Any]"]) -> None:
        """Hold messages that found no room, and from now on all mail for the same receivers.

        Args:
            later: in their order.
            number: of their batch.
            before: batches that are under way, and may hold more of it.
        """
        for each in later:
            agent = each[0].to_agent
            held = self._held.get(agent)
            if held is None:
                held = self._held[agent] = _Held(LinkQueue(self._host, self._options))
                held.task = asyncio.get_running_loop().create_task(
                    self._run(agent, held, tuple(before)), name=f"mail that {agent} has no room for"
                )
            held.returned.append((number, each))
        for agent in {each[0].to_agent for each in later} - self._queue.held.keys():
            self._queue.held[agent] = queue = self._held[agent].queue
            queue.put_back(self._queue.pull(partial(_is_for, agent)))

    def clear(self, why: Callable[[Message], BusError]) -> list[Message]:
        """Take everything out that is not on its way; senders that wait for room get an error."""
        left: list[Message] = []
        for held in self._held.values():
            left += [message for _, (message, _) in sorted(held.returned, key=_number)]
            left += held.queue.clear(why)
            held.returned.clear()
        return left

    async def close(self) -> None:
        """Bring nothing any more."""
        tasks = [held.task for held in self._held.values() if held.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)

    async def _run(self, agent: str, held: _Held, before: Sequence["asyncio.Task[Any]"]) -> None:
        try:
            if before:
                await asyncio.wait(before)
            held.returned.sort(key=_number)
            while taken := self._take(held):
                try:
                    later = await self._bring(taken)
                except Exception:
                    log.exception(
                        "mail that had to wait for room met a failure", agent=agent, host=self._host
                    )
                    later = []
                if later:
                    held.returned[:0] = [(0, each) for each in later]
                    await asyncio.sleep(_PAUSE_S)
        finally:
            del self._held[agent]
            self._queue.held.pop(agent, None)

    def _take(self, held: _Held) -> list[Encoded]:
        over = [each for _, each in held.returned if self._is_over(each[0])]
        if over:
            gone = {id(each[0]) for each in over}
            held.returned = [entry for entry in held.returned if id(entry[1][0]) not in gone]
        for message, _ in (*over, *held.queue.pull(self._is_over)):
            self._give_up(message)
        if not held.returned:
            return held.queue.take(None)
        options, size, count = self._options, 0, 0
        for _, (_, encoded) in held.returned[: options.batch_messages]:
            if count and size + len(encoded) > options.batch_bytes:
                break
            size += len(encoded)
            count += 1
        taken = [each for _, each in held.returned[:count]]
        del held.returned[:count]
        return taken


def _is_for(agent: str, message: Message) -> bool:
    return message.to_agent == agent and not message.sequence


def _number(entry: tuple[int, Encoded]) -> int:
    return entry[0]
