"""What a process hears of a gateway: everything once, and then nothing."""

import asyncio
from collections.abc import Sequence

from tests.unit.auth.process_bench import LIMITS, ProcessBench, public_key
from zejzl_ray.contracts.audit import ChainHead
from zejzl_ray.contracts.security_feed import FeedBatch, WatchFeed
from zejzl_ray.contracts.tokens import PublicKey
from zejzl_ray.contracts.trust import Observation
from zejzl_ray.errors import ServiceUnavailable


class QuietGateway:
    """Says everything once, then waits for ever; takes heads and observations.

    ``is_stubborn``: a question goes on when it is given up, as a call to a process that hangs may do.
    """

    def __init__(self, bench: ProcessBench) -> None:
        self.bench = bench
        self.published = [public_key("k1", bench.key)]
        self.is_read = asyncio.Event()
        self.is_waiting = asyncio.Event()
        self.let_go = asyncio.Event()
        self.is_stubborn = False
        self.anchors: list[ChainHead] = []
        self.observed: list[Observation] = []

    async def watch(self, request: WatchFeed) -> FeedBatch:
        if self.is_read.is_set():
            self.is_waiting.set()
            while True:
                try:
                    await self.let_go.wait()
                except asyncio.CancelledError:
                    if not self.is_stubborn:
                        raise
                else:
                    raise ServiceUnavailable("the gateway ends")
        self.is_read.set()
        return FeedBatch(
            epoch=1,
            revision=1,
            at_s=self.bench.clock.now_s(),
            is_whole=True,
            keys=tuple(self.published),
            limits=LIMITS,
        )

    async def fetch_keys(self) -> Sequence[PublicKey]:
        return self.published

    async def anchor(self, head: ChainHead) -> None:
        self.anchors.append(head)

    async def report(self, observations: Sequence[Observation]) -> None:
        self.observed += observations
