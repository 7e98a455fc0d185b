"""Finding the cluster: which way to it, and with which token."""

import asyncio
import contextlib
import sys
from pathlib import Path

from pydantic import SecretStr

from zejzl_ray.auth.authorised_caller import AuthorisedCaller
from zejzl_ray.auth.token_source import token_kind
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.security_gateway import SecurityGatewayClient
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.tokens import GetKeys
from zejzl_ray.errors import InvalidInput, ServiceUnavailable, Unauthenticated, ZejzlError
from zejzl_ray.sdk.async_client import DEFAULT_TIMEOUT_S, AsyncClient
from zejzl_ray.sdk.client import Client
from zejzl_ray.sdk.http_caller import HttpCaller
from zejzl_ray.sdk.login_session import SESSION_FILE, LoginSession
from zejzl_ray.settings import Settings, load_settings

# far above any token; a larger file is something else
_MAX_TOKEN_BYTES = 64 * 1024
_PROBE_TIMEOUT_S = 5.0


def connect(
    address: str | None = None,
    *,
    token: str | SecretStr | None = None,
    token_file: str | Path | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> Client:
    """Return a client for blocking code: scripts, threads, Jupyter.

    Nothing is sent yet; the first call says whether the cluster answers.

    Args:
        address: ``https://host:port`` (trusting ``ZEJZL_CA_FILE``) or ``http://host:port`` from outside the
            cluster, ``ray`` over actor handles from a process that Ray runs or that has called ``ray.init``.
            Null takes ``ZEJZL_ADDRESS``, else actor handles where this process is connected to Ray, else HTTP
            on this machine at ``ZEJZL_HTTP_PORT``.
        token: proof of who is calling; read from ``token_file`` when not given.
        token_file: file with the token or credential; null takes ``ZEJZL_TOKEN_FILE``, else the login of
            ``zejzl login`` if there is one (over HTTP), else ``token`` in the data directory.
        timeout_s: limit of a call that is given none, seconds.

    Raises:
        InvalidInput: the address cannot be used.
        Unauthenticated: there is no token; the message names the file.
        ServiceUnavailable: actor handles are asked for in a process that is not connected to Ray.
        SettingsInvalid: an environment variable has a wrong value.
    """
    return Client(connect_async(address, token=token, token_file=token_file, timeout_s=timeout_s))


def connect_async(
    address: str | None = None,
    *,
    token: str | SecretStr | None = None,
    token_file: str | Path | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> AsyncClient:
    """Return a client for code in a running event loop; everything else as ``connect``."""
    if not timeout_s > 0:
        raise InvalidInput(f"timeout_s is {timeout_s}.", "Give seconds above 0.")
    settings = load_settings()
    address = address or settings.address or ("ray" if _is_in_ray() else _own_ingress(settings))
    given = SecretStr(token) if isinstance(token, str) else token
    path = Path(token_file) if token_file is not None else settings.token_file
    if address == "ray" or address.startswith("ray://"):
        _require_ray(address)
        proof = given or _read_token(path, settings, is_required=path is not None)
        return _over_actors(proof, settings, timeout_s)
    if given is None and path is None and (settings.data_path / SESSION_FILE).exists():
        return _as_logged_in(address, settings, timeout_s)
    proof = given or _read_token(path, settings, is_required=True)
    http = HttpCaller(address, proof, timeout_s, ca_file=settings.trusted_authority())
    return AsyncClient(http, token=proof, timeout_s=timeout_s, is_auth_off=lambda: bool(http.is_auth_off))


def connect_as_logged_in(settings: Settings, timeout_s: float = DEFAULT_TIMEOUT_S) -> AsyncClient:
    """Return a client in the name of whoever has logged in on this machine, whatever other tokens there are."""
    return _as_logged_in(_http_address(settings), settings, timeout_s)


def anonymous_caller(settings: Settings, timeout_s: float = DEFAULT_TIMEOUT_S) -> Caller:
    """Return a way to the ingress without a token, for what anybody may call: to log in, to ask for enrolment."""
    return HttpCaller(_http_address(settings), None, timeout_s, ca_file=settings.trusted_authority())


def is_auth_off(address: str, settings: Settings) -> bool | None:
    """Ask an ingress whether it lets calls without a token pass; None when it does not answer.

    For blocking code: must not be called in a running event loop.
    """

    async def ask() -> bool | None:
        http = HttpCaller(address, None, _PROBE_TIMEOUT_S, ca_file=settings.trusted_authority())
        with contextlib.suppress(ZejzlError):  # a refusal tells it too
            await SecurityGatewayClient(http).get_keys(GetKeys())
        await http.close()
        return http.is_auth_off

    return asyncio.run(ask())


def _own_ingress(settings: Settings) -> str:
    scheme = "https" if settings.is_loopback_encrypted else "http"
    return f"{scheme}://127.0.0.1:{settings.http_port}"


def _http_address(settings: Settings) -> str:
    """Return where the ingress is; over actor handles nobody can log in, so that address means this machine."""
    is_http = settings.address not in {"", "ray"} and not settings.address.startswith("ray://")
    return settings.address if is_http else _own_ingress(settings)


def _as_logged_in(address: str, settings: Settings, timeout_s: float) -> AsyncClient:
    http = HttpCaller(address, None, timeout_s, ca_file=settings.trusted_authority())
    session = LoginSession(settings.data_path / SESSION_FILE, http, SystemClock())
    return AsyncClient(
        AuthorisedCaller(http, session), timeout_s=timeout_s, is_auth_off=lambda: bool(http.is_auth_off)
    )


def _is_in_ray() -> bool:
    """Whether this process is connected to Ray; never imports it."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _require_ray(address: str) -> None:
    if address not in {"ray", "ray://"}:
        raise InvalidInput(
            f"The address {address!r} cannot be used.",
            "Give `ray` in a process that is connected to Ray, or the ingress's http://host:port.",
        )
    if not _is_in_ray():
        raise ServiceUnavailable(
            "This process is not connected to Ray.",
            "Call ray.init(address=...) first, or give the ingress's http://host:port.",
        )


def _over_actors(proof: SecretStr | None, settings: Settings, timeout_s: float) -> AsyncClient:
    # the only parts that import ray
    from zejzl_ray.cluster.actor_caller import ActorCaller  # noqa: PLC0415
    from zejzl_ray.cluster.gateway_access import GatewayAccess  # noqa: PLC0415

    if proof is None or token_kind(proof.get_secret_value()) == "access":
        return AsyncClient(ActorCaller(settings.namespace), token=proof, timeout_s=timeout_s)
    # Services take access tokens only; over HTTP the ingress exchanges a credential, here the client does.
    return AsyncClient(GatewayAccess(settings.namespace, proof, SystemClock()).caller, timeout_s=timeout_s)


def _read_token(path: Path | None, settings: Settings, *, is_required: bool) -> SecretStr | None:
    path = (path or settings.data_path / "token").expanduser()
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_TOKEN_BYTES + 1)
    except FileNotFoundError:
        if not is_required:
            return None
        raise Unauthenticated(
            f"There is no token file {path}.",
            "`zejzl up` writes it; on another machine give token or token_file, or set ZEJZL_TOKEN_FILE.",
        ) from None
    except OSError as error:
        raise Unauthenticated(
            f"The token file {path} cannot be read: {error.strerror}.", "Only its owner may read it."
        ) from None
    text = content.decode("ascii", errors="replace").strip()
    if not text or len(content) > _MAX_TOKEN_BYTES:
        raise Unauthenticated(f"The file {path} holds no token.", "`zejzl up` writes it anew.")
    return SecretStr(text)
