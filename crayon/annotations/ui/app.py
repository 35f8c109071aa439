"""The web application of the annotation page.

A request names an item by its number in the annotator's order, never by a path.
"""

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
from crayon.annotations.ui.items import ItemSet
from crayon.annotations.ui.refusals import refuse
from crayon.annotations.ui.session import NAME, NAMED, Page, Session
from crayon.annotations.vocabulary import ANSWERS
from crayon.utils.errors import CrayonError
from crayon.utils.log import report
from crayon.utils.text import unknown

STATIC = Path(__file__).parent / "static"

LONGEST_BODY = 2048
LONGEST_SECONDS = 7 * 24 * 3600

SHOWN_HEADER = "X-Crayon-Shown"
"""Header of each request about an item: the value of `Session.shown` when the page was loaded."""

LETTERS = {"yes": "y", "no": "n", "unsure": "u"}
"""Answer -> its letter in the string of a session's answers."""


async def about(request: Request) -> JSONResponse:
    """Title, question and annotators, for the start of the page."""
    page: Page = request.app.state.page
    owner = _owner(request)
    names = [owner] if owner else list(page.annotators)
    item_set = page.item_set
    return JSONResponse(
        {
            "title": page.title,
            "kind": item_set.kind,
            "views": list(item_set.views),
            "question": next(iter(item_set.items.values())).question,
            "annotators": names,
            "named": NAMED,
            "pattern": NAME.pattern,
            "shortest": page.shortest,
        }
    )


async def session(request: Request) -> JSONResponse:
    """The annotator's progress: `answers` has one letter per item, in the annotator's order; `-` if not answered."""
    page: Page = request.app.state.page
    current = await run_in_threadpool(_session, request)
    given = page.store.answers_of(current.annotator)
    return JSONResponse(
        {
            "annotator": current.annotator,
            "shown": current.shown,
            "answers": "".join(LETTERS[given[item]] if item in given else "-" for item in current.order),
            "goal": page.goal_of(current),
        }
    )


async def item(request: Request) -> JSONResponse:
    """Respond with the question about an item."""
    _, name = await _item(request)
    item_set: ItemSet = request.app.state.page.item_set
    return JSONResponse({"question": item_set.items[name].question})


async def picture(request: Request) -> Response:
    """Respond with one view of an item, as PNG."""
    page: Page = request.app.state.page
    _, name = await _item(request)
    view = request.path_params["view"]
    if view not in page.item_set.views:
        raise HTTPException(404, unknown("view", view, page.item_set.views))
    return Response(await run_in_threadpool(page.pictures.png, name, view), media_type="image/png")


async def example(request: Request) -> Response:
    """Respond with one view of an example from the page's guide, as PNG."""
    page: Page = request.app.state.page
    wanted = request.path_params["answer"], request.path_params["view"]
    if wanted not in page.examples:
        raise HTTPException(404, "There is no such example.")
    return Response(await run_in_threadpool(examples.example, *wanted), media_type="image/png")


async def answer(request: Request) -> JSONResponse:
    """Record an answer; the response is sent after the answer is on disk."""
    page: Page = request.app.state.page
    current, name = await _item(request)
    body = await _body(request)
    given, seconds = body.get("answer"), body.get("seconds")
    if given not in ANSWERS:
        raise HTTPException(400, f"The answer {given!r} is not one of {', '.join(ANSWERS)}.")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_SECONDS:
        raise HTTPException(400, f"seconds is {seconds!r}, not a number from 0 to {LONGEST_SECONDS}.")
    if seconds < page.shortest:
        raise HTTPException(400, f"The item was on screen for {seconds:.2f} s, less than {page.shortest:g} s.")
    try:
        await run_in_threadpool(page.give, current, name, given, float(seconds))
    except CrayonError as error:
        report(f"An answer by {current.annotator} was not saved: {error}")
        raise HTTPException(
            507, "The server could not save the answer; the terminal in which the page was started shows why."
        ) from error
    return JSONResponse({"answer": given})


def _owner(request: Request) -> str | None:
    """The annotator to whom the request's token belongs; None without a token, or if all annotators share one token."""
    return getattr(request.state, "annotator", None)


def _session(request: Request) -> Session:
    """The session of the request's annotator."""
    name = _owner(request) or request.headers.get("x-crayon-annotator", "")
    return request.app.state.page.session(name)


async def _item(request: Request) -> tuple[Session, str]:
    """The session, and the item with the request's number; fails if the page shows an older state."""
    current = await run_in_threadpool(_session, request)
    if request.headers.get(SHOWN_HEADER) != current.shown:
        raise HTTPException(
            409,
            "The server now shows other pictures, another order or another question than when this page was opened; "
            "reload it.",
        )
    number = request.path_params["number"]
    if not re.fullmatch("[0-9]{1,9}", number) or int(number) >= len(current.order):
        raise HTTPException(404, f"There is no item {number[:20]}; there are {len(current.order)}, from 0.")
    return current, current.order[int(number)]


async def _body(request: Request) -> Mapping[str, Any]:
    """The JSON object in the request's body."""
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > LONGEST_BODY:
            raise HTTPException(413, "The request is too long.")
    with suppress(ValueError, RecursionError):
        body = json.loads(content)
        if isinstance(body, dict):
            return body
    raise HTTPException(400, "The request is not a JSON object.")


async def _error_response(request: Request, error: Exception) -> Response:
    """The response for an HTTPException."""
    assert isinstance(error, HTTPException)  # the only type this handler is registered for
    words = error.detail
    if error.status_code == 404 and words == "Not Found":  # Starlette's own words
        words = "There is nothing at this address; open the link that you were sent."
    return refuse(request, error.status_code, words, error.headers)


def build(page: Page) -> Starlette:
    """Build the application. It must be served behind a `Guard`."""
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
        exception_handlers={HTTPException: _error_response},
    )
    app.state.page = page
    return app
