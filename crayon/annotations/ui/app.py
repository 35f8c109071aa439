"""The web application of the annotation page.

A request names an item by its number in the annotator's order, never by a path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from crayon.annotations.ui import examples
from crayon.annotations.ui.items import ItemSet
from crayon.annotations.ui.notes import LONGEST as LONGEST_NOTE
from crayon.annotations.ui.overview import overview
from crayon.annotations.ui.refusals import refuse
from crayon.annotations.ui.session import Page, Session, about
from crayon.annotations.vocabulary import ANSWERS
from crayon.utils.errors import CrayonError
from crayon.utils.log import report
from crayon.utils.text import unknown

STATIC = Path(__file__).parent / "static"

LONGEST_BODY = 4096
LONGEST_SECONDS = 7 * 24 * 3600

SHOWN_HEADER = "X-Crayon-Shown"
"""Header of each request about an item: the value of `Session.shown` when the page was loaded."""

LETTERS = {"yes": "y", "no": "n", "unsure": "u"}
"""Answer -> its letter in the string of a session's answers."""


async def start(request: Request) -> JSONResponse:
    """Title, question and annotators, for the start of the page."""
    page: Page = request.app.state.page
    owner = _owner(request)
    names = [owner] if owner else list(page.annotators)
    return JSONResponse(about(page.title, page.item_set, names, page.shortest))


async def session(request: Request) -> JSONResponse:
    """The annotator's progress: `answers` has one letter per item, in the annotator's order; `-` if not answered."""
    page: Page = request.app.state.page
    current = await run_in_threadpool(_session, request)
    given, notes = page.store.answers_of(current.annotator), page.notes.of(current.annotator)
    return JSONResponse(
        {
            "annotator": current.annotator,
            "shown": current.shown,
            "answers": "".join(LETTERS[given[item]] if item in given else "-" for item in current.order),
            "goal": page.goal_of(current),
            "further": _further(page),
            "sizes": current.sizes,
            "undo": len(current.history),
            "notes": {number: notes[item] for number, item in enumerate(current.order) if item in notes},
        }
    )


def _further(page: Page) -> str | None:
    """Whether further items may follow: `choosing`, `failed`, or `waiting` for answers; None if none will."""
    if page.rounds is None or page.rounds.ended:
        return None
    return "choosing" if page.rounds.choosing else "failed" if page.rounds.failed else "waiting"


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
    """Record the answers to the items on a screen; the response is sent after all of them are on disk.

    The body is `{"answers": {"yes": [0, 1], "no": [2]}, "seconds": 3.5}`, with the numbers of the items.
    """
    page: Page = request.app.state.page
    current = await _current(request)
    body = await _body(request)
    answers, seconds = _answers(body.get("answers"), current, page), body.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_SECONDS:
        raise HTTPException(400, f"seconds is {seconds!r}, not a number from 0 to {LONGEST_SECONDS}.")
    if seconds < page.shortest:
        raise HTTPException(400, f"This was on screen for {seconds:.2f} s, less than {page.shortest:g} s.")
    await _write(page.give, current, answers, float(seconds))
    return JSONResponse({"saved": len(answers)})


async def undo(request: Request) -> JSONResponse:
    """Undo the annotator's last step; respond with the numbers of its items and the letters of their answers."""
    page: Page = request.app.state.page
    current = await _current(request)
    items = await _write(page.undo, current)
    if not items:
        raise HTTPException(400, "There is nothing to undo since the server was started.")
    given, number = page.store.answers_of(current.annotator), {item: n for n, item in enumerate(current.order)}
    letters = {number[item]: LETTERS[given[item]] if item in given else "-" for item in items}
    return JSONResponse({"answers": letters, "undo": len(current.history)})


async def note(request: Request) -> JSONResponse:
    """Record the annotator's note on an item; an empty one removes it."""
    page: Page = request.app.state.page
    current, name = await _item(request)
    text = (await _body(request)).get("note")
    if not isinstance(text, str) or len(text) > LONGEST_NOTE:
        raise HTTPException(400, f"A note is a text of at most {LONGEST_NOTE} characters.")
    text = "".join(letter if letter.isprintable() else " " for letter in text).strip()
    await _write(lambda session: page.notes.write(session.annotator, name, text), current)
    return JSONResponse({"note": text})


async def for_operator(request: Request) -> JSONResponse:
    """Respond with the overview of all answers; the guard admits only the operator."""
    return JSONResponse(await run_in_threadpool(overview, request.app.state.page))


async def overview_page(request: Request) -> FileResponse:
    """Respond with the page that shows the overview."""
    return FileResponse(STATIC / "overview.html")


def _answers(said: Any, session: Session, page: Page) -> dict[str, str]:
    """Item -> answer, from a request's `answers`."""
    if not isinstance(said, dict) or not all(isinstance(numbers, list) for numbers in said.values()):
        raise HTTPException(400, f"answers is {str(said)[:80]}, not an object such as {{'yes': [0]}}.")
    if wrong := [word for word in said if word not in ANSWERS]:
        raise HTTPException(400, f"The answer {wrong[0]!r} is not one of {', '.join(ANSWERS)}.")
    answers: dict[str, str] = {}
    for word, numbers in said.items():
        for number in numbers:
            if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(session.order):
                raise HTTPException(404, no_item(str(number), session))
            if session.order[number] in answers:
                raise HTTPException(400, f"The item {number} has two answers.")
            answers[session.order[number]] = word
    if not answers:
        raise HTTPException(400, "The request has no answer.")
    groups = {item if page.group_of is None else page.group_of[item] for item in answers}
    if len(groups) > 1:
        raise HTTPException(400, "These items were not shown together.")
    return answers


async def _write(write: Callable[..., Any], session: Session, *arguments: Any) -> Any:
    """Call a function that writes an annotator's answers or notes."""
    try:
        return await run_in_threadpool(write, session, *arguments)
    except CrayonError as error:
        report(f"A change by {session.annotator} was not saved: {error}")
        raise HTTPException(
            507, "The server could not save this; the terminal in which the page was started shows why."
        ) from error


def _owner(request: Request) -> str | None:
    """The annotator to whom the request's token belongs; None without a token, or if all annotators share one token."""
    return getattr(request.state, "annotator", None)


def _session(request: Request) -> Session:
    """The session of the request's annotator."""
    name = _owner(request) or request.headers.get("x-crayon-annotator", "")
    return request.app.state.page.session(name)


async def _current(request: Request) -> Session:
    """The session of the request's annotator; fails if the page shows an older state."""
    current = await run_in_threadpool(_session, request)
    if request.headers.get(SHOWN_HEADER) != current.shown:
        raise HTTPException(
            409,
            "The server now shows other pictures, another order or another question than when this page was opened; "
            "reload it.",
        )
    return current


async def _item(request: Request) -> tuple[Session, str]:
    """The session, and the item with the request's number."""
    current = await _current(request)
    number = request.path_params["number"]
    if not re.fullmatch("[0-9]{1,9}", number) or int(number) >= len(current.order):
        raise HTTPException(404, no_item(number, current))
    return current, current.order[int(number)]


def no_item(number: str, session: Session) -> str:
    """Return a message: the annotator has no item with this number."""
    return f"There is no item {number[:20]}; there are {len(session.order)}, from 0."


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
            Route("/overview", overview_page),
            Route("/api/overview", for_operator),
            Route("/api/about", start),
            Route("/api/session", session),
            Route("/api/items/{number}", item),
            Route("/api/items/{number}/{view}.png", picture),
            Route("/api/answers", answer, methods=["POST"]),
            Route("/api/items/{number}/note", note, methods=["POST"]),
            Route("/api/undo", undo, methods=["POST"]),
            Route("/api/examples/{answer}/{view}.png", example),
            Mount("/", StaticFiles(directory=STATIC, html=True)),
        ],
        exception_handlers={HTTPException: _error_response},
    )
    app.state.page = page
    return app
