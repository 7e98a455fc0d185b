"""Queues without an upper size."""

import pytest

from tests.unit.agent_audit.conftest import Audit

RULE = "queue-unbounded"


@pytest.mark.parametrize(
    "text",
    [
        "import asyncio\nasyncio.Queue()",
        "from asyncio import Queue as Q\nQ[int](0)",
        "import asyncio\nasyncio.PriorityQueue(maxsize=0)",
        "import queue\nqueue.LifoQueue(-1)",
        "import queue\nqueue.SimpleQueue()",
        "import multiprocessing as mp\nmp.get_context('spawn').Queue()",
        "from ray.util.queue import Queue\nQueue()",
    ],
)
def test_a_queue_without_a_bound_is_found(audit: Audit, text: str) -> None:
    assert len(audit(text, rule=RULE)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "import asyncio\nasyncio.Queue(100)",
        "import asyncio\nasyncio.Queue(maxsize=size)",
        "import queue\nqueue.Queue(*given)",
        "import queue\nqueue.Queue(**options)",
        "from own import Queue\nQueue()",
    ],
)
def test_a_queue_with_a_bound_and_other_things_are_fine(audit: Audit, text: str) -> None:
    assert audit(text, rule=RULE) == []
