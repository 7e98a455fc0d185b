"""The process that owns the Ray node of one machine when several machines form the cluster.

It starts the node, hears what of it ends and how, and starts that again, with longer and longer waits and without
giving up. As the parent of everything that ``ray start`` leaves behind it knows when somebody asked Ray to stop, as
``ray down`` does on the head, the only machine that hears of it; then this process tells the workers, and leaves a mark
for those that it does not reach.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

import psutil
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from zejzl_ray.cluster.launcher_config import LauncherConfig, worker_stop_commands
from zejzl_ray.cluster.node_intent import change_role, give_up_intent, read_intent
from zejzl_ray.cluster.node_restarts import (
    CONTROL_STORE,
    RAYLET,
    ROLE,
    SERVICES,
    START,
    BackOff,
    Ending,
    HeadWatch,
    NodeRestarts,
    Step,
)
from zejzl_ray.cluster.node_start import NodeRole
from zejzl_ray.cluster.ray_node import SupervisedNode
from zejzl_ray.cluster.record import remove_record
from zejzl_ray.cluster.shutting_down import is_machine_shutting_down
from zejzl_ray.cluster.stop_mark import NoMark, StopMark
from zejzl_ray.cluster.supervised_plan import SupervisedPlan
from zejzl_ray.cluster.supervisor_record import SupervisedState, SupervisorRecord
from zejzl_ray.errors import ClusterError
from zejzl_ray.log import get_logger
from zejzl_ray.release.running import releases_directory

_SSH_LIMIT_S = 40.0
_STOP_ATTEMPTS_S = 120.0
_LOOK_S: Final = 1.0
_TOGETHER_S: Final = 0.2
_SHORT_GRACE_S: Final = 2.0  # what is left of a node that died has nothing to put in order
STOP_MARK: Final = "mark of a stop"
_GIVEN_UP: Final = "the head has given this machine up while it was out of reach"

log = get_logger("zejzl.supervisor")


class StopAsked(BaseException):
    """SIGTERM or SIGINT has arrived; not an ``Exception``, so that nobody takes it for a failure."""


class RoleChanged(Exception):
    """Another machine has become the head, or this one has: the node is to run something else.

    Args:
        plan: what.
    """

    def __init__(self, plan: SupervisedPlan) -> None:
        super().__init__(plan)
        self.plan = plan


class ClusterStopped(Exception):
    """A worker that waits for its head has found that the cluster was stopped on purpose."""


class Supervisor:
    """Keeps the Ray node of this machine running until somebody asks it to stop.

    Args:
        plan: what to start, and whom to tell when it has been stopped.
        data_dir: where record and intent are kept.
        node: its processes.
        is_patient: try on when the very first start fails; otherwise that ends it, for a person who waits for it.
        backoff: waits between restarts.
        sleep: waits so many seconds.
        now_s: monotonic seconds.
        next_plan: returns at once what this machine is to run instead, since the head is another one now; else None.
        mark: says to whom the head could not tell it that the cluster was stopped.
        doubt: says whom a head could not ask yet whether another machine has taken over; empty: nobody.
        doubt_limit_s: how long a start waits for them.
    """

    def __init__(
        self,
        plan: SupervisedPlan,
        data_dir: Path,
        node: SupervisedNode,
        *,
        is_patient: bool = False,
        backoff: BackOff | None = None,
        sleep: Callable[[float], None] = time.sleep,
        now_s: Callable[[], float] = time.monotonic,
        next_plan: Callable[[], SupervisedPlan | None] = lambda: None,
        mark: StopMark | None = None,
        doubt: Callable[[], str] = lambda: "",
        doubt_limit_s: float = 0.0,
    ) -> None:
        self._plan = plan
        self._next_plan = next_plan
        self._mark: StopMark = mark or NoMark()
        self._doubt = doubt
        self._doubt_limit_s = doubt_limit_s
        self._told_doubt = ""
        self._data_dir = data_dir
        self._node = node
        self._is_patient = is_patient
        self._sleep = sleep
        self._now_s = now_s
        self._restarts = NodeRestarts(keeps_state=plan.node.redis_address is not None, backoff=backoff)
        self._head = HeadWatch()
        self._later: Ending | None = None  # heard of, not dealt with yet
        self._record = SupervisorRecord(
            node=plan.node, pid=os.getpid(), started_at_s=psutil.Process().create_time(), state="starting"
        )

    def run(self) -> Ending:
        """Run the node and return when it was asked to stop and nothing of it is left.

        An ending of ``ROLE`` says that it has ended to begin as something else, which is written down as the intent.

        Raises:
            ClusterError: the first start failed, and it is not patient; nothing of the node is left.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _raise_stop_asked)
        try:
            ending = self._keep_running()
        except StopAsked:
            ending = Ending(is_asked=True, process="", status=0)
        except RoleChanged as change:
            return self._change_role(change.plan)
        except ClusterStopped:
            ending = Ending(is_asked=True, process=STOP_MARK, status=0, reason="the cluster was stopped")
        except ClusterError as error:
            self._node.clean_up()
            self._write("failed", str(error))
            raise
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        is_for_good = self._is_for_good(ending)
        log.info(
            "node stopped", machine=self._plan.node.machine, process=ending.process, is_for_good=is_for_good
        )
        is_head = self._plan.node.role is NodeRole.HEAD
        if is_for_good and is_head:
            self._mark.set()  # first, so that workers need not wait until everything here has ended
        self._node.clean_up()
        remove_record(self._data_dir)
        if is_for_good and self._plan.launcher is not None:
            self._stop_workers(self._plan.launcher)
        self._write("stopped", str(ending))
        return ending

    def _change_role(self, plan: SupervisedPlan) -> Ending:
        """End the node; nobody is told to stop, and nothing of it could still write: Redis is the new head's."""
        role = "the head" if plan.node.role is NodeRole.HEAD else f"a worker of {plan.node.head_address}"
        ending = Ending(is_asked=False, process=ROLE, status=0, reason=f"this machine is {role} from now on")
        log.warning(
            "role changes", machine=plan.node.machine, role=plan.node.role, head=plan.node.head_address
        )
        change_role(self._data_dir, plan)
        self._write("restarting", str(ending))
        self._node.clean_up(_SHORT_GRACE_S)
        remove_record(self._data_dir)
        return ending

    def _look_at_role(self) -> None:
        plan = self._next_plan()
        if plan is not None:
            raise RoleChanged(plan)

    def _wait_for_word(self) -> None:
        """Wait for those who may have taken over; when they do not answer in time, start without their word."""
        deadline_s = self._now_s() + self._doubt_limit_s
        while (doubt := self._doubt()) and self._now_s() < deadline_s:
            if self._record.state != "waiting":
                log.warning("node waits", machine=self._plan.node.machine, reason=doubt)
                self._write("waiting", doubt)
            self._look_at_role()
            self._sleep(_LOOK_S)
        if self._record.state == "waiting":
            self._write("starting")
        self._note_doubt()

    def _note_doubt(self) -> None:
        doubt = self._doubt()
        if doubt == self._told_doubt:
            return
        if doubt:
            log.warning("the head starts without having asked", machine=self._plan.node.machine, reason=doubt)
        if doubt or self._record.note == self._told_doubt:
            self._write(self._record.state, doubt)
        self._told_doubt = doubt

    def _keep_running(self) -> Ending:
        self._write("starting")
        self._wait_for_word()
        if self._plan.node.role is NodeRole.HEAD:
            self._mark.clear()  # here, since a head that is replaced sets it while it ends
        if self._is_patient:
            self._start_until_up()
        else:
            self._node.start()
            self._tell_up()
        while True:
            self._look_at_role()
            self._note_doubt()
            ending = self._next_ending() or self._look_at_head()
            if ending is None:
                continue
            decision = self._restarts.after(ending, self._now_s())
            if decision.step is Step.STOP:
                return ending
            self._say(ending, decision.wait_s)
            if decision.step is Step.RESTART_PART:
                self._sleep(decision.wait_s)
                self._node.start_part(ending.process)
                self._write("up", str(ending))
            else:
                self._write("restarting", str(ending))
                self._later = None
                self._node.clean_up(_SHORT_GRACE_S)
                self._sleep(decision.wait_s)
                self._start_until_up()

    def _next_ending(self) -> Ending | None:
        later, self._later = self._later, None
        ending = later or self._node.next_ending(_LOOK_S)
        if later is not None or ending is None or ending.process != CONTROL_STORE:
            return ending
        also = self._node.next_ending(_TOGETHER_S)
        if also is not None and also.process == RAYLET:
            return also  # both were killed at once: nothing would be left to connect to a new control store
        self._later = also
        return ending

    def _look_at_head(self) -> Ending | None:
        """Find out whether the cluster has given this machine up, which its processes do not know yet."""
        if self._plan.node.role is NodeRole.HEAD:
            return None
        is_reachable = self._node.is_head_reachable()
        if not is_reachable:
            self._leave_if_stopped()
        if not self._head.saw(self._now_s(), is_reachable=is_reachable):
            return None
        is_member = self._node.is_member()
        if is_member is None:
            return None
        self._head.answered()
        return None if is_member else Ending(is_asked=False, process=RAYLET, status=0, reason=_GIVEN_UP)

    def _start_until_up(self) -> None:
        while True:
            self._look_at_role()
            self._wait_for_head()
            try:
                self._node.start()
            except ClusterError as error:
                ending = Ending(is_asked=False, process=START, status=1, reason=str(error))
                wait_s = self._restarts.after(ending, self._now_s()).wait_s
                self._say(ending, wait_s)
                self._write("restarting", str(ending))
                self._node.clean_up(_SHORT_GRACE_S)
                self._sleep(wait_s)
            else:
                self._tell_up()
                return

    def _wait_for_head(self) -> None:
        is_told = False
        while not self._node.is_head_reachable():
            if not is_told:
                note = f"the head at {self._plan.node.head_address} does not answer"
                log.warning("node waits", machine=self._plan.node.machine, reason=note)
                self._write("waiting", note)
                is_told = True
            self._look_at_role()
            self._leave_if_stopped()
            self._sleep(_LOOK_S)

    def _leave_if_stopped(self) -> None:
        if self._mark.is_set():
            raise ClusterStopped

    def _tell_up(self) -> None:
        self._write("up", self._record.note)
        log.info("node up", machine=self._plan.node.machine, restarts=self._record.restarts)
        self._node.start_part(SERVICES)

    def _say(self, ending: Ending, wait_s: float) -> None:
        self._record = self._record.model_copy(update={"restarts": self._record.restarts + 1})
        log.warning(
            "a part of the node has ended",
            machine=self._plan.node.machine,
            process=ending.process,
            status=ending.status,
            reason=ending.reason,
            started_again_in_s=wait_s,
        )

    def _is_for_good(self, ending: Ending) -> bool:
        """Whether the stop is meant to last: asked by `zejzl node stop` or `ray stop`, not by a machine going down."""
        if ending.process and not is_machine_shutting_down():
            give_up_intent(self._data_dir)
        intent = read_intent(self._data_dir)
        return intent is None or not intent.is_wanted

    def _stop_workers(self, launcher: LauncherConfig) -> None:
        # The same path on all machines; a worker that has changed its release has another one.
        current = releases_directory(self._data_dir) / "current" / "venv" / "bin" / "python"
        own, other = shlex.quote(sys.executable), shlex.quote(str(current))
        command = f"p={own}; [ -x $p ] || p={other}; $p -m zejzl_ray.cli.main node stop"
        for argv in worker_stop_commands(launcher, command):
            try:
                stop_worker(argv)
            except (subprocess.SubprocessError, OSError) as error:
                log.error("worker could not be stopped", address=argv[-2], reason=type(error).__name__)

    def _write(self, state: SupervisedState, note: str = "") -> None:
        self._record = self._record.model_copy(update={"state": state, "note": note})
        self._record.write(self._data_dir)


def stop_worker(
    argv: Sequence[str],
    run: Callable[..., object] = subprocess.run,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Run one stop command, again for two minutes while it fails: the worker may be out of reach.

    Raises:
        SubprocessError, OSError: of the last attempt.
    """
    for attempt in Retrying(
        retry=retry_if_exception_type((subprocess.SubprocessError, OSError)),
        wait=wait_exponential(multiplier=1.0, max=10.0),
        stop=stop_after_delay(_STOP_ATTEMPTS_S),
        sleep=sleep,
        reraise=True,
    ):
        with attempt:
            run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SSH_LIMIT_S, check=True)


def _raise_stop_asked(number: int, frame: FrameType | None) -> None:
    raise StopAsked
