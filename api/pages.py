"""The pages for people: `/` leads to `/docs`, which works without the Internet too."""

from importlib import resources

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

ASSETS = "/docs-assets"
PACKAGE = "fastapi_offline"
"""Swagger UI in a wheel: FastAPI's own page would fetch it from a public server."""


def install_pages(app: FastAPI) -> None:
    with resources.as_file(resources.files(PACKAGE) / "static") as folder:
        app.mount(ASSETS, StaticFiles(directory=folder), name="docs-assets")
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=app.title,
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon.png",
    )

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return page

    @app.get("/", include_in_schema=False)
    async def home() -> RedirectResponse:
        return RedirectResponse("/docs")
