"""What this machine's node is meant to do: written down, so that it outlives the processes and a power cut."""

import uuid
from pathlib import Path
from typing import Final

from pydantic import Field

from zejzl_ray.cluster.local_record import read_local_record
from zejzl_ray.cluster.node_start import NodeRole, NodeStart
from zejzl_ray.cluster.private_file import write_private_file
from zejzl_ray.cluster.supervised_plan import SupervisedPlan
from zejzl_ray.contracts.base import Contract
from zejzl_ray.errors import ClusterError
from zejzl_ray.settings import Settings

FILE_NAME: Final = "node_intent.json"


class NodeIntent(Contract):
    """What was started here last, and whether it shall run.

    ``ray up`` and ``zejzl node start`` want a node; ``ray down`` and ``zejzl node stop`` do not any more. A crash, a
    lost machine or a reboot changes nothing here.
    """

    plan: SupervisedPlan
    is_wanted: bool = Field(description="false: stopped on purpose")
    head_plan: SupervisedPlan | None = Field(
        default=None,
        description="a head that is a worker now, since another machine has taken over: what it ran",
    )

    def write(self, data_dir: Path) -> None:
        """Replace what is written down, atomically and durably: a power cut is one of the things that it is for.

        Raises:
            ClusterError: the directory cannot be written.
        """
        write_private_file(data_dir / FILE_NAME, self.model_dump_json(indent=2))


def read_intent(data_dir: Path) -> NodeIntent | None:
    """Return what was started here last; None when that is nothing.

    Raises:
        ClusterError: the file cannot be read or understood.
    """
    return read_local_record(data_dir / FILE_NAME, NodeIntent)


def read_wanted(data_dir: Path) -> NodeIntent | None:
    """Return what shall run here; None when that is nothing.

    Raises:
        ClusterError: as ``read_intent``.
    """
    intent = read_intent(data_dir)
    return intent if intent is not None and intent.is_wanted else None


def give_up_intent(data_dir: Path) -> None:
    """Write down that the node is stopped on purpose; safe to repeat.

    Raises:
        ClusterError: the directory cannot be written.
    """
    intent = read_wanted(data_dir)
    if intent is not None:
        intent.model_copy(update={"is_wanted": False}).write(data_dir)


def is_stand_in(data_dir: Path) -> bool:
    """Return whether this machine is the head by a takeover, and was not started as it.

    Raises:
        ClusterError: the file cannot be read.
    """
    intent = read_intent(data_dir)
    return intent is not None and bool(intent.plan.overrides)


def change_role(data_dir: Path, plan: SupervisedPlan) -> None:
    """Write down that this machine runs another plan from now on, if any: as the head, or as a worker of another one.

    Raises:
        ClusterError: the directory cannot be read or written.
    """
    placed = plan.model_copy(update={"node": with_namespace(plan.node, None)})
    before = read_intent(data_dir)
    is_wanted = before is None or before.is_wanted  # somebody may have stopped it on purpose meanwhile
    intended(placed, before).model_copy(update={"is_wanted": is_wanted}).write(data_dir)


def intended(plan: SupervisedPlan, before: NodeIntent | None) -> NodeIntent:
    """Return the intent to run a plan; a worker keeps what it ran as the head, for a handback.

    Args:
        plan: what shall run.
        before: what was intended until now.
    """
    if before is None or plan.node.role is NodeRole.HEAD:
        return NodeIntent(plan=plan, is_wanted=True)
    was_head = before.plan.node.role is NodeRole.HEAD and not before.plan.overrides
    return NodeIntent(plan=plan, is_wanted=True, head_plan=before.plan if was_head else before.head_plan)


def with_store_of_head(settings: Settings) -> Settings:
    """Return the settings with the store of the head that runs here, unless another one is named now.

    Raises:
        ClusterError: this machine is a worker, so that the store is elsewhere; or the file cannot be read.
    """
    intent = read_intent(settings.data_path)
    if settings.store_url != "sqlite" or intent is None or not intent.is_wanted:
        return settings
    if intent.plan.node.role is not NodeRole.HEAD:
        head = intent.plan.node.head_address
        raise ClusterError(
            f"This machine is a worker, and the state is at the head, {head.rpartition(':')[0]}.",
            "Run it there, or set ZEJZL_STORE_URL.",
        )
    url = intent.plan.variables().get("ZEJZL_STORE_URL", settings.store_url)
    return settings.model_copy(update={"store_url": url})


def with_namespace(node: NodeStart, intent: NodeIntent | None) -> NodeStart:
    """Return the node with the place of the control store's state in Redis.

    An intended start begins with nothing: actors of a cluster that was stopped are not revived. A start that follows
    a crash, a power cut or a reboot takes up the state that was left.
    """
    if node.redis_address is None:
        return node
    if intent is not None and intent.is_wanted and intent.plan.node.fingerprint == node.fingerprint:
        return node.model_copy(update={"redis_namespace": intent.plan.node.redis_namespace})
    return node.model_copy(update={"redis_namespace": f"{node.cluster_id}-{uuid.uuid4().hex[:8]}"})
