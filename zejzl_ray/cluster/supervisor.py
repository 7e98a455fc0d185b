"""The process that owns the Ray node of one machine when several machines form the cluster.

It starts the node, hears what of it ends and how, and starts that again, with longer and longer waits and without
giving up. As the parent of everything that ``ray start`` leaves behind it knows when somebody asked Ray to stop, as
``ray down`` does on the head, the only machine that hears of it; then this process tells the workers, and leaves a mark
for those that it does not reach.
"""

import signal
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

from tenacity import Retrying, retry_if_exception_type, wait_exponential

from zejzl_ray.cluster.node_intent import change_role, give_up_intent, read_wanted
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
from zejzl_ray.cluster.supervisor_record import SupervisorRecord
from zejzl_ray.cluster.worker_stop import stop_workers
from zejzl_ray.errors import ClusterError
from zejzl_ray.log import get_logger

_LONGEST_WAIT_S: Final = 10.0
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
        self._later: deque[Ending] = deque()  # heard of, not dealt with yet
        self._is_mark_gone = plan.node.role is not NodeRole.HEAD or mark is None
        self._record = SupervisorRecord.of_this_process(plan.node)

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
        self._write("stopping", str(ending))
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
            stop_workers(self._plan.launcher, self._data_dir, self._plan.settings)
        self._write("stopped", str(ending))
        return ending

    def _change_role(self, plan: SupervisedPlan) -> Ending:
        """End the node; nobody is told to stop, and nothing of it could still write: Redis is the new head's."""
        role = "the head" if plan.node.role is NodeRole.HEAD else f"a worker of {plan.node.head_address}"
        ending = Ending(is_asked=False, process=ROLE, status=0, reason=f"this machine is {role} from now on")
        log.warning(
            "role changes", machine=plan.node.machine, role=plan.node.role, head=plan.node.head_address
        )
        self._write("restarting", str(ending))
        self._node.clean_up(_SHORT_GRACE_S)
        take_role(self._data_dir, plan, self._sleep)
        remove_record(self._data_dir)
        return ending

    def _look_at_role(self) -> None:
        try:
            plan = self._next_plan()
        except ClusterError as error:
            log.warning("role unknown", machine=self._plan.node.machine, reason=error.message)
            return
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
        self._take_mark_away()  # here, since a head that is replaced sets it while it ends
        if self._is_patient:
            self._start_until_up()
        else:
            self._node.start()
            self._tell_up()
        while True:
            self._look_at_role()
            self._note_doubt()
            self._take_mark_away()
            ending = self._next_ending() or self._look_at_head()
            if ending is None:
                continue
            decision = self._restarts.after(ending, self._now_s())
            if decision.step is Step.STOP:
                return ending
            self._say(ending, decision.wait_s)
            if decision.step is Step.RESTART_PART:
                self._sleep(decision.wait_s)
                self._start_part(ending.process)
                self._write("up", str(ending))
            else:
                self._write("restarting", str(ending))
                self._later.clear()
                self._node.clean_up(_SHORT_GRACE_S)
                self._sleep(decision.wait_s)
                self._start_until_up()

    def _next_ending(self) -> Ending | None:
        if self._later:
            return self._later.popleft()
        ending = self._node.next_ending(_LOOK_S)
        if ending is None or ending.process != CONTROL_STORE:
            return ending
        also = self._node.next_ending(_TOGETHER_S)
        if also is not None and also.process == RAYLET:
            return also  # both were killed at once: nothing would be left to connect to a new control store
        if also is not None:
            self._later.append(also)
        return ending

    def _start_part(self, process: str) -> None:
        """Start a part; one that cannot be started counts as one that has ended."""
        try:
            self._node.start_part(process)
        except ClusterError as error:
            self._later.append(Ending(is_asked=False, process=process, status=1, reason=str(error)))

    def _take_mark_away(self) -> None:
        """Take the mark of an earlier stop away, again until it is gone: workers would believe it."""
        self._is_mark_gone = self._is_mark_gone or self._mark.clear()

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
        self._start_part(SERVICES)

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
        is_asked_here = bool(ending.process) and not is_machine_shutting_down()
        try:
            if is_asked_here:
                give_up_intent(self._data_dir)
            return read_wanted(self._data_dir) is None
        except ClusterError as error:
            log.error("the stop is not written down: the next boot starts the node again", reason=str(error))
            return is_asked_here

    def _write(self, state: str, note: str = "") -> None:
        self._record = self._record.model_copy(update={"state": state, "note": note})
        announce(self._record, self._data_dir)


def announce(record: SupervisorRecord, data_dir: Path) -> None:
    """Write down how it stands, for those who ask; a full disk is no reason to end a node that runs."""
    try:
        record.write(data_dir)
    except ClusterError as error:
        log.error("the state of the node is not written down", state=record.state, reason=str(error))


def take_role(data_dir: Path, plan: SupervisedPlan, sleep: Callable[[float], None] = time.sleep) -> None:
    """Write down what this machine runs from now on, again until there is room for it: nothing of the node runs."""
    for attempt in Retrying(
        retry=retry_if_exception_type(ClusterError),
        wait=wait_exponential(multiplier=1.0, max=_LONGEST_WAIT_S),
        before_sleep=lambda state: log.error(
            "the role is not written down", reason=str(state.outcome and state.outcome.exception())
        ),
        sleep=sleep,
    ):
        with attempt:
            change_role(data_dir, plan)


def _raise_stop_asked(number: int, frame: FrameType | None) -> None:
    raise StopAsked
