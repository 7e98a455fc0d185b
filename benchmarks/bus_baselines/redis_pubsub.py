"""Baseline (b): Redis pub/sub through ``redis.asyncio`` with the hiredis parser, a channel a receiver.

A sender awaits one ``publish`` a message, as one writes it; ``publish_pipelined`` sends 64 in a pipeline, to show what
the server could do.
"""

import asyncio
import time
from typing import Any

from redis.asyncio import Redis

from benchmarks.bus_mail import Arrivals, baseline_message, contents
from zejzl_ray.bus.codec import decode, encode

PIPELINED = 64


class RedisSender:
    """Publishes."""

    def __init__(self, url: str) -> None:
        self._client: Redis = Redis.from_url(url)

    async def publish(self, receiver: str, count: int) -> float:
        """Publish messages one by one; return when the first was made."""
        given = contents(count)
        await self._client.ping()
        publish = self._client.publish
        began_s = time.monotonic()
        for content in given:
            await publish(receiver, encode(baseline_message("sender", receiver, content)))
        return began_s

    async def publish_pipelined(self, receiver: str, count: int) -> float:
        """Publish messages in pipelines of 64; return when the first was made."""
        given = contents(count)
        await self._client.ping()
        began_s = time.monotonic()
        for start in range(0, count, PIPELINED):
            pipeline: Any = self._client.pipeline(transaction=False)
            for content in given[start : start + PIPELINED]:
                pipeline.publish(receiver, encode(baseline_message("sender", receiver, content)))
            await pipeline.execute()
        return began_s

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class RedisReceiver:
    """Subscribes to its channel."""

    def __init__(self, url: str, name: str) -> None:
        self._client: Redis = Redis.from_url(url)
        self._subscription: Any = self._client.pubsub(ignore_subscribe_messages=True)
        self._name = name

    async def ready(self) -> None:
        """Be subscribed when this returns."""
        await self._subscription.subscribe(self._name)
        await self._subscription.get_message(timeout=5)  # the server's confirmation

    async def take(self, count: int, limit_s: float) -> tuple[float, int]:
        """Take messages until all have come; return when the last did and how many are missing."""
        arrivals = Arrivals(count)
        try:
            async with asyncio.timeout(limit_s):
                async for item in self._subscription.listen():
                    if arrivals.add(decode(item["data"]).content) == count:
                        break
        except TimeoutError:
            pass
        return time.monotonic(), arrivals.missing

    async def close(self) -> None:
        """Close the connections."""
        await self._subscription.aclose()
        await self._client.aclose()
