"""The names under which older code knows the errors, and how it wrote them into its log.

Each name is a class of the project's own tree, so what is raised here is caught by its old name. Errors raised the
old way, with a mapping of details as their second argument, keep it in ``details``.
"""

from collections.abc import Mapping
from typing import Any, Final

from zejzl_ray import errors
from zejzl_ray.errors import ZejzlError
from zejzl_ray.log import get_logger, hide_secrets, redact

GrokputerError = errors.ZejzlError
APIError = errors.ProviderFailed
MemoryError_ = errors.AgentMemoryFailed
AgentError = errors.AgentFailed
MessageBusError = errors.BusError
VisionError = errors.VisionFailed
ConfigurationError = errors.SettingsInvalid
ValidationError = errors.InvalidInput
TimeoutError_ = errors.TimedOut
ResourceError = errors.NoCapacity

BudgetExhaustedError = errors.BudgetExhausted
PermissionDeniedError = errors.Forbidden
SwarmCoordinationError = errors.SwarmCoordinationFailed
DeadlockError = errors.DeadlockDetected
ToonDecodeError = errors.ToonDecodeFailed

# Old import lines say these; whoever takes them shadows the built-in names in his own module.
MemoryError = MemoryError_
TimeoutError = TimeoutError_

_LEVELS: Final = frozenset({"debug", "info", "warning", "error", "critical"})
_log = get_logger("errors")


def without_secrets(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of details in which values whose name or look says secret are hidden."""
    return dict(hide_secrets(None, "", dict(details)))


def text_of(error: BaseException) -> str:
    """Return the text of an error in the old form: ``message | Details: {...}``, without secrets."""
    if not isinstance(error, ZejzlError):
        return redact(str(error))
    text = redact(error.message)
    return f"{text} | Details: {without_secrets(error.details)}" if error.details else text


def handle_error(error: BaseException, context: str = "", log_level: str = "error") -> None:
    """Write an error into the log as ``[context] Class: text``; the error itself is left to the caller.

    Args:
        error: any.
        context: where it happened.
        log_level: debug, info, warning, error or critical; any other word counts as error. Details of the project's
            errors are logged apart, at debug.
    """
    level = log_level.lower() if log_level.lower() in _LEVELS else "error"
    where = f"[{context}] " if context else ""
    text = error.message if isinstance(error, ZejzlError) else str(error)
    getattr(_log, level)(redact(f"{where}{type(error).__name__}: {text}"))
    if isinstance(error, ZejzlError) and error.details:
        _log.debug("details of the error", error=type(error).__name__, details=without_secrets(error.details))
