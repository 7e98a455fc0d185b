"""A checker of histories: did a cluster that things happened to keep what it promised to its clients?

Clients write down every call when it begins and when it ends (``Journal``); ``judge`` reads all of it and says what
cannot have happened in a sound system: registers that are not linearisable, acknowledged writes that are lost, names
that two had at once. Pure logic: no cluster, no clock.
"""

from zejzl_ray.testing.history.calls import Action, Call, Outcome
from zejzl_ray.testing.history.journal import Journal, read_journals
from zejzl_ray.testing.history.kept import lost_writes
from zejzl_ray.testing.history.owners import Hold, double_owners, holds_of
from zejzl_ray.testing.history.registers import Finding, check_register
from zejzl_ray.testing.history.verdict import Verdict, judge

__all__ = [
    "Action",
    "Call",
    "Finding",
    "Hold",
    "Journal",
    "Outcome",
    "Verdict",
    "check_register",
    "double_owners",
    "holds_of",
    "judge",
    "lost_writes",
    "read_journals",
]
