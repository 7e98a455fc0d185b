"""Comments that accept a finding."""

import pytest

from tests.unit.agent_audit.conftest import Audit, module_of
from zejzl_ray.agent_audit.auditor import audit_modules
from zejzl_ray.agent_audit.finding import Level
from zejzl_ray.agent_audit.suppressions import WRONG_SUPPRESSION

QUEUE = "queue-unbounded"


@pytest.mark.parametrize(
    "text",
    [
        "import asyncio\nq = asyncio.Queue()  # zejzl: ignore[queue-unbounded] at most 3 are put in",
        "import asyncio\n# zejzl: ignore[queue-unbounded]: at most 3\n\n# more\nq = asyncio.Queue()",
        "import asyncio\nq = asyncio.Queue(\n    0,\n)  # zejzl: ignore[queue-unbounded] at most 3",
        "import asyncio\nasync def f(queue):\n"
        "    # zejzl: ignore[queue-unbounded, receive-without-time-limit] ends with the process\n"
        "    await asyncio.Queue().get()",
    ],
)
def test_a_comment_with_a_reason_takes_the_finding_away(audit: Audit, text: str) -> None:
    assert audit(text) == []


def test_what_is_ignored_is_counted() -> None:
    text = "import asyncio\nq = [asyncio.Queue(), asyncio.Queue()]  # zejzl: ignore[queue-unbounded] a test"
    assert audit_modules([module_of(text)]) == ([], 2)


@pytest.mark.parametrize(
    ("comment", "told"),
    [
        ("# zejzl: ignore[queue-unbounded]", "gives no reason"),
        ("# zejzl: ignore[queue-unbounded] -", "gives no reason"),
        ("# zejzl: ignore it is fine", "names no rule"),
        ("# zejzl: ignore[] it is fine", "names no rule"),
    ],
)
def test_a_comment_without_reason_or_rule_ignores_nothing_and_is_an_error(
    audit: Audit, comment: str, told: str
) -> None:
    found = {finding.rule: finding for finding in audit(f"import asyncio\nq = asyncio.Queue()  {comment}")}
    assert set(found) == {QUEUE, WRONG_SUPPRESSION}
    assert found[WRONG_SUPPRESSION].level is Level.ERROR
    assert told in found[WRONG_SUPPRESSION].message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1  # zejzl: ignore[queue-unbounded] why", "finds nothing here"),
        ("x = 1  # zejzl: ignore[queue-unbound] why", "does not exist"),
        (
            "import asyncio\nasyncio.Queue()  # zejzl: ignore[queue-unbounded,secret-in-code] why",
            "'secret-in-code'",
        ),
        ("x = 1\n# zejzl: ignore[queue-unbounded] at the end", "finds nothing here"),
    ],
)
def test_a_comment_that_ignores_nothing_is_a_warning(audit: Audit, text: str, told: str) -> None:
    (found,) = audit(text)
    assert (found.rule, found.level) == (WRONG_SUPPRESSION, Level.WARNING)
    assert told in found.message


def test_a_text_is_no_comment_and_a_comment_elsewhere_does_not_count(audit: Audit) -> None:
    assert audit("x = '# zejzl: ignore[queue-unbounded] why'") == []
    found = audit("import asyncio\nasyncio.Queue()\ny = 1  # zejzl: ignore[queue-unbounded] why")
    assert sorted(finding.rule for finding in found) == [QUEUE, WRONG_SUPPRESSION]


def test_a_comment_inside_of_a_class_does_not_accept_what_is_said_of_the_class(audit: Audit) -> None:
    text = "class ScoutAgent:\n    # zejzl: ignore[health-check-missing] why\n    async def run(self): ..."
    assert sorted(finding.rule for finding in audit(text)) == ["health-check-missing", WRONG_SUPPRESSION]
