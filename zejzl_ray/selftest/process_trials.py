"""How the operations of node agents and hosts of agents are tried, and those that every service has."""

from typing import Final

from zejzl_ray.contracts import agent_host as wire
from zejzl_ray.contracts.audit import ListChains, ReadAudit
from zejzl_ray.contracts.health import GetHealth
from zejzl_ray.contracts.life import StopService
from zejzl_ray.contracts.logs import ReadLogs
from zejzl_ray.contracts.machines import GetSnapshot
from zejzl_ray.contracts.services import NODE_AGENT
from zejzl_ray.selftest.trial import Bench, Trial, without_right

_ABSENT: Final = "an agent that does not exist"


def every_service(service: str) -> tuple[Trial, ...]:
    """Return the trials of what every service can do."""
    return (
        Trial(f"{service}.health", "read", lambda _: GetHealth()),
        Trial(f"{service}.list_audit_chains", "read", lambda _: ListChains()),
        Trial(f"{service}.read_audit", "one entry", lambda _: ReadAudit(limit=1)),
        without_right(f"{service}.stop", lambda _: StopService()),
    )


NODE_TRIALS: Final = (
    Trial(f"{NODE_AGENT}.snapshot", "read", lambda _: GetSnapshot()),
    Trial(f"{NODE_AGENT}.health", "read", lambda _: GetHealth()),
    Trial(f"{NODE_AGENT}.read_logs", "one line", lambda _: ReadLogs(limit=1)),
    without_right(f"{NODE_AGENT}.stop", lambda _: StopService()),
)


def _key(name: str) -> str:
    return f"{wire.SERVICE}.{name}"


def _absent(bench: Bench) -> wire.ControlAgent:
    return wire.ControlAgent(name=bench.name, host=bench.target)


_NOT_FOUND: Final = ("not_found", "agent_not_found", "mailbox_not_found")

HOST_TRIALS: Final = (
    Trial(_key("list_held_agents"), "read", lambda bench: wire.ListHeldAgents(host=bench.target)),
    Trial(_key("start_agent"), _ABSENT, _absent, refused=_NOT_FOUND),
    Trial(_key("stop_agent"), _ABSENT, _absent, refused=_NOT_FOUND),
    Trial(_key("restart_agent"), _ABSENT, _absent, refused=_NOT_FOUND),
    without_right(_key("open_mail"), lambda bench: wire.OpenMail(host=bench.name, boot=bench.name)),
    without_right(_key("deliver_mail"), lambda bench: wire.DeliverMail(connection=bench.name, frame=b"")),
    without_right(_key("hold_line"), lambda _: wire.HoldLine(timeout_s=0)),
    Trial(_key("health"), "read", lambda _: GetHealth()),
    without_right(_key("stop"), lambda _: StopService()),
)
