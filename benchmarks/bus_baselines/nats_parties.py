"""Baseline (c): nats-server through nats-py, publish and callback; and JetStream with an acknowledgement a message.

The callback is the fastest way that nats-py has to receive; its iterator and ``next_msg``, which are what awaiting the
next message looks like there, make a task for each. What may wait is unbounded here, so that nothing is dropped for a
slow consumer.
"""

import asyncio
import time
from contextlib import suppress
from typing import Any, Final

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, PubAck

from benchmarks.bus_mail import Arrivals, baseline_message, contents
from zejzl_ray.bus.codec import decode, encode

STREAM: Final = "mail"


class _Connected:
    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Client | None = None

    async def client(self) -> Client:
        """Return the connection, made on first use."""
        if self._client is None:
            self._client = await nats.connect(self._url)
        return self._client

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.close()


class NatsSender(_Connected):
    """Publishes."""

    async def publish(self, receivers: tuple[str, ...], count: int, kind: str = "called") -> float:
        """Publish ``count`` messages to each receiver, by one task each, and flush; return when the first was made."""
        client = await self.client()
        given = contents(count * len(receivers))
        await client.flush()
        began_s = time.monotonic()
        await asyncio.gather(
            *(
                self._publish(
                    client, kind, f"sender-{index}", receiver, given[index * count : (index + 1) * count]
                )
                for index, receiver in enumerate(receivers)
            )
        )
        await client.flush(60)
        return began_s

    async def _publish(
        self, client: Client, kind: str, sender: str, receiver: str, given: list[dict[str, Any]]
    ) -> None:
        publish, subject = client.publish, f"{kind}.{receiver}"
        for content in given:
            await publish(subject, encode(baseline_message(sender, receiver, content)))

    async def open_stream(self) -> None:
        """Make the stream, with JetStream's default storage (files) and limits; an earlier one is emptied."""
        stream = (await self.client()).jetstream()
        await stream.add_stream(name=STREAM, subjects=["durable.>"])
        await stream.purge_stream(STREAM)

    async def publish_durably(self, receiver: str, count: int, waiting: int) -> tuple[float, float]:
        """Publish with an acknowledgement for each, ``waiting`` of them under way at once.

        Returns:
            When the first was made, and when the last was acknowledged.
        """
        client = await self.client()
        stream = client.jetstream(publish_async_max_pending=waiting)
        subject = f"durable.{receiver}"
        given = contents(count)
        began_s = time.monotonic()
        for content in given:
            acknowledged = await stream.publish_async(
                subject, encode(baseline_message("sender", receiver, content)), wait_stall=30
            )
            acknowledged.add_done_callback(_raise_failure)
        await asyncio.wait_for(stream.publish_async_completed(), 60)
        return began_s, time.monotonic()


class NatsReceiver(_Connected):
    """Subscribes with a callback."""

    def __init__(self, url: str, names: tuple[str, ...]) -> None:
        super().__init__(url)
        self._names = names
        self._arrivals = Arrivals(0)
        self._expected = 0
        self._done = asyncio.Event()
        self._pulled: Any = None

    async def ready(self) -> None:
        """Be subscribed when this returns."""
        client = await self.client()
        for name in self._names:
            await client.subscribe(
                f"called.{name}", cb=self._count, pending_msgs_limit=0, pending_bytes_limit=0
            )
        self._pulled = await client.subscribe(
            f"iterated.{self._names[0]}", pending_msgs_limit=0, pending_bytes_limit=0
        )
        await client.flush()

    async def ready_durably(self, waiting: int) -> None:
        """Be subscribed to the stream with a durable consumer that acknowledges each message explicitly."""
        stream = (await self.client()).jetstream()
        await stream.subscribe(
            f"durable.{self._names[0]}", cb=self._acknowledge, durable=self._names[0], manual_ack=True,
            config=ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, max_ack_pending=waiting),
            pending_msgs_limit=0, pending_bytes_limit=0,
        )  # fmt: skip

    async def expect(self, count: int) -> None:
        """Count from the beginning, before anybody sends."""
        self._arrivals, self._expected = Arrivals(count), count
        self._done.clear()

    async def take(self, limit_s: float) -> tuple[float, int]:
        """Take messages, and acknowledge those of the stream, until all have come.

        Returns:
            When the last came, and how many are missing.
        """
        with suppress(TimeoutError):
            await asyncio.wait_for(self._done.wait(), limit_s)
        ended_s = time.monotonic()
        await (await self.client()).flush()
        return ended_s, self._arrivals.missing

    async def iterate(self, count: int, limit_s: float) -> tuple[float, int]:
        """Take messages from the iterator until all have come; returns as ``take``."""
        arrivals = Arrivals(count)
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                async for message in self._pulled.messages:
                    if arrivals.add(decode(message.data).content) == count:
                        break
        return time.monotonic(), arrivals.missing

    async def _count(self, message: Msg) -> None:
        if self._arrivals.add(decode(message.data).content) == self._expected:
            self._done.set()

    async def _acknowledge(self, message: Msg) -> None:
        content = decode(message.data).content
        await message.ack()
        if self._arrivals.add(content) == self._expected:
            self._done.set()


def _raise_failure(acknowledged: "asyncio.Future[PubAck]") -> None:
    acknowledged.result()  # the loop's handler tells of it; the count at the receiver shows it too
