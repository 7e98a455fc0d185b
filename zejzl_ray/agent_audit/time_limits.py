"""Whether a wait ends by itself: by an argument, by what stands around it, or by how its socket was set up."""

import ast
from typing import Final

from zejzl_ray.agent_audit.module import CallSite, Module
from zejzl_ray.agent_audit.scopes import FunctionNode

_LIMITING_BLOCKS: Final = frozenset(
    {
        "asyncio.timeout", "asyncio.timeout_at", "async_timeout.timeout", "async_timeout.timeout_at",
        "anyio.fail_after", "anyio.move_on_after", "trio.fail_after", "trio.move_on_after", "trio.fail_at",
        "trio.move_on_at",
    }
)  # fmt: skip
_LIMITING_METHODS: Final = frozenset({"settimeout", "setblocking", "poll", "set_read_timeout"})
_LIMITING_OPTIONS: Final = frozenset({"RCVTIMEO", "rcvtimeo", "timeout"})
_NOT_WAITING: Final = frozenset({"NOBLOCK", "DONTWAIT", "MSG_DONTWAIT"})
_MOST_DEPTH: Final = 5  # callers of callers


def is_none(node: ast.expr | None) -> bool:
    """Tell whether an argument is missing or the constant None."""
    return node is None or (isinstance(node, ast.Constant) and node.value is None)


def argument(call: ast.Call, place: int | None, *names: str) -> ast.expr | None:
    """Return an argument by its place or by one of its names; None if it is not given."""
    for keyword in call.keywords:
        if keyword.arg in names:
            return keyword.value
    if (
        place is not None
        and place < len(call.args)
        and not any(isinstance(a, ast.Starred) for a in call.args)
    ):
        return call.args[place]
    return None


def has_open_arguments(call: ast.Call) -> bool:
    """Tell whether ``*args`` or ``**options`` may hold what is not written here."""
    return any(isinstance(value, ast.Starred) for value in call.args) or any(
        keyword.arg is None for keyword in call.keywords
    )


def text_of(node: ast.expr | None) -> str:
    """Return a chain of names as text, such as ``self.sock``; empty for anything else."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(names)]) if isinstance(node, ast.Name) else ""


class TimeLimits:
    """Answers for the calls of one module."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._limited_receivers = self._find_receivers()
        self._sites: dict[ast.AST, list[CallSite]] = {}
        for site in module.calls:
            if site.name in module.functions:
                self._sites.setdefault(module.functions[site.name], []).append(site)

    def is_limited(self, site: CallSite) -> bool:
        """Tell whether a call ends by a time limit, as far as the module shows."""
        return (
            self._by_argument(site.node)
            or text_of(site.receiver) in self._limited_receivers
            or self.is_limited_around(site.node)
        )

    def is_limited_around(self, node: ast.AST, depth: int = 0) -> bool:
        """Tell whether a block, a ``wait_for``, a decorator, or every caller in the module limits what runs here."""
        for above, below in self._module.around(node):
            if isinstance(above, ast.With | ast.AsyncWith) and below in above.body and self._has_limit(above):
                return True
            if isinstance(above, ast.Call) and self._is_wait_for(above, below):
                return True
        function = self._module.function_of(node)
        if not isinstance(function, FunctionNode) or depth > _MOST_DEPTH:
            return False
        if any("timeout" in _last_name(mark) for mark in function.decorator_list):
            return True
        sites = self._sites.get(function, [])
        return bool(sites) and all(self.is_limited_around(site.node, depth + 1) for site in sites)

    def _has_limit(self, block: ast.With | ast.AsyncWith) -> bool:
        for item in block.items:
            call = item.context_expr
            if isinstance(call, ast.Call) and self._module.name_of(call.func) in _LIMITING_BLOCKS:
                given = argument(call, 0, "delay", "when", "seconds", "deadline")
                if not is_none(given):
                    return True
        return False

    def _is_wait_for(self, call: ast.Call, part: ast.AST) -> bool:
        if not call.args or part is not call.args[0] or _last_name(call.func) not in ("wait_for", "wait"):
            return False
        return not is_none(argument(call, 1 if _last_name(call.func) == "wait_for" else None, "timeout"))

    @staticmethod
    def _by_argument(call: ast.Call) -> bool:
        for keyword in call.keywords:
            if keyword.arg is not None and ("timeout" in keyword.arg or "deadline" in keyword.arg):
                return not is_none(keyword.value)
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        return any(
            isinstance(inner, ast.Attribute | ast.Name) and _last_name(inner) in _NOT_WAITING
            for value in given
            for inner in ast.walk(value)
        )

    def _find_receivers(self) -> frozenset[str]:
        """Return the texts of sockets that are set up to give up, or asked first whether there is something."""
        found = self._connections()
        for site in self._module.calls:
            if site.method in _LIMITING_METHODS and site.node.args and not is_none(site.node.args[0]):
                is_blocking = site.method == "setblocking" and getattr(site.node.args[0], "value", False)
                if not is_blocking:
                    found.add(text_of(site.receiver))
            elif site.method in ("setsockopt", "set") and site.node.args:
                if _last_name(site.node.args[0]) in _LIMITING_OPTIONS:
                    found.add(text_of(site.receiver))
            elif site.method == "register" and "poll" in text_of(site.receiver).lower() and site.node.args:
                found.add(text_of(site.node.args[0]))
            elif site.method == "add_signal_handler":  # waiting for the end of the process is meant to last
                found.update(text_of(getattr(given, "value", None)) for given in site.node.args)
        return frozenset(found - {""})

    def _connections(self) -> set[str]:
        """Return the texts of what is made with a limit, or given one by an attribute."""
        found = set()
        for node in self._module.nodes:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Attribute) and target.attr in _LIMITING_OPTIONS:
                        found.add(text_of(target.value))
                    elif self._is_limited_connection(node.value):
                        found.add(text_of(target))
            elif isinstance(node, ast.withitem) and self._is_limited_connection(node.context_expr):
                found.add(text_of(node.optional_vars))
        return found

    def _is_limited_connection(self, node: ast.expr) -> bool:
        return (
            isinstance(node, ast.Call)
            and self._module.name_of(node.func) == "socket.create_connection"
            and not is_none(argument(node, 1, "timeout"))
        )


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
