"""A child process that commits as fast as it can and says what was acknowledged, until it is killed.

Arguments: the store's URL; for SQLite the number of the statement before which it kills itself (0: never).
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from zejzl_ray.clock import SystemClock
from zejzl_ray.store import Append, Put, Store, open_store
from zejzl_ray.store.sqlite import SqliteStore

NAMESPACE = "crash"


def die_at(statement_number: int) -> Callable[[str], None]:
    seen = 0

    def count(_: str) -> None:
        nonlocal seen
        seen += 1
        if seen == statement_number:
            os.kill(os.getpid(), signal.SIGKILL)

    return count


async def commit_one(store: Store, epoch: int, number: int) -> None:
    value = b"%d" % number
    await store.commit(
        [Put(f"a/{number}", value), Put(f"b/{number}", value), Append("l", value)], epoch=epoch
    )
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


async def main(url: str, statement_number: int) -> None:
    if statement_number:
        directory = Path(url.removeprefix("sqlite://"))
        store: Store = await SqliteStore.open(
            directory, NAMESPACE, clock=SystemClock(), on_statement=die_at(statement_number)
        )
    else:
        store = await open_store(url, NAMESPACE, clock=SystemClock(), owner="crash writer")
    epoch = await store.take_epoch()
    number = 0
    while True:
        # Some alone, some in groups.
        group = 1 + number % 4
        await asyncio.gather(*(commit_one(store, epoch, number + offset) for offset in range(group)))
        number += group


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
