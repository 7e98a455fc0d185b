"""A store whose disk fills up, and has room again. Runs on a test host.

Run: ``python -m tests.hosts.full_disk sqlite|redis DIRECTORY``, the directory on a small file system of its own. Prints
one JSON object: what was acknowledged, what was refused and how, and what was there afterwards.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

from zejzl_ray.clock import SystemClock
from zejzl_ray.errors import StoreUnavailable, ZejzlError
from zejzl_ray.store import Put, Store, open_store
from zejzl_ray.testing.redis_server import RedisServer

_VALUE: Final = os.urandom(16_384)
_MOST: Final = 2000
_KEPT_BYTES: Final = 256 * 1024


class Filled:
    """What is written to a disk until it refuses.

    Args:
        store: on that disk.
        epoch: of the writer.
    """

    def __init__(self, store: Store, epoch: int) -> None:
        self._store = store
        self._epoch = epoch
        self.acknowledged: list[str] = []
        self.errors: Counter[str] = Counter()

    async def put(self) -> bool:
        """Write one key more; false: it was refused."""
        key = f"key{len(self.acknowledged):05}"
        try:
            await self._store.commit([Put(key, _VALUE)], epoch=self._epoch)
        except ZejzlError as error:
            self.errors[type(error).__name__] += 1
            return False
        self.acknowledged.append(key)
        return True

    async def missing(self) -> int:
        """Return how many acknowledged keys are not there, or not as they were written."""
        count = 0
        for key in self.acknowledged:
            found = await self._store.get(key)
            count += found is None or found.value != _VALUE
        return count


async def fill(kind: str, directory: Path) -> dict[str, Any]:
    """Fill the disk, look, make room, and write again."""
    ballast = directory / "ballast"
    ballast.write_bytes(bytes(_KEPT_BYTES))
    data = directory / "data"
    data.mkdir()
    server = RedisServer(directory=data) if kind == "redis" else None
    with server if server is not None else contextlib.nullcontext():
        url = f"{server.url}?timeout_s=2" if server is not None else f"sqlite:///{data}"
        store = await open_store(url, "full", clock=SystemClock(), owner="a test")
        filled = Filled(store, await store.take_epoch())
        while await filled.put() and len(filled.acknowledged) < _MOST:
            pass
        before = len(filled.acknowledged)
        is_refused_again = not await filled.put()
        try:
            missing_while_full = await filled.missing()
        except StoreUnavailable:
            missing_while_full = -1
        ballast.unlink()
        if server is not None:
            server.restart()  # as its unit does when it has ended
        async with asyncio.timeout(20):
            while not await filled.put():
                continue  # a refusal takes its time: the store looks for its server again
        found = {
            "acknowledged_before": before,
            "is_refused_again": is_refused_again,
            "missing_while_full": missing_while_full,
            "missing_after": await filled.missing(),
            "errors": sorted(filled.errors),
        }
        await store.close()
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(fill(sys.argv[1], Path(sys.argv[2])))) + "\n")
