"""Every failure in one shape: ``{"error": {"code": ..., "message": ...}}``, with a status that tells whose fault it is.

What we did not foresee is answered without its message, which might say something about the machine.
"""

from __future__ import annotations

import logging

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from passerby.errors import ConfigError, DataError, PasserbyError
from passerby.serve.desk import BusyError, TooSlowError
from passerby.serve.schema import Fault, Problem, printable

_LOG = logging.getLogger("passerby.serve")
_CODES = {
    400: "bad_request",
    401: "unauthorised",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    411: "length_required",
    413: "too_large",
    415: "unsupported_media_type",
    421: "wrong_host",
    422: "invalid",
    429: "busy",
    503: "too_slow",
}
#: Seconds after which a client that was sent away may come back.
RETRY_AFTER_S = 1
_MOST_WRONG = 3


def fault(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer to a request that failed."""
    body = Fault(error=Problem(code=_CODES.get(status, "failed"), message=printable(message)))
    return JSONResponse(body.model_dump(), status, headers)


def status_of(error: PasserbyError) -> int:
    """The status that tells whose fault an error of ours is; 409 where gallery, model or installation must change."""
    kinds = ((BusyError, 429), (TooSlowError, 503), (ConfigError, 400), (DataError, 400), (PasserbyError, 409))
    return next(status for kind, status in kinds if isinstance(error, kind))


def answer_faults(app: FastAPI) -> None:
    """Let an application answer every failure in our shape."""
    app.add_exception_handler(PasserbyError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(StarletteHTTPException, _of_http)
    app.add_exception_handler(Exception, _unforeseen)


def missing(name: str) -> HTTPException:
    """That the gallery does not hold a picture."""
    return HTTPException(404, f"the gallery holds no picture {name!r}")


async def _of_ours(request: Request, error: Exception) -> JSONResponse:
    del request
    status = status_of(error) if isinstance(error, PasserbyError) else 500
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status in (429, 503) else None
    return fault(status, str(error), headers)


async def _of_validation(request: Request, error: Exception) -> JSONResponse:
    del request
    wrong = error.errors() if isinstance(error, RequestValidationError) else []
    parts = [f"{'.'.join(str(step) for step in each['loc'][1:])}: {each['msg']}" for each in wrong[:_MOST_WRONG]]
    return fault(422, "; ".join(parts) or "the request is not what was expected")


async def _of_http(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, StarletteHTTPException):
        return await _unforeseen(request, error)
    message = str(error.detail)
    if error.status_code == 404 and message == "Not Found":
        message = f"there is nothing at {request.url.path!r}; /openapi.json lists what there is"
    return fault(error.status_code, message, dict(error.headers or {}))


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    _LOG.error("%s %s failed", request.method, request.scope.get("path"), exc_info=error)
    return fault(500, "the service failed; its log says why")
