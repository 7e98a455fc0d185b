"""Structured logs: one JSON object a line, with the request that caused it, and no secret in it."""

from zejzl_ray.log.background import WriterFigures
from zejzl_ray.log.context import bind_agent, bind_call
from zejzl_ray.log.execution import log_ai_interaction, log_execution, trace_request
from zejzl_ray.log.files import LogFiles, files_of
from zejzl_ray.log.performance import PerformanceHistory, log_performance
from zejzl_ray.log.redaction import hide_secrets, is_secret_name, redact
from zejzl_ray.log.session import SessionLog
from zejzl_ray.log.setup import configure_logging, flush_logging, get_logger, logging_figures, stop_logging
from zejzl_ray.log.snapshot import DebugSnapshots, debug_snapshot
from zejzl_ray.log.tracking import RequestTracker, TokenCounts, TrackedRequest

__all__ = [
    # setting up
    "LogFiles", "WriterFigures", "configure_logging", "files_of", "flush_logging", "logging_figures", "stop_logging",
    # writing
    "bind_agent", "bind_call", "get_logger", "log_ai_interaction", "log_execution", "log_performance", "trace_request",
    # keeping
    "DebugSnapshots", "PerformanceHistory", "RequestTracker", "SessionLog", "TokenCounts", "TrackedRequest",
    "debug_snapshot",
    # secrets
    "hide_secrets", "is_secret_name", "redact",
]  # fmt: skip
