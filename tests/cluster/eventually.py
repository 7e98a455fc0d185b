"""Waiting for something to become true, with a time limit."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def eventually(check: Callable[[], Awaitable[bool]], *, within_s: float, what: str) -> None:
    """Poll until the check holds; fail with ``what`` after the limit."""
    deadline_s = time.monotonic() + within_s
    while not await check():
        assert time.monotonic() < deadline_s, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.05)
