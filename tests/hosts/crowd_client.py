"""A client that writes all the time, as a user's program does, and notes what it was told. Runs on a test host.

Run: ``python -m tests.hosts.crowd_client FOLDER NAME ADDRESS``, or ``... final`` to read every register once more, when
all is over. It changes registers (metadata of agents in the registry, by ``expected_revision``), and takes, renews and
gives back names with short leases, through the SDK over HTTP. Its journal is a file of its own in the folder.
"""

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

from zejzl_ray.contracts import orchestrator as wire
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.errors import AgentExists, AgentNotFound, VersionConflict, ZejzlError
from zejzl_ray.sdk.async_client import AsyncClient
from zejzl_ray.sdk.connect import connect_async
from zejzl_ray.testing.history import Action, Journal, Outcome

REGISTERS: Final = tuple(f"register{number}" for number in range(6))
NAMES: Final = ("leader1", "leader2")
LEASE_S: Final = 3.0
LIMIT_S: Final = 4.0
_PAUSE_S: Final = 0.1
_FINAL_LIMIT_S: Final = 60.0

R = TypeVar("R")


class Writer:
    """One client.

    Args:
        client: the way in.
        journal: where everything is noted before and after.
        name: it holds names as this one; unique among all that ever run.
    """

    def __init__(self, client: AsyncClient, journal: Journal, name: str) -> None:
        self._client = client
        self._journal = journal
        self._name = name
        self._roll = random.Random(name)
        self._count = 0
        self._known: dict[str, wire.Agent] = {}

    async def write_for_ever(self) -> None:
        """Change one register after the other, until the process is killed."""
        while True:
            register = self._roll.choice(REGISTERS)
            # What is remembered of it may be old, which the registry has to notice; now and then it is looked up.
            if register not in self._known or self._roll.random() < 0.4:
                await self.read(register)
            if register in self._known:
                await self._swap(register)
            await asyncio.sleep(self._roll.uniform(0.0, 2 * _PAUSE_S))

    async def lead_for_ever(self, name: str) -> None:
        """Take a name, keep it for a while, and give it back or let it go, until the process is killed."""
        while True:
            if await self._take(name):
                for _ in range(self._roll.randint(0, 4)):
                    await asyncio.sleep(LEASE_S / 3)
                    if not await self._renew(name):
                        break
                if self._roll.random() < 0.6:
                    await self._release(name)
                await asyncio.sleep(self._roll.uniform(0.0, LEASE_S))
            await asyncio.sleep(self._roll.uniform(0.2, 0.6))

    async def read(self, register: str) -> bool:
        """Read a register as it is now; false: no answer.

        A look-up is answered from a copy that may be 5 s old. A change of nothing is decided where changes are.
        """
        call = self._journal.begin(Action.READ, register)
        try:
            found = await self._client.update(register)
        except ZejzlError as error:
            self._failed(call, error)
            return False
        self._journal.end(call, Outcome.OK, value=_value(found))
        self._known[register] = found
        return True

    async def _swap(self, register: str) -> None:
        known = self._known.pop(register)
        self._count += 1
        value = f"{self._name}.{self._count}"
        call = self._journal.begin(Action.SWAP, register, value=value, expected=_value(known))
        ask = self._client.update(register, metadata={"value": value}, expected_revision=known.revision)
        changed = await self._tell(call, ask, VersionConflict)
        if changed is not None:
            self._known[register] = changed

    async def _take(self, name: str) -> bool:
        call = self._journal.begin(Action.TAKE, name, lease_s=LEASE_S)
        ask = self._client.register(name, kind="actor", lease_s=LEASE_S, held_by=self._name)
        return await self._tell(call, ask, AgentExists) is not None

    async def _renew(self, name: str) -> bool:
        call = self._journal.begin(Action.RENEW, name, lease_s=LEASE_S)
        beat = wire.Heartbeat(name=name, held_by=self._name)
        ask = self._client.call(BY_SERVICE[wire.SERVICE]["heartbeat"], beat)
        return await self._tell(call, ask, AgentNotFound) is not None

    async def _release(self, name: str) -> None:
        call = self._journal.begin(Action.RELEASE, name)
        gone = wire.DeregisterAgent(name=name, held_by=self._name)
        ask = self._client.call(BY_SERVICE[wire.SERVICE]["deregister_agent"], gone)
        await self._tell(call, ask, AgentNotFound)

    async def _tell(self, call: int, ask: Awaitable[R], refusal: type[ZejzlError]) -> R | None:
        try:
            answer = await ask
        except refusal:
            self._journal.end(call, Outcome.REFUSED)
            return None
        except ZejzlError as error:
            self._failed(call, error)
            return None
        self._journal.end(call, Outcome.OK)
        return answer

    def _failed(self, call: int, error: ZejzlError) -> None:
        self._journal.end(call, Outcome.UNKNOWN, error=type(error).__name__)


def _value(agent: wire.Agent) -> str:
    return str(agent.metadata.get("value", ""))


async def read_all(writer: Writer) -> None:
    """Read every register until it has answered.

    Raises:
        TimeoutError: one has not.
    """
    async with asyncio.timeout(_FINAL_LIMIT_S):
        for register in REGISTERS:
            while not await writer.read(register):
                continue  # an error took its time: the SDK has tried several times


async def run(folder: Path, name: str, address: str, work: Callable[[Writer], Awaitable[object]]) -> None:
    """Connect, and work."""
    unique = f"{name}.{time.monotonic_ns() // 1_000_000}"  # process ids begin anew when a host boots
    client = connect_async(address, timeout_s=LIMIT_S)
    try:
        with Journal(folder / f"{unique}.jsonl", unique) as journal:
            await work(Writer(client, journal, unique))
    finally:
        await client.close()


async def work_for_ever(writer: Writer) -> None:
    """Write and lead at the same time."""
    await asyncio.gather(writer.write_for_ever(), *(writer.lead_for_ever(name) for name in NAMES))


if __name__ == "__main__":
    asyncio.run(
        run(
            Path(sys.argv[1]),
            sys.argv[2],
            sys.argv[3],
            read_all if sys.argv[4:] == ["final"] else work_for_ever,
        )
    )
