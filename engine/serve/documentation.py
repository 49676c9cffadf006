"""The documentation of the interface: Swagger UI, from files of this machine alone."""

from pathlib import Path

import fastapi_offline
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

OWN = Path(__file__).parent / 'docs'
SWAGGER = Path(fastapi_offline.__file__).parent / 'static'
FILES = {
    'start.js': OWN,
    'swagger-ui-bundle.js': SWAGGER,
    'swagger-ui.css': SWAGGER,
    'favicon.png': SWAGGER,
}


def add_documentation(app: Starlette) -> None:
    """Serve ``/docs``, which shows ``/openapi.json``."""

    def page(_: Request) -> Response:
        return FileResponse(OWN / 'index.html')

    def file(folder: Path, name: str) -> Route:
        path = folder / name
        return Route(f'/docs/{name}', lambda _: FileResponse(path), include_in_schema=False)

    app.router.routes.append(Route('/docs', page, include_in_schema=False))
    app.router.routes.extend(file(folder, name) for name, folder in FILES.items())
