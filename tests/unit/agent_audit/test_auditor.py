"""The audit as a whole: old code is found out, this project's own is not."""

from pathlib import Path

import pytest

from zejzl_ray.agent_audit.auditor import audit_paths
from zejzl_ray.agent_audit.finding import Level
from zejzl_ray.agent_audit.rules import ALL_RULES

ROOT = Path(__file__).resolve().parents[3]

OLD_AGENT = '''
"""An agent as they were written once."""
import asyncio
import sqlite3
import time
from multiprocessing import Process

import requests

API_KEY = "@"


class BaseAgent:
    def __init__(self, name, bus):
        self.name = name
        self.bus = bus
        self.todo = asyncio.Queue()
        self.db = sqlite3.connect("memory.db")

    async def run(self):
        while True:
            try:
                message = await self.bus.receive(self.name)
                await self.process(message)
            except:
                pass

    async def process(self, message):
        answer = requests.post("https://llm.example/v1", json=message.content)
        time.sleep(0.1)
        self.save(answer.json())

    def save(self, answer):
        self.db.execute("insert into answers values (?)", (str(answer),))

    def ask(self, text):
        return asyncio.get_event_loop().run_until_complete(self.process(text))

    async def think(self):
        return asyncio.run(self.process("what now"))


def main():
    for name in ("observer", "actor"):
        Process(target=asyncio.run, args=(BaseAgent(name, None).run(),)).start()
'''


def test_every_rule_finds_something_in_an_agent_as_they_were_written_once(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text(OLD_AGENT.replace("@", "sk-" + "a1B2" * 8))
    report = audit_paths([tmp_path])
    assert {finding.rule for finding in report.findings} == {rule.id for rule in ALL_RULES}
    assert all(finding.message and finding.remedy and finding.line for finding in report.findings)
    assert list(report.findings) == sorted(report.findings)
    assert report.count(Level.ERROR) + report.count(Level.WARNING) == len(report.findings)


@pytest.mark.parametrize("package", ["zejzl_ray", "actors", "serve_apps"])
def test_the_projects_own_code_has_no_finding_that_nobody_looked_at(package: str) -> None:
    report = audit_paths([ROOT / package])
    assert [
        f"{finding.path}:{finding.line}: {finding.rule}: {finding.message}" for finding in report.findings
    ] == []


def test_rules_have_names_of_their_own_and_say_what_they_find_and_what_to_do() -> None:
    assert len({rule.id for rule in ALL_RULES}) == len(ALL_RULES)
    for rule in ALL_RULES:
        assert rule.summary.endswith(".")
        assert rule.remedy.endswith(".")
