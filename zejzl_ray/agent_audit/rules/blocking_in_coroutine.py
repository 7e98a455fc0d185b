"""Calls that hold up every agent of the process, because they stop its event loop."""

import ast
import re
from collections.abc import Iterable, Sequence
from typing import ClassVar, Final

from zejzl_ray.agent_audit.finding import Finding, Level
from zejzl_ray.agent_audit.module import CallSite, Module
from zejzl_ray.agent_audit.rule import found
from zejzl_ray.agent_audit.scopes import FunctionNode
from zejzl_ray.agent_audit.time_limits import argument, is_none, text_of

_IN_A_THREAD: Final = "Use its asynchronous twin, or await asyncio.to_thread(...)."
_SYNC_CLIENTS: Final = (
    r"requests\.([Ss]ession|sessions\.Session)\(\)", r"httpx2?\.Client\(\)", r"redis\.(client\.)?(Strict)?Redis\(\)",
    r"redis\.(Redis\(\)\.)?from_url\(\)", r"redis\.Redis\.from_url\(\)", r"pymongo\.MongoClient\(\)(\.\w+)*",
    r"openai\.(Azure)?OpenAI\(\)(\.\w+)+", r"anthropic\.Anthropic\(\)(\.\w+)+", r"ollama\.Client\(\)",
    r"boto3\.(client|resource)\(\)", r"(psycopg2?|pymysql|MySQLdb|mysql\.connector)\.connect\(\)(\.cursor\(\))?",
    r"sqlite3\.connect\(\)(\.cursor\(\))?", r"smtplib\.SMTP(_SSL)?\(\)", r"ftplib\.FTP(_TLS)?\(\)",
    r"http\.client\.HTTPS?Connection\(\)", r"paramiko\.SSHClient\(\)",
)  # fmt: skip
# What a client does without asking its server.
_QUICK_METHODS: Final = frozenset({"close", "cursor", "pipeline", "pubsub", "with_options", "mount", "lock"})
_BLOCKING: Final = tuple(
    (re.compile(pattern), remedy)
    for pattern, remedy in (
        (r"time\.sleep", "Use await asyncio.sleep(...)."),
        (r"requests\.(get|post|put|patch|delete|head|options|request)", "Use httpx2.AsyncClient."),
        (r"httpx2?\.(get|post|put|patch|delete|head|options|request|stream)", "Use its AsyncClient."),
        (r"urllib\.request\.(urlopen|urlretrieve)", "Use an asynchronous HTTP client."),
        (
            r"subprocess\.(run|call|check_call|check_output|getoutput|getstatusoutput)|os\.(system|popen|wait\w*)"
            r"|subprocess\.Popen\(\)\.(wait|communicate)",
            "Use asyncio.create_subprocess_exec(...).",
        ),
        (
            r"socket\.(create_connection|getaddrinfo|gethostby\w+|getfqdn)",
            "Use asyncio.open_connection(...).",
        ),
        (
            r"socket\.(socket|create_connection)\(\)\.(recv\w*|accept|connect|sendall)",
            "Use asyncio's streams.",
        ),
        (r"(sqlite3|psycopg2?|pymysql|MySQLdb|mysql\.connector)\.connect", _IN_A_THREAD),
        (r"zmq\.(Context(\.instance)?)\(\)\.socket\(\)\.(recv|send)(_\w+)?", "Use zmq.asyncio.Context()."),
        (r"builtins\.input|getpass\.getpass", "Read it in a thread: await asyncio.to_thread(input)."),
        (r"ray\.(get|wait)", "Await the reference itself."),
        (r"(queue|multiprocessing)\.\w*Queue\(\)\.(get|join)", "Use asyncio.Queue."),
        (r"threading\.(Event|Condition)\(\)\.wait|threading\.Thread\(\)\.join", "Use asyncio's own."),
        (r"multiprocessing\.Process\(\)\.join", _IN_A_THREAD),
        (r"concurrent\.futures\.\w+\(\)\.submit\(\)\.result", "Use loop.run_in_executor(...)."),
        (rf"({'|'.join(_SYNC_CLIENTS)})\.(?P<method>\w+)", _IN_A_THREAD),
    )
)
_OF_FILES: Final = re.compile(
    r"builtins\.open|io\.open|(pathlib\.Path\(\)\.)+(open|read_text|read_bytes|write_text|write_bytes)"
    r"|shutil\.(copy\w*|rmtree|move|make_archive)"
)
_QUEUE: Final = re.compile(r"(queue|multiprocessing)\.\w*Queue\(\)\.get")


class BlockingInCoroutine:
    """A call that blocks the event loop."""

    id: ClassVar[str] = "blocking-in-coroutine"
    level: ClassVar[Level] = Level.ERROR
    summary: ClassVar[str] = "A call in a coroutine that stops the event loop, and all agents on it."
    remedy: ClassVar[str] = _IN_A_THREAD

    def check(self, modules: Sequence[Module]) -> Iterable[Finding]:
        """Return the blocking calls of coroutines, made there or in a function of the module that they call."""
        for module in modules:
            hidden = _blocking_functions(module)
            for site in module.calls:
                if not module.is_in_coroutine(site.node):
                    continue
                told = text_of(site.node.func) or site.method
                remedy = _blocks(site)
                if remedy:
                    yield found(self, module, site.node, f"{told} blocks the event loop.", remedy=remedy)
                elif not site.is_awaited and _OF_FILES.fullmatch(site.name or ""):
                    message = f"{told} blocks the event loop for as long as the disk takes."
                    yield found(self, module, site.node, message, level=Level.WARNING)
                elif site.name in hidden:
                    inner = hidden[site.name]
                    message = (
                        f"{told} blocks the event loop: it calls {text_of(inner.node.func) or inner.method} "
                        f"in line {inner.node.lineno}."
                    )
                    yield found(self, module, site.node, message)


def _blocks(site: CallSite) -> str:
    """Return what to do instead of a call that blocks; empty if it does not."""
    name = site.name or ""
    if site.is_awaited and "()" in name:
        return ""
    for pattern, remedy in _BLOCKING:
        if (match := pattern.fullmatch(name)) and match.groupdict().get("method") not in _QUICK_METHODS:
            return "" if _is_at_once(site) else remedy
    return ""


def _is_at_once(site: CallSite) -> bool:
    """A queue that is asked not to wait."""
    if not _QUEUE.fullmatch(site.name or ""):
        return False
    block = argument(site.node, 0, "block")
    return not is_none(block) and isinstance(block, ast.Constant) and block.value is False


def _blocking_functions(module: Module) -> dict[str, CallSite]:
    """Return the plain functions of the module that block, with the call that does it."""
    calls: dict[ast.AST, list[CallSite]] = {}
    for site in module.calls:
        if isinstance(site.function, ast.FunctionDef):
            calls.setdefault(site.function, []).append(site)
    names: dict[ast.AST, str] = {
        node: name for name, node in module.functions.items() if isinstance(node, FunctionNode)
    }
    blocking: dict[str, CallSite] = {}
    callers: dict[str, list[tuple[str, CallSite]]] = {}
    for function, sites in calls.items():
        name = names.get(function)
        if name is None or function in module.generators:
            continue
        for site in sites:
            if _blocks(site):
                blocking.setdefault(name, site)
            elif site.name in module.functions:
                callers.setdefault(site.name or "", []).append((name, site))
    waiting = list(blocking)
    while waiting:
        for caller, _ in callers.get(inner := waiting.pop(), ()):
            if caller not in blocking:
                blocking[caller] = blocking[inner]
                waiting.append(caller)
    return blocking
