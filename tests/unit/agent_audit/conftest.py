"""Source texts as modules."""

import textwrap
from collections.abc import Callable

import pytest

from zejzl_ray.agent_audit.auditor import audit_modules
from zejzl_ray.agent_audit.finding import Finding
from zejzl_ray.agent_audit.module import Module
from zejzl_ray.agent_audit.source import parse_module

Audit = Callable[..., list[Finding]]


def module_of(text: str, name: str = "agent.py") -> Module:
    module = parse_module(textwrap.dedent(text).encode(), name)
    assert isinstance(module, Module), module
    return module


@pytest.fixture
def audit() -> Audit:
    """Return what is found in source texts: each a module of its own, named a.py, b.py and so on."""

    def run(*texts: str, rule: str = "") -> list[Finding]:
        modules = [module_of(text, f"{'abcdefgh'[index]}.py") for index, text in enumerate(texts)]
        findings, _ = audit_modules(modules)
        return [finding for finding in findings if not rule or finding.rule == rule]

    return run
