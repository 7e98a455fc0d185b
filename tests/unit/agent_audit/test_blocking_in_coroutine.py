"""Calls that stop the event loop, and their twins that do not."""

import pytest

from tests.unit.agent_audit.conftest import Audit
from zejzl_ray.agent_audit.finding import Level

RULE = "blocking-in-coroutine"

PAIRS = {
    "sleep": (
        "import time\nasync def f():\n    time.sleep(1)",
        "import asyncio\nasync def f():\n    await asyncio.sleep(1)",
    ),
    "sleep by another name": (
        "from time import sleep as nap\nasync def f():\n    nap(1)",
        "from asyncio import sleep as nap\nasync def f():\n    await nap(1)",
    ),
    "sleep by a local name": (
        "import time\nasync def f():\n    pause = time.sleep\n    pause(1)",
        "import time\nasync def f(pause):\n    pause(1)",
    ),
    "sleep that is awaited by mistake": (
        "import time\nasync def f():\n    await time.sleep(1)",
        "import time\ndef f():\n    time.sleep(1)",
    ),
    "a name that hides the module": (
        "import time\nasync def f():\n    time.sleep(1)",
        "import time\nasync def f(time):\n    time.sleep(1)",
    ),
    "a request": (
        "import requests\nasync def f():\n    requests.get(u, timeout=1)",
        "import asyncio, requests\nasync def f():\n    await asyncio.to_thread(requests.get, u, timeout=1)",
    ),
    "a client": (
        "import httpx\nasync def f():\n    with httpx.Client() as c:\n        c.get(u)",
        "import httpx\nasync def f():\n    async with httpx.AsyncClient() as c:\n        await c.get(u)",
    ),
    "a program": (
        "import subprocess as sp\nasync def f():\n    sp.run(['a'])",
        "import asyncio\nasync def f():\n    await asyncio.create_subprocess_exec('a')",
    ),
    "a database": (
        "import sqlite3\nasync def f():\n    sqlite3.connect('a.db')",
        "import aiosqlite\nasync def f():\n    await aiosqlite.connect('a.db')",
    ),
    "Redis": (
        "import redis\nr = redis.Redis()\nasync def f():\n    r.get('a')",
        "import redis.asyncio as redis\nr = redis.Redis()\nasync def f():\n    await r.get('a')",
    ),
    "ZeroMQ": (
        "import zmq\nctx = zmq.Context()\nasync def f():\n    s = ctx.socket(zmq.PULL)\n    s.recv(zmq.NOBLOCK)",
        "import zmq, zmq.asyncio\nctx = zmq.asyncio.Context()\nasync def f():\n"
        "    s = ctx.socket(zmq.PULL)\n    await s.recv(zmq.NOBLOCK)",
    ),
    "a question": (
        "async def f():\n    input('?')",
        "def input(x):\n    return 1\nasync def f():\n    input('?')",
    ),
    "a language model": (
        "from openai import OpenAI\nclass A:\n  def __init__(self):\n    self.llm = OpenAI()\n"
        "  async def act(self):\n    self.llm.chat.completions.create(model='m')",
        "from openai import AsyncOpenAI\nclass A:\n  def __init__(self):\n    self.llm = AsyncOpenAI()\n"
        "  async def act(self):\n    await self.llm.chat.completions.create(model='m')",
    ),
    "a queue of threads": (
        "import queue\nq = queue.Queue(3)\nasync def f():\n    q.get(timeout=1)",
        "import queue\nq = queue.Queue(3)\nasync def f():\n    q.get(False)\n    q.put_nowait(1)",
    ),
    "another process": (
        "import ray\nasync def f(ref):\n    ray.get(ref, timeout=1)",
        "import ray\nasync def f(ref):\n    await ref",
    ),
    "a client that is only made": (
        "import redis\nr = redis.Redis()\nasync def f():\n    r.ping()",
        "import redis\nr = redis.Redis()\nasync def f():\n    r.pipeline()\n    r.close()",
    ),
    "a function of the module that blocks": (
        "import time\ndef inner():\n    time.sleep(1)\ndef outer():\n    inner()\nasync def f():\n    outer()",
        "import asyncio, time\ndef inner():\n    time.sleep(1)\nasync def f():\n    await asyncio.to_thread(inner)",
    ),
    "a method that blocks": (
        "import time\nclass A:\n  def wait(self):\n    time.sleep(1)\n  async def f(self):\n    self.wait()",
        "import time\nclass A:\n  def wait(self):\n    yield time.sleep(1)\n  async def f(self):\n    self.wait()",
    ),
    "a function inside": (
        "import time\nasync def f():\n    [time.sleep(x) for x in (1, 2)]",
        "import time\nasync def f():\n    def g():\n        time.sleep(1)\n    return g, lambda: time.sleep(1)",
    ),
    "a default": (
        "import time\nasync def f():\n    def g(x=time.sleep(1)):\n        return x",
        "import time\nasync def f(x=time.sleep(1)):\n    return x",
    ),
    "a name that could be either": (
        "import time\nasync def f():\n    pause = None\n    pause = time.sleep\n    pause(1)",
        "import time, asyncio\npause = time.sleep\npause = asyncio.sleep\nasync def f():\n    pause(1)",
    ),
    "a choice": (
        "import redis\nasync def f(client=None):\n    c = client or redis.Redis()\n    c.get('a')",
        "import redis\nasync def f(client=None):\n    c = client or redis.asyncio.Redis()\n    c.get('a')",
    ),
    "a conditional": (
        "import time\nasync def f(x, own):\n    (time.sleep if x else time.sleep)(1)",
        "import time\nasync def f(x):\n    (time.sleep if x else print)(1)",
    ),
    "a global": (
        "import redis\nr = None\ndef setup():\n    global r\n    r = redis.Redis()\nasync def f():\n    r.get('a')",
        "import redis\nr = None\ndef setup():\n    r = redis.Redis()\nasync def f():\n    r.get('a')",
    ),
    "a nonlocal": (
        "import redis\ndef outer():\n    r = None\n    def setup():\n        nonlocal r\n        r = redis.Redis()\n"
        "    async def f():\n        r.get('a')",
        "import redis\ndef outer(r):\n    def setup():\n        nonlocal r\n        r = redis.Redis()\n"
        "    async def f():\n        r.get('a')",
    ),
    "a walrus in a comprehension": (
        "import redis\nasync def f():\n    [r := redis.Redis() for _ in x]\n    r.get('a')",
        "import redis\nasync def f():\n    [r for r in x]\n    r.get('a')",
    ),
    "a tuple": (
        "import redis\nasync def f():\n    r, n = redis.Redis(), 1\n    r.get('a')",
        "import redis\nasync def f():\n    r, *n = redis.Redis()\n    r.get('a')",
    ),
    "an annotation with Optional": (
        "import redis\nfrom typing import Optional\nasync def f(r: Optional[redis.Redis]):\n    r.get('a')",
        "import redis\nasync def f(r: 'not python ('):\n    r.get('a')",
    ),
    "an annotation with Annotated": (
        "import redis\nfrom typing import Annotated\nasync def f(r: Annotated[redis.Redis, 1]):\n    r.get('a')",
        "import redis\nasync def f(r: list[redis.Redis]):\n    r.get('a')",
    ),
    "a parameter that is named like its module": (
        "import redis\nasync def f(redis: redis.Redis):\n    redis.get('a')",
        "from zoo import *\nasync def f(redis: Redis):\n    redis.get('a')",
    ),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_a_blocking_call_is_found_and_its_twin_is_not(audit: Audit, pair: tuple[str, str]) -> None:
    blocking, free = pair
    found = audit(blocking, rule=RULE)
    assert [finding.level for finding in found] == [Level.ERROR], found
    assert audit(free, rule=RULE) == []


def test_a_blocking_function_is_told_where_it_is_called_with_the_line_that_blocks(audit: Audit) -> None:
    (found,) = audit("import time\ndef nap():\n    time.sleep(1)\n\nasync def f():\n    nap()\n", rule=RULE)
    assert (found.line, found.column) == (6, 5)
    assert found.message == "nap blocks the event loop: it calls time.sleep in line 3."


@pytest.mark.parametrize(
    "text",
    [
        "async def f():\n    open('a').read()",
        "from pathlib import Path\nasync def f():\n    (Path('a') / 'b').read_text()",
        "import shutil\nasync def f():\n    shutil.rmtree('a')",
    ],
)
def test_files_are_a_warning(audit: Audit, text: str) -> None:
    assert [finding.level for finding in audit(text, rule=RULE)] == [Level.WARNING]


def test_a_type_that_nests_deep_is_no_type(audit: Audit) -> None:
    nested = "redis.Redis | " * 60 + "redis.Redis"
    assert audit(f"import redis\nasync def f(r: {nested}):\n    r.get('a')", rule=RULE) != []
    deep = "Optional[" * 60 + "redis.Redis" + "]" * 60
    head = "import redis\nfrom typing import Optional\n"
    assert audit(f"{head}async def f(r: {deep}):\n    r.get('a')", rule=RULE) == []


def test_names_of_patterns_hide_modules(audit: Audit) -> None:
    text = "import time\nasync def f(x):\n    match x:\n        case {'a': 1, **time}:\n            time.sleep(1)"
    assert audit(text, rule=RULE) == []


def test_names_that_lead_in_a_circle_stand_for_nothing(audit: Audit) -> None:
    assert audit("a = b\nb = a\nasync def f():\n    a.sleep(1)", rule=RULE) == []


def test_two_classes_that_inherit_from_one_another_are_looked_through_once(audit: Audit) -> None:
    text = "class A(B):\n    pass\nclass B(A):\n    async def f(self):\n        self.x.get()"
    assert audit(text, rule=RULE) == []
