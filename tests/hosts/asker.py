"""A program of the cluster that reads from one service and writes to it. Runs on a test host.

Run: ``python -m tests.hosts.asker FILE HOST:PORT``, with the address of Ray's control store: lists the people that the
security gateway knows and gives it secrets, over actor handles, and notes each answer and refusal as a JSON line.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import SecretStr

from tests.hosts.prober import join_ray
from zejzl_ray.contracts.people import ListUsers
from zejzl_ray.contracts.secrets import SetSecret
from zejzl_ray.errors import ZejzlError
from zejzl_ray.sdk.connect import connect_async
from zejzl_ray.settings import load_settings

_PERIOD_S = 0.2
_LIMIT_S = 8.0


async def ask_for_ever(path: Path, address: str) -> None:
    """Read and write until the process is killed."""
    join_ray(load_settings(), address)
    client = connect_async("ray", timeout_s=_LIMIT_S)
    numbers = iter(range(1, 1_000_000))

    async def read() -> None:
        await client.security.list_users(ListUsers())

    async def write() -> None:
        value = SecretStr(f"value {next(numbers)}")
        await client.security.set_secret(SetSecret(name="asked", subjects=("program:asker",), value=value))

    with path.open("a", buffering=1) as file:
        await asyncio.gather(_repeat(file.write, "read", read), _repeat(file.write, "write", write))


async def _repeat(note: Callable[[str], object], what: str, ask: Callable[[], Awaitable[None]]) -> None:
    while True:
        error = ""
        try:
            await ask()
        except (ZejzlError, OSError) as refusal:
            error = f"{type(refusal).__name__}: {refusal}"
        note(json.dumps({"what": what, "error": error, "at_s": time.time()}) + "\n")
        await asyncio.sleep(_PERIOD_S)


if __name__ == "__main__":
    asyncio.run(ask_for_ever(Path(sys.argv[1]), sys.argv[2]))
