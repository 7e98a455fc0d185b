"""A client that writes all the time and notes what was acknowledged. Runs on a test host.

Run: ``python -m tests.hosts.writer FILE PREFIX``: registers PREFIX-1, PREFIX-2 and so on through the ingress of its
machine, the next one when the last was acknowledged, and notes each acknowledgement and each refusal as a JSON line.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from pydantic import SecretStr

from zejzl_ray.cluster.local_plan import TOKEN_FILE, ingress_url
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.orchestrator import RegisterAgent
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.errors import ZejzlError
from zejzl_ray.sdk.http_caller import HttpCaller
from zejzl_ray.settings import load_settings

KIND = "load"
_PERIOD_S = 0.05
_LIMIT_S = 2.0


async def write_for_ever(path: Path, prefix: str) -> None:
    """Write until the process is killed."""
    settings = load_settings()
    token = SecretStr((settings.data_path / TOKEN_FILE).read_text().strip())
    http = HttpCaller(ingress_url(settings), token, _LIMIT_S, ca_file=settings.trusted_authority())
    operation = BY_SERVICE["core_orchestrator"]["register_agent"]
    number = 1
    with path.open("a", buffering=1) as file:
        while True:
            request = RegisterAgent(name=f"{prefix}-{number}", agent_type=KIND, is_new_required=False)
            row: dict[str, object] = {"name": request.name}
            try:
                await http.call(operation, request, CallContext(deadline_at_s=time.time() + _LIMIT_S))
                number += 1
            except (ZejzlError, OSError) as error:
                row["error"] = type(error).__name__
            file.write(json.dumps(row | {"at_s": time.time()}) + "\n")
            await asyncio.sleep(_PERIOD_S)


if __name__ == "__main__":
    asyncio.run(write_for_ever(Path(sys.argv[1]), sys.argv[2]))
