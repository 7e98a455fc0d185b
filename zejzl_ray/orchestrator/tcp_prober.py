"""Probing by a TCP connection: the one thing that every old agent answers."""

import asyncio

from zejzl_ray.orchestrator.ports import ProbeOutcome


class TcpProber:
    """A ``Prober`` that connects and hangs up."""

    async def probe(self, host: str, port: int, timeout_s: float) -> ProbeOutcome:
        """Return whether something accepts a connection within ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                _, writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            return ProbeOutcome(False, f"{host}:{port} did not answer within {timeout_s:g} s")
        except (OSError, UnicodeError) as error:
            detail = getattr(error, "strerror", None) or type(error).__name__
            return ProbeOutcome(False, f"{host}:{port}: {detail}")
        writer.transport.abort()  # nothing was sent, so there is nothing to wait for
        return ProbeOutcome(True)
