"""Lines of the agents under test are made, but neither rendered nor printed: tracebacks in colour take 0.1 s each."""

import pytest
import structlog


@pytest.fixture(autouse=True)
def quiet_logs(own_logs: None) -> None:
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _as_it_is],
        logger_factory=structlog.ReturnLoggerFactory(),
    )


def _as_it_is(logger: object, method: str, event: structlog.typing.EventDict) -> str:
    return repr(event)
