"""Baselines (d) and (e): an actor call a message, and ``ray.util.queue``; the message goes as MessagePack.

The classes are made actors by the benchmark, sender and receiver on different nodes. Ray is imported late, since it
reads its environment then.
"""

import asyncio
import time
from typing import Any

from benchmarks.bus_mail import Arrivals, baseline_message, contents, median
from zejzl_ray.bus.codec import decode, encode
from zejzl_ray.bus.message import Message

CALLS_UNDER_WAY = 200


class RayReceiver:
    """Takes a message with each call."""

    def __init__(self) -> None:
        self._arrivals = Arrivals(0)

    async def expect(self, count: int) -> None:
        """Count from the beginning."""
        self._arrivals = Arrivals(count)

    async def take(self, data: bytes) -> None:
        """Take one."""
        self._arrivals.add(decode(data).content)

    async def missing(self) -> int:
        """Return how many have not come."""
        return self._arrivals.missing

    async def answer(self, data: bytes) -> bytes:
        """Answer a request with the same content."""
        request = decode(data)
        return encode(
            Message(
                request.to_agent, request.from_agent, "observation_response", request.content, id=request.id
            )
        )

    async def take_from(self, queue: Any, count: int, limit_s: float) -> tuple[float, int]:
        """Take messages from a queue one by one; return when the last came and how many are missing."""
        arrivals = Arrivals(count)
        try:
            async with asyncio.timeout(limit_s):
                while arrivals.count < count:
                    arrivals.add(decode(await queue.get_async()).content)
        except TimeoutError:
            pass
        return time.monotonic(), arrivals.missing


class RaySender:
    """Makes calls."""

    async def ask(self, receiver: Any, count: int) -> float:
        """Ask ``count`` times, each after the answer to the last; return the median of the times, seconds."""
        took_s = []
        for content in contents(count):
            began_s = time.perf_counter()
            decode(await receiver.answer.remote(encode(baseline_message("sender", "receiver", content))))
            took_s.append(time.perf_counter() - began_s)
        return median(took_s)

    async def call_in_turn(self, receiver: Any, count: int) -> float:
        """Send messages, each awaited; return messages a second."""
        began_s = time.perf_counter()
        for content in contents(count):
            await receiver.take.remote(encode(baseline_message("sender", "receiver", content)))
        return count / (time.perf_counter() - began_s)

    async def call(self, receiver: Any, count: int) -> float:
        """Send messages, 200 calls under way; return messages a second."""
        given = contents(count)
        began_s = time.perf_counter()
        for start in range(0, count, CALLS_UNDER_WAY):
            await asyncio.gather(
                *(
                    receiver.take.remote(encode(baseline_message("sender", "receiver", content)))
                    for content in given[start : start + CALLS_UNDER_WAY]
                )
            )
        return count / (time.perf_counter() - began_s)

    async def put(self, queue: Any, count: int) -> float:
        """Put messages into a queue one by one; return when the first was made."""
        began_s = time.monotonic()
        for content in contents(count):
            await queue.put_async(encode(baseline_message("sender", "receiver", content)))
        return began_s


class RayPair:
    """Sender and receiver on two nodes, and a queue beside the receiver; needs a process that is connected to Ray.

    Args:
        sender: label of the sender's machine.
        receiver: label of the receiver's machine.
    """

    def __init__(self, sender: str, receiver: str) -> None:
        import ray
        from ray.util.queue import Queue

        from zejzl_ray.cluster.names import MACHINE_LABEL

        there: dict[str, Any] = {"num_cpus": 0, "label_selector": {MACHINE_LABEL: receiver}}
        self._ray: Any = ray
        self._sender: Any = (
            ray.remote(RaySender).options(num_cpus=0, label_selector={MACHINE_LABEL: sender}).remote()
        )
        self._receiver: Any = ray.remote(RayReceiver).options(**there).remote()
        self._queue: Any = Queue(actor_options=there)

    def ask_p50_s(self, count: int) -> float:
        """Return the median of requests in turn, seconds."""
        return float(self._get(self._sender.ask.remote(self._receiver, count)))

    def rate(self, count: int, *, is_in_turn: bool) -> float:
        """Return messages a second by actor calls: each awaited, or 200 under way."""
        self._get(self._receiver.expect.remote(count))
        method = self._sender.call_in_turn if is_in_turn else self._sender.call
        found = float(self._get(method.remote(self._receiver, count)))
        if missing := self._get(self._receiver.missing.remote()):
            raise RuntimeError(f"{missing} of {count} actor calls did not arrive")
        return found

    def queue_rate(self, count: int) -> float:
        """Return messages a second through ``ray.util.queue``, put and got one by one."""
        taking = self._receiver.take_from.remote(self._queue, count, 60.0)
        began_s = self._get(self._sender.put.remote(self._queue, count))
        ended_s, missing = self._get(taking)
        if missing:
            raise RuntimeError(f"{missing} of {count} messages did not come through the queue")
        return float(count / (ended_s - began_s))

    def close(self) -> None:
        """End the actors."""
        self._queue.shutdown(force=True)
        for actor in (self._sender, self._receiver):
            self._ray.kill(actor)

    def _get(self, reference: Any) -> Any:
        return self._ray.get(reference, timeout=120)
