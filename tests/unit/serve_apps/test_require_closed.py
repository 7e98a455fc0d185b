import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from serve_apps.app import require_closed
from tests.unit.serve_apps.running import Ingress


async def leak(request: Request) -> Response:
    return PlainTextResponse("everything")


def test_the_routes_of_the_application_are_closed(ingress: Ingress) -> None:
    require_closed(ingress.app.router.routes)


def test_a_route_that_nobody_is_checked_at_fails_at_start(ingress: Ingress) -> None:
    routes = [*ingress.app.router.routes, Route("/leak", leak)]
    with pytest.raises(TypeError, match="routes without a scope: /leak"):
        require_closed(routes)
