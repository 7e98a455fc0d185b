"""Checks of an agent's class that need no instance."""

import inspect
import math
from typing import Any, Final

from zejzl_ray.bus.mailbox import Overflow
from zejzl_ray.errors import InvalidInput

_SECONDS: Final = (
    "heartbeat_period_s", "start_timeout_s", "drain_timeout_s", "state_period_s", "handler_timeout_s",
)  # fmt: skip
_HOOKS: Final = ("on_message", "on_start", "on_stop", "on_undelivered")
_PLAIN: Final = ("save_state", "load_state")


def check_class(agent_class: Any) -> None:
    """Refuse a class whose attributes or hooks cannot work.

    Raises:
        InvalidInput: names the class, the attribute and what it should be.
    """
    for attribute, most in (("concurrency", 1000), ("mailbox_capacity", 100_000_000)):
        value = getattr(agent_class, attribute)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise _wrong(agent_class, attribute, f"Give a whole number from 1 to {most}.")
    for attribute in _SECONDS:
        value = getattr(agent_class, attribute)
        if value is None and attribute == "handler_timeout_s":
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise _wrong(agent_class, attribute, "Give seconds above 0.")
    if agent_class.overflow not in tuple(Overflow):
        raise _wrong(agent_class, "overflow", f"Choose one of {', '.join(Overflow)}.")
    for attribute in ("subscriptions", "capabilities"):
        value = getattr(agent_class, attribute)
        if isinstance(value, str) or not all(isinstance(part, str) and part for part in value):
            raise _wrong(agent_class, attribute, 'Give a tuple of texts, such as ("vision",).')
    for hook in _HOOKS:
        if not inspect.iscoroutinefunction(inspect.getattr_static(agent_class, hook)):
            raise InvalidInput(
                f"{agent_class.__name__}.{hook} is no coroutine function.", f"Write `async def {hook}`."
            )
    for hook in _PLAIN:
        if inspect.iscoroutinefunction(inspect.getattr_static(agent_class, hook)):
            raise InvalidInput(
                f"{agent_class.__name__}.{hook} is a coroutine function.", f"Write `def {hook}`."
            )


def _wrong(agent_class: Any, attribute: str, remedy: str) -> InvalidInput:
    return InvalidInput(
        f"{attribute} of {agent_class.__name__} is {getattr(agent_class, attribute)!r}.", remedy
    )
