"""Turn every exception into the answer of a request: a status and one line of JSON."""

import difflib

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from common.errors import InputError, UserError
from common.log import LOG
from common.memory import is_memory_error
from common.terminal.short_repr import short_repr, short_text
from engine.serve.guards import error_answer
from engine.serve.refusal import Refusal

SEE_LOG = 'the server has a fault; its log says which'


def add_error_handlers(app: FastAPI, parameters: tuple[str, ...]) -> None:
    """Answer failed requests of an application.

    Args:
        app: The application.
        parameters: Names of the parameters of ``POST /segment``.
    """

    async def of_user_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, UserError)
        return error_answer(refusal_for(error))

    async def of_parameters(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return error_answer(Refusal(422, _wrong_parameter(error, parameters)))

    async def of_route(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = error.headers
        if error.status_code == 405 and not headers:  # of a file of the page
            headers = {'Allow': 'GET, HEAD'}
        return error_answer(Refusal(error.status_code, _no_route(request, error), headers))

    async def of_fault(_: Request, error: Exception) -> Response:
        return error_answer(Refusal(500, SEE_LOG))  # uvicorn logs the error

    app.add_exception_handler(UserError, of_user_error)
    app.add_exception_handler(RequestValidationError, of_parameters)
    app.add_exception_handler(HTTPException, of_route)
    app.add_exception_handler(Exception, of_fault)


def refusal_for(error: UserError) -> Refusal:
    """Return the refusal that tells a client of an error."""
    if isinstance(error, Refusal):
        return error
    if _is_of_memory(error):
        return Refusal(507, str(error))
    if isinstance(error, InputError):
        return Refusal(415, str(error))
    LOG.error('error: %s', error)
    return Refusal(500, SEE_LOG)


def _is_of_memory(error: BaseException | None) -> bool:
    """Return whether memory that could not be allocated is the cause of an error."""
    while error is not None:
        if is_memory_error(error):
            return True
        error = error.__cause__
    return False


def _wrong_parameter(error: RequestValidationError, parameters: tuple[str, ...]) -> str:
    """Return the first fault in the parameters of a request, as one line."""
    fault = error.errors()[0]
    name = short_text(str(fault['loc'][1]) if len(fault['loc']) > 1 else str(fault['loc'][0]))
    if fault['type'] == 'extra_forbidden':
        close = difflib.get_close_matches(name, parameters, n=1, cutoff=0.5)
        named = f'the nearest is {close[0]}' if close else f'known are {", ".join(parameters)}'
        return f'{name}: unknown parameter; {named}'
    message = fault['msg'].removeprefix('Input should ').partition(', unable')[0]
    return f'{name}: must {message}, not {short_repr(fault["input"])}'


def _no_route(request: Request, error: HTTPException) -> str:
    path = short_text(request.url.path)
    if error.status_code == 405:
        return f'{path} does not take {short_text(request.method)}; /docs describes the interface'
    if error.status_code == 404:
        return f'{path} is not here; open / for the page or /docs for the interface'
    return str(error.detail)
