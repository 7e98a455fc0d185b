"""A registry whose process is told another time than it is. Runs on a test host.

Run with libfaketime before it: ``python -m tests.hosts.jumping_clock FILE``, the file being that of
``FAKETIME_TIMESTAMP_FILE``. A client renews a short lease all the while; the clock of this one process is set forward
by an hour, and then back to an hour before the time. Prints one JSON object.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from zejzl_ray.clock import SystemClock
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.orchestrator import AgentState, Heartbeat, RegisterAgent
from zejzl_ray.errors import AgentHeld
from zejzl_ray.orchestrator import CoreOrchestrator
from zejzl_ray.store import MemoryStore

LEASE_S: Final = 2.0
_RENEWALS: Final = 12
_SET_AT: Final = {3: 3600.0, 8: -3600.0}
_CALL: Final = CallContext()


async def jump(set_clock: Callable[[float], object]) -> dict[str, object]:
    """Set the clock while a lease runs and is renewed, then stop renewing."""
    clock = SystemClock()
    service = CoreOrchestrator(MemoryStore(clock=clock), clock)
    await service.start()
    stop = asyncio.Event()
    upkeep = asyncio.create_task(service.run(stop))
    await service.register_agent(_taking("one"), _CALL)
    began_ahead_s, ahead_min = time.time() - time.monotonic(), set()
    states, taken = set(), 0
    for turn in range(_RENEWALS):
        if turn in _SET_AT:
            set_clock(_SET_AT[turn])
        await service.heartbeat(Heartbeat(name="A", held_by="one"), _CALL)
        states.add(_state(service))
        ahead_min.add(round((time.time() - time.monotonic() - began_ahead_s) / 60))
        try:
            await service.register_agent(_taking("two"), _CALL)
            taken += 1
        except AgentHeld:
            pass
        await asyncio.sleep(LEASE_S / 4)
    began_s = time.monotonic()
    for _ in range(int(50 * LEASE_S)):
        if _state(service) is AgentState.LOST:
            break
        await asyncio.sleep(0.1)
    silent_s = time.monotonic() - began_s
    stop.set()
    await upkeep
    await service.stop()
    return {"states": sorted(states), "taken": taken, "ahead_min": sorted(ahead_min), "silent_s": silent_s}


def _taking(held_by: str) -> RegisterAgent:
    return RegisterAgent(name="A", kind="process", lease_s=LEASE_S, held_by=held_by)


def _state(service: CoreOrchestrator) -> AgentState:
    agent = service.registry.agent("A")
    assert agent is not None
    return agent.state


def main(file: Path) -> None:
    """Run, and print."""
    found = asyncio.run(jump(lambda by_s: file.write_text(f"{by_s:+.0f}")))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
