"""The routes, a noun a file. Each translates: typed input, one service call, typed answer."""

from importlib import import_module
from importlib.util import find_spec

from fastapi import Depends, FastAPI

from api.known_parameters import check_parameters

ROUTES = (
    "plan",
    "jobs",
    "steering",
    "watching",
    "iterations",
    "epochs",
    "layers",
    "events",
    "logs",
    "artifacts",
    "catalogue",
    "fleet",
    "health",
)


def include_routes(app: FastAPI) -> None:
    for name in ROUTES:
        if find_spec(f"api.routes.{name}"):  # until all of them are written
            app.include_router(
                import_module(f"api.routes.{name}").router,
                dependencies=[Depends(check_parameters)],
            )
    # These answer one thing whatever their parameters are.
    app.include_router(import_module("api.routes.later").router)
