"""Loops that go on whatever happens, and tell nobody."""

import ast
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Final

from zejzl_ray.agent_audit.finding import Finding, Level
from zejzl_ray.agent_audit.module import Module
from zejzl_ray.agent_audit.rule import found

_EVERYTHING: Final = "builtins.BaseException"
_MOST: Final = "builtins.Exception"
_CANCELLED: Final = frozenset(
    {"asyncio.CancelledError", "asyncio.exceptions.CancelledError", "concurrent.futures.CancelledError"}
)


class ErrorSwallowed:
    """An error that a loop swallows."""

    id: ClassVar[str] = "error-swallowed"
    level: ClassVar[Level] = Level.ERROR
    summary: ClassVar[str] = "A loop that catches everything, or cancellation, and goes on."
    remedy: ClassVar[str] = (
        "Catch the errors that are expected, log the others, and let cancellation through."
    )

    def check(self, modules: Sequence[Module]) -> Iterable[Finding]:
        """Return the handlers in loops that swallow too much."""
        for module in modules:
            for node in module.nodes:
                if isinstance(node, ast.Try | ast.TryStar) and module.is_in_loop(node):
                    yield from self._of_try(module, node)
                elif isinstance(node, ast.With | ast.AsyncWith) and module.is_in_loop(node):
                    yield from self._of_suppress(module, node)

    def _of_try(self, module: Module, node: ast.Try | ast.TryStar) -> Iterator[Finding]:
        is_passed_on = False  # a handler above lets cancellation and exits through
        for handler in node.handlers:
            if _leaves(module, handler):
                is_passed_on = is_passed_on or _catches(module, handler, {*_CANCELLED, _EVERYTHING})
                continue
            if handler.type is None or _catches(module, handler, {_EVERYTHING}):
                told = "A bare except" if handler.type is None else "except BaseException"
                if not is_passed_on:
                    yield found(
                        self, module, handler,
                        f"{told} in a loop swallows every error, and cancellation and Ctrl-C with them.",
                    )  # fmt: skip
                elif _does_nothing(handler):
                    yield found(
                        self, module, handler, f"{told} in a loop swallows every error and tells nobody."
                    )
            elif _catches(module, handler, {_MOST}) and _does_nothing(handler):
                yield found(
                    self, module, handler, "except Exception in a loop swallows every error and tells nobody.",
                    level=Level.WARNING,
                )  # fmt: skip
            elif _catches(module, handler, _CANCELLED) and self._keeps_running(module, node, handler):
                yield found(
                    self, module, handler, "The loop goes on when it is cancelled, so it cannot be stopped.",
                    remedy="Let CancelledError through, or leave the loop.",
                )  # fmt: skip

    def _of_suppress(self, module: Module, node: ast.With | ast.AsyncWith) -> Iterator[Finding]:
        for item in node.items:
            call = item.context_expr
            if isinstance(call, ast.Call) and module.name_of(call.func) == "contextlib.suppress":
                names = {module.name_of(argument) for argument in call.args}
                if names & {_EVERYTHING, _MOST}:
                    yield found(
                        self, module, call, "suppress in a loop swallows every error and tells nobody.",
                        level=Level.ERROR if _EVERYTHING in names else Level.WARNING,
                    )  # fmt: skip

    @staticmethod
    def _keeps_running(module: Module, node: ast.Try | ast.TryStar, handler: ast.ExceptHandler) -> bool:
        """Tell whether a loop with ``while`` goes on; waiting for a task that was cancelled is something else."""
        is_awaiting_a_task = len(node.body) == 1 and any(
            isinstance(inner, ast.Await) and not isinstance(inner.value, ast.Call)
            for inner in ast.walk(node.body[0])
        )
        loops = [
            above for above, _ in module.around(node) if isinstance(above, ast.For | ast.AsyncFor | ast.While)
        ]
        return (
            module.is_in_coroutine(handler)
            and not is_awaiting_a_task
            and isinstance(loops[0], ast.While)
            and _does_nothing(handler)
        )


def _catches(module: Module, handler: ast.ExceptHandler, names: Iterable[str]) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return not {module.name_of(kind) for kind in kinds if kind is not None}.isdisjoint(names)


def _leaves(module: Module, handler: ast.ExceptHandler) -> bool:
    """Tell whether a handler raises, returns or breaks somewhere, or ends the process."""
    for node in ast.walk(handler):
        if isinstance(node, ast.Raise | ast.Return | ast.Break):
            return True
        if isinstance(node, ast.Call) and module.name_of(node.func) in ("sys.exit", "os._exit", "os.abort"):
            return True
    return False


def _does_nothing(handler: ast.ExceptHandler) -> bool:
    return all(
        isinstance(node, ast.Pass | ast.Continue)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in handler.body
    )
