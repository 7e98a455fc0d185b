"""Queues that grow until the memory is gone."""

import ast
import re
from collections.abc import Iterable, Sequence
from typing import ClassVar, Final

from zejzl_ray.agent_audit.finding import Finding, Level
from zejzl_ray.agent_audit.module import Module
from zejzl_ray.agent_audit.rule import found
from zejzl_ray.agent_audit.time_limits import argument, has_open_arguments, is_none, text_of

_QUEUE: Final = re.compile(
    r"(asyncio|queue|multiprocessing(\.get_context\(\))?|multiprocessing\.Manager\(\)|ray\.util\.queue|janus)"
    r"\.(Queue|LifoQueue|PriorityQueue|JoinableQueue)"
)
_NEVER_BOUNDED: Final = re.compile(r"(queue|multiprocessing)\.SimpleQueue")


class QueueUnbounded:
    """A queue without an upper size."""

    id: ClassVar[str] = "queue-unbounded"
    level: ClassVar[Level] = Level.WARNING
    summary: ClassVar[str] = "A queue without an upper size, which grows until the memory is gone."
    remedy: ClassVar[str] = "Give maxsize, and say what happens when it is full."

    def check(self, modules: Sequence[Module]) -> Iterable[Finding]:
        """Return the unbounded queues."""
        for module in modules:
            for site in module.calls:
                name = site.name or ""
                told = text_of(site.node.func) or site.method
                if _NEVER_BOUNDED.fullmatch(name):
                    yield found(
                        self,
                        module,
                        site.node,
                        f"{told} has no upper size.",
                        remedy="Use Queue(maxsize=...).",
                    )
                elif _QUEUE.fullmatch(name) and _has_no_bound(site.node):
                    yield found(self, module, site.node, f"{told} is made without an upper size.")


def _has_no_bound(call: ast.Call) -> bool:
    size = argument(call, 0, "maxsize")
    if isinstance(size, ast.UnaryOp) and isinstance(size.op, ast.USub):
        return True
    is_zero = isinstance(size, ast.Constant) and size.value == 0
    return (is_none(size) or is_zero) and not has_open_arguments(call)
