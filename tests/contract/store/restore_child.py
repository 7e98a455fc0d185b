"""A child process that restores a back-up and kills itself before its n-th step, or says how many there were.

Arguments: the store's URL, the back-up, the number of the step (0: never).
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import redis.asyncio.client

from zejzl_ray.backup.restore import restore_backup
from zejzl_ray.clock import SystemClock
from zejzl_ray.store.site_open import open_site

# Whatever changes a directory, and every SQLite file that is opened.
EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "open", "sqlite3.connect", "shutil.rmtree"}


class Steps:
    def __init__(self, last: int) -> None:
        self.last = last
        self.seen = 0

    def one(self) -> None:
        self.seen += 1
        if self.seen == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


async def main(url: str, path: Path, last: int) -> None:
    steps = Steps(last)
    site = await open_site(url)
    if url.startswith("sqlite"):
        directory = url.removeprefix("sqlite://")

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event in EVENTS and directory in str(arguments[:1]):
                steps.one()

        sys.addaudithook(hook)
    else:
        execute = redis.asyncio.client.Pipeline.execute

        async def counted(pipeline: Any, *arguments: Any, **options: Any) -> Any:
            steps.one()
            done = await execute(pipeline, *arguments, **options)
            steps.one()
            return done

        redis.asyncio.client.Pipeline.execute = counted  # type: ignore[method-assign,assignment]
    await restore_backup(site, path, clock=SystemClock(), shelf=path.parent, is_forced=True)
    sys.stdout.write(f"{steps.seen}\n")
    sys.stdout.flush()
    await site.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
