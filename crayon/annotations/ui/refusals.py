"""Responses to requests that are refused: a page for a person who opened a link, JSON for a script."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>This page cannot be opened</title>
</head>
<body>
<main>
<h1>This page cannot be opened</h1>
<p>{words}</p>
<p>If that does not help, ask the person who sent you the link for a new one.</p>
</main>
</body>
</html>
"""
"""The page has no style sheet and no script, because the server sends neither without a valid token."""


def refuse(request: Request, status: int, words: str, headers: Mapping[str, str] | None = None) -> Response:
    """Make the response to a request that is refused.

    Args:
        request: the request. If it accepts HTML, as a browser does for an address that a person opens, the response is
            a page; otherwise it is JSON.
        status: the HTTP status.
        words: the reason, and what to do.
        headers: more headers.
    """
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(PAGE.format(words=escape(words)), status, headers=headers)
    return JSONResponse({"error": words}, status, headers=headers)
