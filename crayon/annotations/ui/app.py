"""The page's server: the page, and behind it items by their number in the annotator's own order, never by a path."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from crayon.annotations.ui import examples
from crayon.annotations.ui.items import Asked
from crayon.annotations.ui.session import NAME, NAMED, Page, Session
from crayon.annotations.vocabulary import ANSWERS
from crayon.utils.errors import CrayonError
from crayon.utils.text import unknown

STATIC = Path(__file__).parent / "static"

LONGEST_BODY = 2048
LONGEST_SECONDS = 7 * 24 * 3600

SHOWN_HEADER = "X-Crayon-Shown"
"""With each request about an item: `Session.shown` as the page knows it."""

LETTERS = {"yes": "y", "no": "n", "unsure": "u"}
"""Answer -> its letter in a session's list."""


async def about(request: Request) -> JSONResponse:
    """What is asked, before it is known whom."""
    page: Page = request.app.state.page
    owner = _owner(request)
    names = [owner] if owner else list(page.annotators)
    asked = page.asked
    return JSONResponse(
        {
            "title": page.title,
            "kind": asked.kind,
            "views": list(asked.views),
            "question": next(iter(asked.items.values())).question,
            "annotators": names,
            "named": NAMED,
            "pattern": NAME.pattern,
        }
    )


async def session(request: Request) -> JSONResponse:
    """Where the annotator stands: `answers` has a letter an item, in their order, `-` where there is none yet."""
    page: Page = request.app.state.page
    found = await run_in_threadpool(_session, request)
    given = page.store.answers_of(found.annotator)
    return JSONResponse(
        {
            "annotator": found.annotator,
            "shown": found.shown,
            "answers": "".join(LETTERS[given[item]] if item in given else "-" for item in found.order),
            "commands": list(page.commands),
            "lacking": page.lacking(found.annotator),
        }
    )


async def item(request: Request) -> JSONResponse:
    """The question about an item."""
    _, name = await _item(request)
    asked: Asked = request.app.state.page.asked
    return JSONResponse({"question": asked.items[name].question})


async def picture(request: Request) -> Response:
    """One view of an item."""
    page: Page = request.app.state.page
    _, name = await _item(request)
    view = request.path_params["view"]
    if view not in page.asked.views:
        raise HTTPException(404, unknown("view", view, page.asked.views))
    return Response(await run_in_threadpool(page.pictures.png, name, view), media_type="image/png")


async def example(request: Request) -> Response:
    """One view of one of the guide's examples."""
    page: Page = request.app.state.page
    wanted = request.path_params["answer"], request.path_params["view"]
    if wanted not in page.examples:
        raise HTTPException(404, "There is no such example.")
    return Response(await run_in_threadpool(examples.example, *wanted), media_type="image/png")


async def answer(request: Request) -> JSONResponse:
    """Take an answer; the response says that it is on disk."""
    page: Page = request.app.state.page
    found, name = await _item(request)
    body = await _body(request)
    given, seconds = body.get("answer"), body.get("seconds")
    if given not in ANSWERS:
        raise HTTPException(400, f"The answer {given!r} is none of {', '.join(ANSWERS)}.")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_SECONDS:
        raise HTTPException(400, f"seconds is {seconds!r}, no number from 0 to {LONGEST_SECONDS}.")
    try:
        await run_in_threadpool(page.give, found, name, given, float(seconds))
    except CrayonError as error:
        raise HTTPException(507, str(error)) from error
    return JSONResponse({"answer": given})


def _owner(request: Request) -> str | None:
    """The annotator whose token the request has; None if it has none, or one that all share."""
    return getattr(request.state, "annotator", None)


def _session(request: Request) -> Session:
    name = _owner(request) or request.headers.get("x-crayon-annotator", "")
    return request.app.state.page.session(name)


async def _item(request: Request) -> tuple[Session, str]:
    """The annotator, and the item that has this number in their order, which must be the order that the page knows."""
    found = await run_in_threadpool(_session, request)
    if request.headers.get(SHOWN_HEADER) != found.shown:
        raise HTTPException(
            409,
            "This page was opened on another benchmark, kind, order or other maps than the server asks about now; "
            "reload it.",
        )
    number = request.path_params["number"]
    if not re.fullmatch("[0-9]{1,9}", number) or int(number) >= len(found.order):
        raise HTTPException(404, f"There is no item {number[:20]}; there are {len(found.order)}, from 0.")
    return found, found.order[int(number)]


async def _body(request: Request) -> Mapping[str, Any]:
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > LONGEST_BODY:
            raise HTTPException(413, "The request is too long.")
    with suppress(ValueError, RecursionError):
        body = json.loads(content)
        if isinstance(body, dict):
            return body
    raise HTTPException(400, "The request is no JSON object.")


async def _refused(request: Request, error: HTTPException) -> JSONResponse:
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


def build(page: Page) -> Starlette:
    """The application; it is to stand behind a `Guard`."""
    app = Starlette(
        routes=[
            Route("/api/about", about),
            Route("/api/session", session),
            Route("/api/items/{number}", item),
            Route("/api/items/{number}/{view}.png", picture),
            Route("/api/items/{number}/answer", answer, methods=["POST"]),
            Route("/api/examples/{answer}/{view}.png", example),
            Mount("/", StaticFiles(directory=STATIC, html=True)),
        ],
        exception_handlers={HTTPException: _refused},
    )
    app.state.page = page
    return app
