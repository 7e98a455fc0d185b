"""Receives, requests and streams: each that may wait for ever, and its twin that may not."""

import pytest

from tests.unit.agent_audit.conftest import Audit

RULE = "receive-without-time-limit"

PAIRS = {
    "a request": ("import requests\nrequests.get(url)", "import requests\nrequests.get(url, timeout=5)"),
    "a request with the limit off": (
        "import requests\nrequests.post(url, timeout=None)",
        "import requests\nrequests.post(url, timeout=(3, 30))",
    ),
    "a request of a session": (
        "from requests import Session as S\nwith S() as s:\n    s.get(url)",
        "from requests import Session as S\nwith S() as s:\n    s.get(url, timeout=1)",
    ),
    "a URL": (
        "from urllib.request import urlopen\nurlopen(url)",
        "from urllib.request import urlopen\nurlopen(url, None, 5)",
    ),
    "a client with the limit off": (
        "import httpx\nc = httpx.AsyncClient(timeout=None)",
        "import httpx\nc = httpx.AsyncClient()",
    ),
    "an aliased function": (
        "import requests\nfetch = requests.get\nfetch(url)",
        "import requests\nfetch = requests.get\nfetch(url, timeout=1)",
    ),
    "an asyncio queue": (
        "import asyncio\nq = asyncio.Queue(5)\nasync def f():\n    await q.get()",
        "import asyncio\nq = asyncio.Queue(5)\nasync def f():\n    await asyncio.wait_for(q.get(), 5)",
    ),
    "a queue with wait_for that has no limit": (
        "import asyncio\nq = asyncio.Queue(5)\nasync def f():\n    await asyncio.wait_for(q.get(), None)",
        "import asyncio\nq = asyncio.Queue(5)\nasync def f():\n    await asyncio.wait_for(q.get(), timeout=1)",
    ),
    "a queue in a block": (
        "import asyncio\nq = asyncio.Queue(5)\nasync def f():\n  async with asyncio.timeout(None):\n    await q.get()",
        "import asyncio\nq = asyncio.Queue(5)\nasync def f():\n  async with asyncio.timeout(2):\n    await q.get()",
    ),
    "a queue that an attribute holds": (
        """
        import asyncio
        class A:
            def __init__(self):
                self.inbox: asyncio.Queue[int] = asyncio.Queue(maxsize=9)
            async def step(self):
                return await self.inbox.get()
        """,
        """
        import asyncio
        class A:
            def __init__(self):
                self.inbox: asyncio.Queue[int] = asyncio.Queue(maxsize=9)
            async def step(self):
                return self.inbox.get_nowait()
        """,
    ),
    "a queue that a parent made": (
        "import asyncio\nclass P:\n  def __init__(self):\n    self.box = asyncio.Queue(9)\n"
        "class A(P):\n  async def step(self):\n    return await self.box.get()",
        "import asyncio\nclass P:\n  def __init__(self):\n    self.box = {}\n"
        "class A(P):\n  async def step(self):\n    return self.box.get('a')",
    ),
    "a queue that is a parameter": (
        "from queue import Queue\ndef f(queue: 'Queue[int] | None'):\n    queue.get()",
        "from queue import Queue\ndef f(queue: 'Queue[int] | None'):\n    queue.get(timeout=1)",
    ),
    "a queue by its name": (
        "async def f(queue):\n    await queue.get()",
        "async def f(queue):\n    await queue.get('key')",
    ),
    "a plain queue": (
        "import queue\nq = queue.Queue(3)\nq.get(True)",
        "import queue\nq = queue.Queue(3)\nq.get(False)\nq.get(True, 3)\nq.get(block=False)",
    ),
    "a queue of processes": (
        "import multiprocessing as mp\nq = mp.Queue(3)\nq.get()",
        "import multiprocessing as mp\nq = mp.Queue(3)\nq.get(timeout=4)",
    ),
    "the mail of a bus": (
        "class A:\n  async def run(self):\n    await self.bus.receive(self.name)",
        "class A:\n  async def run(self):\n    await self.bus.receive(self.name, 5.0)",
    ),
    "the mail of a bus with None": (
        "async def f(bus):\n    await bus.receive('a', timeout=None)",
        "async def f(bus):\n    await bus.receive('a', timeout=3)",
    ),
    "a socket": (
        "import socket\ns = socket.socket()\ns.recv(9)",
        "import socket\ns = socket.socket()\ns.settimeout(3)\ns.recv(9)",
    ),
    "a socket that is told to block": (
        "import socket\ns = socket.socket()\ns.setblocking(True)\ns.recv(9)",
        "import socket\ns = socket.socket()\ns.setblocking(False)\ns.recv(9)",
    ),
    "a connection": (
        "import socket\nwith socket.create_connection(a) as s:\n    s.recv(9)",
        "import socket\nwith socket.create_connection(a, 3) as s:\n    s.recv(9)\n"
        "t = socket.create_connection(a, timeout=1)\nt.recv(1)",
    ),
    "a ZeroMQ socket": (
        "import zmq\ns = zmq.Context().socket(zmq.PULL)\ns.recv_json()",
        "import zmq\ns = zmq.Context().socket(zmq.PULL)\ns.setsockopt(zmq.RCVTIMEO, 500)\ns.recv_json()",
    ),
    "a ZeroMQ socket that is asked": (
        "import zmq\ns = zmq.Context().socket(zmq.PULL)\ns.recv()",
        "import zmq\ns = zmq.Context().socket(zmq.PULL)\nif s.poll(100):\n    s.recv()",
    ),
    "a ZeroMQ socket with a flag": (
        "import zmq\ns = zmq.Context().socket(zmq.PULL)\ns.recv(flags=0)",
        "import zmq\ns = zmq.Context().socket(zmq.PULL)\ns.recv(zmq.NOBLOCK)",
    ),
    "a ZeroMQ socket with an option": (
        "import zmq\ns = zmq.Context().socket(zmq.PULL)\ns.linger = 5\ns.recv()",
        "import zmq\ns = zmq.Context().socket(zmq.PULL)\ns.RCVTIMEO = 5\ns.recv()",
    ),
    "a ZeroMQ socket of a poller": (
        "import zmq\ns = zmq.Context().socket(zmq.PULL)\npoller = zmq.Poller()\ns.recv()",
        "import zmq\ns = zmq.Context().socket(zmq.PULL)\npoller = zmq.Poller()\n"
        "poller.register(s, zmq.POLLIN)\ns.recv()",
    ),
    "a pop of Redis": (
        "import redis\nr = redis.Redis()\nr.blpop('a')",
        "import redis\nr = redis.Redis()\nr.blpop('a', 5)\nr.lpop('a')",
    ),
    "a pop of Redis with 0": (
        "async def f(client):\n    await client.brpop('a', timeout=0)",
        "async def f(client):\n    await client.brpop('a', timeout=2)",
    ),
    "a stream of Redis": (
        "import redis\nr = redis.Redis()\nr.xread({}, block=0)",
        "import redis\nr = redis.Redis()\nr.xread({}, block=500)\nr.xread({})",
    ),
    "another process": ("import ray\nray.get(ref)", "import ray\nray.get(ref, timeout=9)"),
    "a subscription": (
        "async def f(bus):\n    async for message in bus.subscribe('a'):\n        print(message)",
        "async def f(bus):\n    async for message in bus.history('a'):\n        print(message)",
    ),
    "a subscription of Redis": (
        "def f(pubsub):\n    for message in pubsub.listen():\n        print(message)",
        "def f(pubsub):\n    pubsub.listen()",
    ),
    "a function with a caller that has no limit": (
        "import asyncio\nasync def inner(queue):\n    return await queue.get()\n"
        "async def a(q):\n    return await asyncio.wait_for(inner(q), 1)\nasync def b(q):\n    return await inner(q)",
        "import asyncio\nasync def inner(queue):\n    return await queue.get()\n"
        "async def a(q):\n    return await asyncio.wait_for(inner(q), 1)",
    ),
    "a function with a decorator": (
        "@retry(3)\nasync def f(queue):\n    await queue.get()",
        "@with_timeout(3)\nasync def f(queue):\n    await queue.get()",
    ),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_a_wait_without_a_limit_is_found_and_its_twin_is_not(audit: Audit, pair: tuple[str, str]) -> None:
    endless, limited = pair
    found = audit(endless, rule=RULE)
    assert len(found) == 1, found
    assert found[0].remedy
    assert audit(limited, rule=RULE) == []


@pytest.mark.parametrize(
    "text",
    [
        "from zejzl_ray.bus import MessageBus\nbus = MessageBus()\nasync def f():\n    await bus.receive('a')",
        "import zejzl_ray\nasync def f(bus):\n    await bus.receive('a')",
        "import zejzl_ray\nasync def f(bus):\n    async for m in bus.subscribe('a'):\n        print(m)",
        "import requests\nrequests.get(url, **options)",
        "async def f(config):\n    config.get('a')\n    return config.get()",
        "import asyncio\nasync def f(queue):\n    t = asyncio.create_task(queue.get())\n    t.cancel()",
        "import asyncio\nq = asyncio.Queue(2)\nasync def f():\n    t = asyncio.create_task(q.get())\n    t.cancel()",
        "class A:\n    async def f(self):\n        return await self.receive('a')",
        "class A:\n    def recv(self):\n        return 1\n    def f(self, a: 'A'):\n        return a.recv()",
        "queue = {}\nqueue.get('a')",
        "class A(B):\n    def f(self):\n        super().recv_events()",
        "def get():\n    return 1\nget()",
        "import asyncio, signal\nasync def f(loop):\n    q = asyncio.Queue(2)\n"
        "    loop.add_signal_handler(signal.SIGTERM, q.put_nowait, 1)\n    await q.get()",
    ],
)
def test_what_ends_by_itself_or_is_something_else_is_no_finding(audit: Audit, text: str) -> None:
    assert audit(text, rule=RULE) == []
