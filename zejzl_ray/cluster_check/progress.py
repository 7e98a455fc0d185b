"""Who is still being waited for, said from time to time while it takes long."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

_FIRST_S: Final = 3.0
_EVERY_S: Final = 5.0


class Progress:
    """Keeps what each machine is busy with, and says it.

    Args:
        write: takes one line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._busy: dict[str, str] = {}
        self._began_s = time.monotonic()

    def say(self, machine: str, what: str) -> None:
        """Remember what a machine is busy with; empty when it is done."""
        if what:
            self._busy[machine] = what
        else:
            self._busy.pop(machine, None)

    async def tell(self) -> None:
        """Write a line after 3 s, then every 5 s; runs until it is cancelled."""
        await asyncio.sleep(_FIRST_S)
        while True:
            waiting = "; ".join(f"{machine}: {what}" for machine, what in self._busy.items())
            if waiting:
                self._write(f"{time.monotonic() - self._began_s:.0f} s: {waiting} ...")
            await asyncio.sleep(_EVERY_S)
