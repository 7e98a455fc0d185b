"""Second loops, and things of one loop in another; and code that has one loop only."""

import pytest

from tests.unit.agent_audit.conftest import Audit

RULE = "event-loops-mixed"

PAIRS = {
    "run in a coroutine": (
        "import asyncio\nasync def f():\n    asyncio.run(g())",
        "import asyncio\ndef f():\n    asyncio.run(g())",
    ),
    "a new loop in a coroutine": (
        "from asyncio import new_event_loop\nasync def f():\n    new_event_loop()",
        "from asyncio import get_running_loop\nasync def f():\n    get_running_loop()",
    ),
    "waiting in a coroutine": (
        "async def f(loop):\n    loop.run_until_complete(g())",
        "def f(loop):\n    loop.run_until_complete(g())",
    ),
    "loops inside of one another": ("import nest_asyncio\nnest_asyncio.apply()", "import nest\nnest.apply()"),
    "a queue in a thread": (
        """
        import asyncio, threading
        class A:
            def __init__(self):
                self.box = asyncio.Queue(5)
                threading.Thread(target=self._read).start()
            def _read(self):
                self.box.put_nowait(1)
            async def step(self):
                return await asyncio.wait_for(self.box.get(), 1)
        """,
        """
        import asyncio, threading
        class A:
            def __init__(self, loop):
                self.box = asyncio.Queue(5)
                self.loop = loop
                threading.Thread(target=self._read).start()
            def _read(self):
                self.loop.call_soon_threadsafe(self.box.put_nowait, 1)
                return self.box.qsize()
            async def step(self):
                return await asyncio.wait_for(self.box.get(), 1)
        """,
    ),
    "a loop of a thread with a lock of another": (
        """
        import asyncio, threading
        lock = asyncio.Lock()
        async def inner():
            await lock.acquire()
        def work():
            asyncio.run(inner())
        async def step():
            await lock.acquire()
        t = threading.Thread(None, work)
        """,
        """
        import asyncio, threading
        async def inner():
            lock = asyncio.Lock()
            await lock.acquire()
        def work():
            asyncio.run(inner())
        t = threading.Thread(None, work)
        """,
    ),
    "a thread of its own class": (
        """
        import asyncio
        from threading import Thread
        box = asyncio.Queue(3)
        class Reader(Thread):
            def run(self):
                box.put_nowait(1)
        async def step():
            box.put_nowait(2)
        """,
        """
        import asyncio
        from threading import Thread
        class Reader(Thread):
            def run(self):
                asyncio.run(self.main())
            async def main(self):
                self.box = asyncio.Queue(3)
                self.box.put_nowait(1)
        """,
    ),
    "a thing that only the thread uses": (
        """
        import asyncio
        done = asyncio.Event()
        def work():
            done.set()
        async def step(loop):
            loop.run_in_executor(None, work)
            await done.wait()
        """,
        """
        import asyncio
        done = asyncio.Event()
        def work():
            done.set()
        async def step(loop):
            loop.run_in_executor(None, work)
        """,
    ),
    "two runs that share a client": (
        """
        import asyncio, aiohttp
        class Client:
            def __init__(self):
                self.session = aiohttp.ClientSession()
            def get(self):
                return asyncio.run(self._get())
            def post(self):
                return asyncio.run(self._post())
            async def _get(self):
                return await self.session.get("a")
            async def _post(self):
                return await self.session.post("a")
        """,
        """
        import asyncio, aiohttp
        class Client:
            def __init__(self):
                self.session = aiohttp.ClientSession()
            def get(self):
                return asyncio.run(self._get())
            async def _get(self):
                return await self.session.get("a")
        """,
    ),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_mixed_loops_are_found_and_one_loop_is_not(audit: Audit, pair: tuple[str, str]) -> None:
    mixed, single = pair
    assert audit(mixed, rule=RULE)
    assert audit(single, rule=RULE) == []


def test_what_is_only_named_like_a_loop_is_none(audit: Audit) -> None:
    assert audit("async def f(self):\n    await self.publisher.run_forever()", rule=RULE) == []


def test_the_other_place_is_named(audit: Audit) -> None:
    found = audit(PAIRS["a queue in a thread"][0], rule=RULE)
    assert [finding.message for finding in found] == [
        "A.box is used from a thread here and from another loop in line 10."
    ]
