"""Loops that swallow errors."""

import pytest

from tests.unit.agent_audit.conftest import Audit
from zejzl_ray.agent_audit.finding import Level

RULE = "error-swallowed"
ERROR, WARNING = Level.ERROR, Level.WARNING


def loop(handlers: str, head: str = "while True:", body: str = "await work()") -> str:
    inner = "\n".join(f"        {line}" for line in handlers.split("\n"))
    return f"import asyncio, sys\nasync def f(task):\n    {head}\n        try:\n            {body}\n{inner}\n"


@pytest.mark.parametrize(
    ("handlers", "level"),
    [
        ("except:\n    pass", ERROR),
        ("except:\n    log()", ERROR),
        ("except BaseException:\n    continue", ERROR),
        ("except (ValueError, BaseException):\n    log()", ERROR),
        ("except Exception:\n    pass", WARNING),
        ("except Exception:\n    'nothing to do'\n    continue", WARNING),
        ("except asyncio.CancelledError:\n    pass", ERROR),
        ("except asyncio.CancelledError:\n    raise\nexcept:\n    pass", ERROR),
    ],
)
def test_a_handler_that_swallows_too_much_is_found(audit: Audit, handlers: str, level: Level) -> None:
    assert [finding.level for finding in audit(loop(handlers), rule=RULE)] == [level]


@pytest.mark.parametrize(
    "handlers",
    [
        "except:\n    raise",
        "except BaseException:\n    log()\n    break",
        "except:\n    sys.exit(1)",
        "except Exception:\n    log()",
        "except ValueError:\n    pass",
        "except Exception as error:\n    failures += 1",
        "except asyncio.CancelledError:\n    return",
        "except asyncio.CancelledError:\n    raise\nexcept:\n    log()",
    ],
)
def test_a_handler_that_tells_or_leaves_is_fine(audit: Audit, handlers: str) -> None:
    assert audit(loop(handlers), rule=RULE) == []


def test_outside_of_loops_and_in_functions_of_their_own_nothing_is_said(audit: Audit) -> None:
    assert audit("try:\n    f()\nexcept:\n    pass", rule=RULE) == []
    text = "for x in y:\n    def f():\n        try:\n            g()\n        except:\n            pass"
    assert audit(text, rule=RULE) == []
    assert (
        audit("for x in y:\n    pass\nelse:\n    try:\n        g()\n    except:\n        pass", rule=RULE)
        == []
    )


def test_waiting_for_a_task_that_was_cancelled_is_fine(audit: Audit) -> None:
    handlers = "except asyncio.CancelledError:\n    pass"
    assert audit(loop(handlers, body="await task"), rule=RULE) == []
    assert audit(loop(handlers, head="for task in tasks:", body="await stop(task)"), rule=RULE) == []


@pytest.mark.parametrize(
    ("names", "levels"),
    [("Exception", [WARNING]), ("BaseException", [ERROR]), ("KeyError", []), ("", [])],
)
def test_suppress_in_a_loop_is_the_same(audit: Audit, names: str, levels: list[Level]) -> None:
    text = f"from contextlib import suppress\nfor x in y:\n    with suppress({names}):\n        f()"
    assert [finding.level for finding in audit(text, rule=RULE)] == levels
    assert audit("for x in y:\n    with lock, open(x):\n        f()", rule=RULE) == []
