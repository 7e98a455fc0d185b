"""Waits for mail, bytes or replies that may never come."""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from zejzl_ray.agent_audit.finding import Finding, Level
from zejzl_ray.agent_audit.module import CallSite, Module
from zejzl_ray.agent_audit.rule import found
from zejzl_ray.agent_audit.scopes import LOCAL
from zejzl_ray.agent_audit.time_limits import TimeLimits, argument, has_open_arguments, is_none, text_of

_REQUESTS: Final = re.compile(
    r"requests(\.(sessions\.)?[Ss]ession\(\))?\.(get|post|put|patch|delete|head|options|request|send)"
)
_URLOPEN: Final = re.compile(r"urllib\.request\.(urlopen|build_opener\(\)\.open)")
_HTTPX: Final = re.compile(r"httpx2?\.((Async)?Client|get|post|put|patch|delete|head|options|request|stream)")
_QUEUE_GET: Final = re.compile(
    r"(asyncio|queue|multiprocessing(\.get_context\(\))?|multiprocessing\.Manager\(\)|ray\.util\.queue|janus)"
    r"\.\w*Queue\(\)(\.(async_q|sync_q))?\.get"
)
_REDIS: Final = re.compile(r"(redis|aioredis|coredis)\b.*\(\)\.(?P<method>\w+)")
_SOCKET: Final = re.compile(r"socket\.(socket|create_connection|socketpair)\(\)\.(recv\w*|accept)")
_RAY: Final = re.compile(r"ray\.(get|wait)")
_OWN: Final = re.compile(r"zejzl_ray\.")  # its receives and requests have a limit of their own

_POPS: Final = {"blpop": 1, "brpop": 1, "bzpopmin": 1, "bzpopmax": 1, "brpoplpush": 2, "blmove": 2}
_RECEIVES: Final = re.compile(r"recv(_(bytes|into|json|multipart|pyobj|serialized|string)|from(_into)?|msg)?")
_MAIL_NAMES: Final = re.compile(
    r"(?i)(^|_)(bus|mail(box)?|inbox|channel|sock(et)?|conn(ection)?|pipe|ws|websocket|transport)\d*$"
)
_QUEUE_NAMES: Final = re.compile(r"(?i)(^|_)(q|queue|inbox|mailbox)\d*$")
_STREAMS: Final = frozenset({"subscribe", "listen"})


@dataclass(frozen=True, slots=True)
class _Wait:
    what: str
    remedy: str = ""
    level: Level = Level.ERROR
    is_judged: bool = False  # its arguments are looked at already


class ReceiveWithoutLimit:
    """A receive or request that may wait for ever."""

    id: ClassVar[str] = "receive-without-time-limit"
    level: ClassVar[Level] = Level.ERROR
    summary: ClassVar[str] = "A receive, a request or a stream of mail that may wait for ever."
    remedy: ClassVar[str] = "Give a time limit, or put it into 'async with asyncio.timeout(...)'."

    def check(self, modules: Sequence[Module]) -> Iterable[Finding]:
        """Return the waits without a limit."""
        for module in modules:
            limits = TimeLimits(module)
            streamed = dict(_streamed(module))
            for site in module.calls:
                wait = _stream(site) if site.node in streamed else _wait(module, site)
                if wait is None:
                    continue
                if not (limits.is_limited_around(site.node) if wait.is_judged else limits.is_limited(site)):
                    told = f"{text_of(site.node.func) or site.method} {wait.what}"
                    yield found(self, module, site.node, told, remedy=wait.remedy, level=wait.level)


def _wait(module: Module, site: CallSite) -> _Wait | None:
    """Return why a call may wait for ever, if it may."""
    call, name = site.node, site.name or ""
    if has_open_arguments(call) or _OWN.match(name):
        return None
    if _REQUESTS.fullmatch(name):
        return _Wait("waits for its reply for ever.", "Give timeout=(connect, read) in seconds.")
    if _URLOPEN.fullmatch(name):
        is_limited = not is_none(argument(call, 2, "timeout"))
        return None if is_limited else _Wait("waits for its reply for ever.", "Give timeout= in seconds.")
    if _HTTPX.fullmatch(name):
        keyword = next((keyword for keyword in call.keywords if keyword.arg == "timeout"), None)
        is_off = keyword is not None and is_none(keyword.value)
        return (
            _Wait("switches the time limit off.", "Leave timeout out, or give seconds.") if is_off else None
        )
    if _RAY.fullmatch(name):
        return _Wait("waits for another process for ever.", "Give timeout= in seconds.")
    if _SOCKET.fullmatch(name):
        return _Wait("waits for bytes for ever.", "Call settimeout() with seconds first.")
    if (redis := _REDIS.fullmatch(name)) or site.method in _POPS:
        return _redis_wait(call, redis["method"] if redis else site.method)
    if _QUEUE_GET.fullmatch(name):
        return _queue_wait(site, is_sync=not name.startswith("asyncio."))
    return _wait_by_name(module, site)


def _wait_by_name(module: Module, site: CallSite) -> _Wait | None:
    """Judge by names alone, where nothing says what the receiver is."""
    receiver = text_of(site.receiver)
    last = receiver.rpartition(".")[2]
    name = site.name or ""
    if site.receiver is None or last in ("self", "cls", "super") or _is_coroutine_made_only(module, site):
        return None
    if name.startswith(LOCAL) and name in module.functions:  # judged where it is written
        return None
    if _RECEIVES.fullmatch(site.method):
        return _Wait("waits for ever.", "Give a time limit, or ask poll() with one first.")
    if site.method == "receive" and _MAIL_NAMES.search(last) and not module.imports("zejzl_ray"):
        is_limited = not is_none(argument(site.node, 1, "timeout", "timeout_s"))
        return None if is_limited else _Wait("waits for mail for ever.")
    if site.method == "get" and _QUEUE_NAMES.search(last) and _takes_no_key(site.node):
        is_known = bool(name) and not name.startswith(LOCAL)
        return None if is_known else _queue_wait(site, is_sync=not site.is_awaited)
    return None


def _queue_wait(site: CallSite, *, is_sync: bool) -> _Wait | None:
    call = site.node
    if not is_sync and not site.is_awaited:
        return None  # a task that somebody can cancel
    if is_sync:
        block = argument(call, 0, "block")
        is_at_once = isinstance(block, ast.Constant) and block.value is False
        if is_at_once or not is_none(argument(call, 1, "timeout")):
            return None
    return _Wait(
        "waits for an item for ever.",
        "Give timeout= in seconds." if is_sync else "Put it into 'async with asyncio.timeout(...)'.",
    )


def _redis_wait(call: ast.Call, method: str) -> _Wait | None:
    if method in _POPS:
        given = argument(call, _POPS[method], "timeout")
        if is_none(given) or (isinstance(given, ast.Constant) and given.value == 0):
            return _Wait(
                "waits for ever, as 0 seconds do in Redis.", "Give timeout= above 0.", is_judged=True
            )
    elif method in ("xread", "xreadgroup"):
        block = argument(call, None, "block")
        if isinstance(block, ast.Constant) and block.value == 0:
            return _Wait("waits for ever, as block=0 does in Redis.", "Give block= above 0, in milliseconds.")
    return None


def _stream(site: CallSite) -> _Wait | None:
    """Judge a call that an endless loop takes its items from."""
    if _OWN.match(site.name or "") or site.method not in _STREAMS:
        return None
    return _Wait(
        "gives its loop no way to notice that nothing comes any more.",
        "Receive with a time limit, or limit each round.",
        Level.WARNING,
    )


def _streamed(module: Module) -> Iterator[tuple[ast.AST, bool]]:
    for node in module.nodes:
        if isinstance(node, ast.For | ast.AsyncFor) and isinstance(node.iter, ast.Call):
            is_own = module.imports("zejzl_ray")
            if not is_own and isinstance(node.iter.func, ast.Attribute):
                yield node.iter, True


def _takes_no_key(call: ast.Call) -> bool:
    """A dictionary's ``get`` has a key; a queue's has nothing, or whether to wait."""
    return not call.args or (isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, bool))


def _is_coroutine_made_only(module: Module, site: CallSite) -> bool:
    """In a coroutine, a call that is given to something else becomes a task, which can be cancelled."""
    if site.is_awaited or not module.is_in_coroutine(site.node):
        return False
    above = next(module.parents(site.node), None)
    return isinstance(above, ast.Call)
