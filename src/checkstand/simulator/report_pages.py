"""Serves report files at the addresses that the report calls hand out."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from checkstand.simulator import statements
from checkstand.simulator.world import World


def report_routes(world: World) -> list[Route]:
    """Return the one route; its address is a capability, so no key is asked for."""

    async def read(request: Request) -> Response:
        world.clock.run_due()
        found = statements.read_file(world, request.path_params["token"])
        if found is None:
            return PlainTextResponse("there is no such file, or no longer\n", status_code=404)
        name, content = found
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type="text/csv; charset=utf-8", headers=headers)

    return [Route(f"{statements.FILES_PATH}/{{token}}", read)]
