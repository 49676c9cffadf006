"""The web application: its routes, and the middleware around them."""

from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Query
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common import __version__
from common.tasks import CLASSES, Task
from engine.serve import openapi, schemas
from engine.serve.answers import Wish, compute_answer
from engine.serve.catalogue import Catalogue, CatalogueEntry
from engine.serve.colours import hexadecimal
from engine.serve.documentation import add_documentation
from engine.serve.failures import add_error_handlers
from engine.serve.guards import Doorkeeper, SecurityHeaders, UnreadBodies, error_answer
from engine.serve.refusal import Refusal
from engine.serve.schemas import Output, Part
from engine.serve.settings import AccessSettings, LimitSettings
from engine.serve.upload import check_head, read_uploads
from engine.serve.workers import Place, Workers

PAGE = Path(__file__).parent / 'page'
SEGMENT = '/segment'
MAX_SCALE = 4
OF_DEPTH = (Output.LABELS, Output.OVERLAY, Output.JSON)  # the others need classes


class SegmentParameters(BaseModel):
    """The parameters of ``POST /segment``."""

    model_config = ConfigDict(extra='forbid')

    model: str | None = Field(None, description='name of a model (default: the first of /models)')
    output: Output = Field(Output.LABELS, description='what the answer is')
    scale: float | None = Field(
        None,
        gt=0,
        le=MAX_SCALE,
        allow_inf_nan=False,
        description='factor by which the network sees the picture resized; the result has the size '
        'of the picture',
    )
    include: list[Part] = Field(
        [], description='further parts of the answer with output=json; may be repeated'
    )
    task: str | None = Field(
        None,
        description='task of the model whose picture is wanted (default: the first one that has '
        'classes); output=json has all tasks',
    )


class Admission:
    """Take a place for every request that computes, from its head until its answer is read."""

    def __init__(self, app: ASGIApp, workers: Workers):
        self.app, self._workers = app, workers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope['path'] != SEGMENT or scope['method'] != 'POST':
            await self.app(scope, receive, send)
            return

        async def send_and_wait(message: Message) -> None:
            if message['type'] == 'http.response.body' and not message.get('more_body'):
                # The server waits with the next part until the client has read most of this one.
                await send({**message, 'more_body': True})
                message = {'type': 'http.response.body', 'body': b'', 'more_body': False}
            await send(message)

        try:
            with self._workers.place() as scope.setdefault('state', {})['place']:
                await self.app(scope, receive, send_and_wait)
        except Refusal as refusal:
            await error_answer(refusal)(scope, receive, send)


def create_app(
    catalogue: Catalogue, workers: Workers, limits: LimitSettings, access: AccessSettings, *,
    only_local: bool,
) -> ASGIApp:  # fmt: skip
    """Return the application of a server.

    Args:
        catalogue: The models.
        workers: Threads and places of the requests.
        limits: Limits of a request.
        access: Host names and web pages that may use the server.
        only_local: Whether the server listens to this machine alone.
    """
    app = FastAPI(
        title=openapi.TITLE,
        description=openapi.DESCRIPTION,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=openapi.EVERYWHERE,
        generate_unique_id_function=lambda route: route.name,  # the names in generated clients
    )
    add_error_handlers(app, tuple(SegmentParameters.model_fields))
    _add_state(app, catalogue, workers, limits)
    _add_segment(app, catalogue, workers, limits)
    add_documentation(app)
    app.mount('/page', StaticFiles(directory=PAGE, check_dir=False))
    app.add_api_route('/', lambda: FileResponse(PAGE / 'index.html'), include_in_schema=False)
    admitted: ASGIApp = Admission(app, workers)
    if access.allow_origins:
        admitted = CORSMiddleware(
            admitted,
            allow_origins=access.allow_origins,
            allow_methods=['GET', 'POST'],
            allow_private_network=True,
            expose_headers=['Retry-After'],
        )
    hosts = access.allow_hosts if only_local or access.allow_hosts else None
    return SecurityHeaders(UnreadBodies(Doorkeeper(admitted, hosts, access.allow_origins)))


def _add_state(app: FastAPI, catalogue: Catalogue, workers: Workers, limits: LimitSettings) -> None:
    @app.get('/models', summary='List the models and the limits')
    async def models() -> schemas.Models:
        return schemas.Models(
            default=catalogue.default,
            models=[_described(entry, catalogue) for entry in catalogue.entries.values()],
            limits=schemas.Limits(
                bytes=limits.max_bytes, pixels=limits.max_pixels, seconds=limits.time_limit
            ),
        )

    @app.get(
        '/health',
        summary='Tell whether the server accepts requests',
        response_model=schemas.Health,
        responses={503: {'model': schemas.Health, 'description': 'The server stops.'}},
    )
    async def health() -> JSONResponse:
        stopping = workers.stopping.is_set()
        state = schemas.Health(
            status='stopping' if stopping else 'ok',
            version=__version__,
            running=workers.running,
            waiting=workers.waiting,
            capacity=workers.capacity,
        )
        return JSONResponse(state.model_dump(), 503 if stopping else 200)


def _described(entry: CatalogueEntry, catalogue: Catalogue) -> schemas.Model:
    return schemas.Model(
        name=entry.name,
        network=entry.network,
        weights=entry.file,
        loaded=catalogue.is_loaded(entry.name),
        scalable=entry.scalable,
        resizes=entry.resizes,
        classes=_classes_of(entry.main_task, entry),
        first_input=None if entry.inputs == 1 else 'flow' if entry.flow[0] else 'image',
        tasks=[
            schemas.ModelTask(
                name=task.name,
                kind='classes' if task.kind == CLASSES else 'depth',
                classes=_classes_of(task, entry),
            )
            for task in entry.tasks
        ],
    )


def _classes_of(task: Task, entry: CatalogueEntry) -> list[schemas.ModelClass]:
    if task.kind != CLASSES:
        return []
    info = entry.info if entry.has_classes_alone else entry.info.of_task(task.name)
    return [
        schemas.ModelClass(index=index, name=name, colour=hexadecimal(colour))
        for index, (name, colour) in enumerate(zip(info.classes, info.palette))
    ]


def _add_segment(
    app: FastAPI, catalogue: Catalogue, workers: Workers, limits: LimitSettings
) -> None:
    @app.post(
        SEGMENT,
        summary='Segment a picture',
        response_class=Response,
        responses=openapi.SEGMENT,
        openapi_extra={'requestBody': openapi.REQUEST_BODY},
    )
    async def segment(
        request: Request, parameters: Annotated[SegmentParameters, Query()]
    ) -> Response:
        wish = _wish(request, parameters, catalogue)
        check_head(request, limits, wish.entry.inputs)
        place: Place = request.state.place
        try:
            uploads = await workers.unless_stopped(
                read_uploads(request, limits, wish.entry.name, wish.entry.inputs)
            )
        except ClientDisconnect:
            return Response()  # to nobody
        answer = await workers.run(
            place,
            lambda: compute_answer(uploads, wish, catalogue, limits.max_pixels),
            _disconnection(request),
        )
        return Response() if answer is None else Response(answer[1], media_type=answer[0])


async def _disconnection(request: Request) -> None:
    """Return when the client goes away; the body must have been read."""
    while (await request.receive())['type'] != 'http.disconnect':
        pass


def _wish(request: Request, parameters: SegmentParameters, catalogue: Catalogue) -> Wish:
    """Return what a request asks for, or refuse parameters that contradict each other."""
    for name in SegmentParameters.model_fields:
        if name != 'include' and len(request.query_params.getlist(name)) > 1:
            raise Refusal(422, f'{name}: given twice; give it once')
    if parameters.include and parameters.output is not Output.JSON:
        raise Refusal(422, 'include: belongs to output=json; add that or leave include out')
    entry = catalogue.entry(parameters.model)
    entry.scaled(parameters.scale)
    task, output = entry.task(parameters.task), parameters.output
    if parameters.task is not None and output is Output.JSON:
        raise Refusal(422, 'task: output=json has all tasks; leave task out')
    if task.kind != CLASSES and output not in OF_DEPTH:
        raise Refusal(
            422,
            f'output: {task.name} is depth, which has no {output.value}; ask for labels, metres '
            'times 256, or overlay',
        )
    return Wish(entry, output, parameters.scale, parameters.include, task)
