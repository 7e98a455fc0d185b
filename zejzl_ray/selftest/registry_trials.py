"""How each operation of core_orchestrator is tried: with agents of its own, which go again."""

from typing import Final

from zejzl_ray.contracts import orchestrator as wire
from zejzl_ray.contracts.machines import MachineSnapshot, ReportMachine
from zejzl_ray.ids import new_id
from zejzl_ray.selftest.trial import Bench, Trial, without_right

_LEASE_S: Final = 60.0  # what stays behind when the self-test is killed goes by itself


def _key(name: str) -> str:
    return f"{wire.SERVICE}.{name}"


def _agent(name: str) -> wire.RegisterAgent:
    return wire.RegisterAgent(name=name, kind=wire.AgentKind.PROCESS, lease_s=_LEASE_S)


def second(bench: Bench) -> str:
    """Return the name of the agent that is registered in bulk."""
    return f"{bench.name}-bulk"


def _report(bench: Bench) -> ReportMachine:
    snapshot = MachineSnapshot(
        machine=bench.name,
        cpu_count=1,
        cpu_busy_ratio=0,
        ram_total_mib=1,
        ram_used_mib=0,
        disk_total_mib=1,
        disk_used_mib=0,
        net_sent_bytes=0,
        net_received_bytes=0,
        taken_at_s=bench.now_s,
    )
    return ReportMachine(request_id=new_id(), snapshot=snapshot)


def _keep_machine(bench: Bench, reply: wire.MachineList) -> None:
    if reply.machines:
        bench.kept["machine"] = reply.machines[0].name


TRIALS: Final = (
    Trial(
        _key("register_agent"),
        "an agent of its own",
        lambda bench: _agent(bench.name),
        keep=lambda bench, reply: bench.kept.update(revision=reply.revision),
    ),
    Trial(
        _key("register_agents"),
        "another one",
        lambda bench: wire.RegisterAgents(agents=(_agent(second(bench)),)),
    ),
    Trial(_key("list_agents"), "one row", lambda _: wire.ListAgents(limit=1)),
    Trial(_key("get_agent"), "its own", lambda bench: wire.GetAgent(name=bench.name)),
    Trial(
        _key("update_agent"),
        "its own",
        lambda bench: wire.UpdateAgent(name=bench.name, metadata={"selftest": True}),
    ),
    Trial(_key("heartbeat"), "of its own", lambda bench: wire.Heartbeat(name=bench.name)),
    Trial(_key("explain_agent"), "its own", lambda bench: wire.ExplainAgent(name=bench.name)),
    Trial(
        _key("watch_agents"),
        "from its registration on, without waiting",
        lambda bench: wire.WatchAgents(from_revision=bench.need("revision") - 1, timeout_s=0, limit=1),
    ),
    Trial(_key("get_history"), "of its own", lambda bench: wire.GetHistory(name=bench.name)),
    Trial(_key("get_snapshot"), "read", lambda _: wire.GetSnapshot()),
    Trial(_key("get_registry_status"), "read", lambda _: wire.GetRegistryStatus()),
    without_right(_key("accept_losses"), lambda _: wire.AcceptLosses()),
    without_right(
        _key("declare_fleet"),
        lambda bench: wire.DeclareFleet(source="self-test", agents=(_agent(bench.name),)),
    ),
    without_right(_key("report_machine"), _report),
    Trial(_key("list_machines"), "read", lambda _: wire.ListMachines(), keep=_keep_machine),
    Trial(_key("get_machine"), "the first", lambda bench: wire.GetMachine(name=bench.need("machine"))),
    Trial(
        _key("deregister_agent"),
        "its own",
        lambda bench: wire.DeregisterAgent(name=bench.name, reason="self-test"),
    ),
)
