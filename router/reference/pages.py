"""`/docs` (Swagger UI) and `/redoc` (ReDoc), without a network: their scripts come from the package fastapi-offline.

FastAPI's own pages load theirs from a CDN, which shows a blank page in a closed network and lets somebody else's server
run code beside a person's admin key. The pages may talk to this router and load from it, and nothing else.
"""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, HTTPException, Response
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse

from router.access.callers import PUBLIC
from router.access.needs import needs

pages = APIRouter(include_in_schema=False, dependencies=[needs(PUBLIC)])

TITLE = "flytewheel router"
ASSETS = "/docs/assets"
_FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "redoc.standalone.js": "text/javascript",
    "favicon.png": "image/png",
}
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self' 'unsafe-inline'; base-uri 'none';"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self';"
    " worker-src blob:; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


@pages.get("/docs")
def show_swagger() -> HTMLResponse:
    """Swagger UI: every call, to be tried with a key."""
    return _lock(
        get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=TITLE,
            swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{ASSETS}/favicon.png",
        )
    )


@pages.get("/redoc")
def show_redoc() -> HTMLResponse:
    """ReDoc: the same, to be read."""
    return _lock(
        get_redoc_html(
            openapi_url="/openapi.json",
            title=TITLE,
            redoc_js_url=f"{ASSETS}/redoc.standalone.js",
            redoc_favicon_url=f"{ASSETS}/favicon.png",
            with_google_fonts=False,
        )
    )


@pages.get(ASSETS + "/{name}")
def get_asset(name: str) -> Response:
    """A script or style of the two pages."""
    if name not in _FILES:
        raise HTTPException(404, f"no file {name[:100]!r} here")
    content = (files("fastapi_offline") / "static" / name).read_bytes()
    return Response(content, media_type=_FILES[name], headers={**_HEADERS, "cache-control": "public, max-age=3600"})


def _lock(page: HTMLResponse) -> HTMLResponse:
    page.headers.update(_HEADERS)
    return page
