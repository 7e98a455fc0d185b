"""Mail whose receiver was not where it was sent to: it follows to where that is now, or is given up, once."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.local_mail import LocalMail
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.undeliverable import reason_for
from zejzl_ray.errors import ZejzlError
from zejzl_ray.log import get_logger

_FOLLOW_S: Final = 3.0  # how long news of where an agent has moved to are waited for
_LOOK_S: Final = 0.02
_LONGEST_S: Final = 0.25
log = get_logger("zejzl.bus")


@dataclass(frozen=True, slots=True, eq=False)
class _Astray:
    message: Message
    reason: DeadLetterReason
    why: str
    until_s: float


class MovedMail:
    """Messages that came back, or could not be sent; they keep their order, but may come after mail sent later.

    Args:
        local: the mail of this process.
        locate: tells the process that is known to hold an agent's mailbox.
        forward: brings a message to where its agent is now.
    """

    def __init__(
        self,
        local: LocalMail,
        locate: Callable[[str], str | None],
        forward: Callable[[Message], Awaitable[None]],
    ) -> None:
        self._local = local
        self._locate = locate
        self._forward = forward
        # process where they were not taken -> messages
        self._astray: dict[str, deque[_Astray]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return sum(len(astray) for astray in self._astray.values())

    def follow(self, host: str, messages: Sequence[Message], reason: DeadLetterReason, why: str) -> None:
        """Have messages delivered that a process did not take, if their agents turn up elsewhere soon.

        Args:
            host: where they were not taken.
            messages: in their order.
            reason: why they were not taken, for those that do not find their way.
            why: the same for people.
        """
        until_s = self._local.clock.monotonic_s() + _FOLLOW_S
        self._astray.setdefault(host, deque()).extend(
            _Astray(message, reason, why, until_s) for message in messages
        )
        if host not in self._tasks:
            self._tasks[host] = asyncio.get_running_loop().create_task(
                self._run(host), name=f"mail that {host} did not take"
            )

    async def close(self) -> None:
        """Give up what has not found its way."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        for astray in self._astray.values():
            for each in astray:
                self._local.lose(each.message, DeadLetterReason.UNREACHABLE, "this process stopped")
        self._astray.clear()
        self._tasks.clear()

    async def _run(self, host: str) -> None:
        loop = asyncio.get_running_loop()
        astray = self._astray[host]
        while True:
            begun_s = loop.time()
            await self._look(host, astray)
            if not astray:
                break
            # Much mail takes long to look at; what it waited for room counts too, so there is a bound.
            await asyncio.sleep(min(_LONGEST_S, max(_LOOK_S, 10 * (loop.time() - begun_s))))
        del self._astray[host], self._tasks[host]

    async def _look(self, host: str, astray: deque[_Astray]) -> None:
        """Look at each message once; keep those that are still astray."""
        batch, done = list(astray), 0
        left: list[_Astray] = []
        astray.clear()
        try:
            for each in batch:
                if not await self._settle(host, each):
                    left.append(each)
                done += 1
        finally:
            astray.extendleft(reversed(left + batch[done:]))

    async def _settle(self, host: str, each: _Astray) -> bool:
        local, message = self._local, each.message
        now_at = self._locate(message.to_agent)
        if message.to_agent in local.boxes or now_at not in (None, host):
            try:
                await self._forward(message)
            except ZejzlError as error:
                local.lose(message, reason_for(error), error.message)
            except Exception as error:
                log.exception("mail that follows its agent met a failure", to_agent=message.to_agent)
                local.lose(message, DeadLetterReason.REFUSED, f"{type(error).__name__} on its way")
        elif message.expires_s is not None and message.expires_s <= local.clock.monotonic_s():
            local.lose(message, DeadLetterReason.EXPIRED, each.why)
        elif local.clock.monotonic_s() >= each.until_s:
            local.lose(message, each.reason, each.why)
        else:
            return False
        return True
