"""The bounds that ``docs/messaging.md`` states are those of the code."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.host import MAX_AGENTS
from zejzl_ray.bus import dead_letters, mailbox, topics
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.bus.outbox import Outbox
from zejzl_ray.cluster import mail_reception

PAGE = Path(__file__).resolve().parents[2] / "docs" / "messaging.md"
ROWS = dict(
    re.findall(r"^\| ([^|]+?) \| ([^|]+?) \| [^|]*\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
)
DEFAULTS = BusOptions()


def default_of(function: Callable[..., Any], name: str) -> int:
    value: int = inspect.signature(function).parameters[name].default
    return value


def size(count: int) -> str:
    mib = count / 2**20
    return f"{mib:g} MiB" if mib >= 1 else f"{count / 2**10:g} KiB"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("mailbox", [f"{Agent.mailbox_capacity:,} messages", f"{mailbox.DEFAULT_CAPACITY:,} messages"]),
        ("one message between processes", [size(DEFAULTS.max_message_bytes)]),
        (
            "waiting for one other process",
            [f"{DEFAULTS.link_capacity:,} messages", size(DEFAULTS.link_bytes)],
        ),
        ("one batch", [f"{DEFAULTS.batch_messages:,} messages", size(DEFAULTS.batch_bytes)]),
        ("default time limit", [f"{DEFAULTS.default_timeout_s:g} s"]),
        ("history", [f"{DEFAULTS.history_size:,} messages"]),
        ("dead letters", [f"{DEFAULTS.dead_letters:,}", size(dead_letters.DEFAULT_BYTES)]),
        ("ended requests remembered, to know a late reply", [f"{DEFAULTS.finished_requests:,}"]),
        (
            "outbox",
            [f"{default_of(Outbox, 'capacity'):,} messages", size(default_of(Outbox, "capacity_bytes"))],
        ),
        (
            "subscriptions of a process; length of a topic or a name",
            [f"{topics.MAX_SUBSCRIPTIONS:,}", f"{topics.MAX_TOPIC_LENGTH} characters"],
        ),
        (
            "agents of a host; hosts connected to one",
            [f"{MAX_AGENTS:,}", f"{mail_reception._MAX_CONNECTIONS:,}"],
        ),
    ],
)
def test_the_page_states_the_bounds_of_the_code(row: str, said: list[str]) -> None:
    assert [text for text in said if text not in ROWS[row]] == []
