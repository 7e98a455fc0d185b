"""Agents without a health check."""

import pytest

from tests.unit.agent_audit.conftest import Audit
from zejzl_ray.agent_audit.finding import Level

RULE = "health-check-missing"
BASE = "class BaseAgent:\n    async def run(self): ...\n"

WITHOUT = [
    BASE,
    "class ScoutAgent:\n    async def process_message(self, m): ...",
    "class Scout(BaseAgent):\n    def step(self): ...\nclass BaseAgent:\n    def run_loop(self): ...",
]
WITH = [
    BASE + "    def health(self): ...",
    BASE + "    async def health_check(self): ...",
    BASE + "    def __init__(self):\n        self.add_check('a', f)",
    "from zejzl_ray.agents import Agent\nclass Scout(Agent):\n    async def on_message(self, m): ...",
    "from zejzl_ray.agents.agent import Agent as A\nclass ScoutAgent(A):\n    async def run(self): ...",
    "from zejzl_ray.agents import Agent\nclass Mine(Agent): ...\nclass Scout(Mine):\n    async def run(self): ...",
    "from pydantic import BaseModel\nclass ReportAgent(BaseModel):\n    async def run(self): ...",
    "class UnknownAgent(Exception):\n    def run(self): ...",
    "from typing import Protocol\nclass Agent(Protocol):\n    async def run(self): ...",
    "class UserAgent:\n    def __init__(self, text): ...",
    "class Runner:\n    async def run(self): ...",
]


@pytest.mark.parametrize("text", WITHOUT)
def test_an_agent_without_a_check_is_found_once(audit: Audit, text: str) -> None:
    assert [finding.level for finding in audit(text, rule=RULE)] == [Level.ERROR]


@pytest.mark.parametrize("text", WITH)
def test_an_agent_with_one_and_what_is_no_agent_are_fine(audit: Audit, text: str) -> None:
    assert audit(text, rule=RULE) == []


def test_a_base_that_is_not_looked_at_may_have_one(audit: Audit) -> None:
    (found,) = audit(
        "from old import BaseAgent\nclass Scout(BaseAgent[int]):\n    def f(self): ...", rule=RULE
    )
    assert found.level is Level.WARNING
    assert "unless BaseAgent" in found.message


def test_of_a_family_in_several_files_the_first_parent_is_told(audit: Audit) -> None:
    scout = "from a import BaseAgent\nclass Scout(BaseAgent):\n    async def run(self): ..."
    assert [(finding.path, finding.line) for finding in audit(BASE, scout, rule=RULE)] == [("a.py", 1)]
    assert audit(BASE + "    def health(self): ...", scout, rule=RULE) == []
