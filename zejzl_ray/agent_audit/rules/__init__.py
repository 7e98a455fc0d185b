"""The rules, one a file."""

from collections.abc import Sequence
from typing import Final

from zejzl_ray.agent_audit.rule import Rule
from zejzl_ray.agent_audit.rules.blocking_in_coroutine import BlockingInCoroutine
from zejzl_ray.agent_audit.rules.error_swallowed import ErrorSwallowed
from zejzl_ray.agent_audit.rules.event_loops_mixed import EventLoopsMixed
from zejzl_ray.agent_audit.rules.health_check_missing import HealthCheckMissing
from zejzl_ray.agent_audit.rules.queue_unbounded import QueueUnbounded
from zejzl_ray.agent_audit.rules.receive_without_limit import ReceiveWithoutLimit
from zejzl_ray.agent_audit.rules.secret_in_code import SecretInCode
from zejzl_ray.agent_audit.rules.sqlite_shared import SqliteShared

ALL_RULES: Final[Sequence[Rule]] = (
    ReceiveWithoutLimit(),
    BlockingInCoroutine(),
    EventLoopsMixed(),
    SqliteShared(),
    SecretInCode(),
    HealthCheckMissing(),
    ErrorSwallowed(),
    QueueUnbounded(),
)
