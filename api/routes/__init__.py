"""The routes, a noun a file. Each translates: typed input, one service call, typed answer."""

from fastapi import Depends, FastAPI

from api.known_parameters import check_parameters
from api.routes import (
    artifacts,
    catalogue,
    curves,
    epochs,
    events,
    export,
    fleet,
    health,
    iterations,
    jobs,
    later,
    layers,
    logs,
    metrics,
    plan,
    steering,
    watching,
)

# In this order they stand in the OpenAPI document.
ROUTERS = tuple(
    module.router
    for module in (
        plan,
        jobs,
        watching,
        steering,
        iterations,
        export,
        curves,
        epochs,
        layers,
        metrics,
        events,
        logs,
        artifacts,
        catalogue,
        fleet,
        health,
    )
)


def include_routes(app: FastAPI) -> None:
    for router in ROUTERS:
        app.include_router(router, dependencies=[Depends(check_parameters)])
    # These answer one thing whatever their parameters are.
    app.include_router(later.router)
