"""What outlines leave out of networks is looked up once a network, whatever the number of jobs."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, Engine, func, select

from models.domain.search import parse_filter, parse_group, parse_orders
from models.tables import plan_outlines, spec_outlines
from services.database import transaction
from services.grouping import Grouping, group_jobs
from services.listing import Listing, list_jobs
from services.selecting import Selection
from tests.explained import noted, plan_nodes
from tests.many_jobs import make_jobs
from tests.submitted import submit

JOBS = 5_000
NAME = "plan.network.layers.0.name"
ONE = [{"flatten": {}}, {"linear": {"features": 20}}, {"relu": {}}, {"linear": {"features": 10}}]
OTHER = [{"conv": {"channels": 4, "kernel": 3}}, {"flatten": {}}, {"linear": {"features": 10}}]
SEARCHES: dict[str, Callable[[Connection], object]] = {
    "order": lambda connection: list_jobs(
        connection, Listing(Selection(), parse_orders(NAME)), 100, None, 60.0
    ),
    "filter": lambda connection: list_jobs(
        connection,
        Listing(Selection(condition=parse_filter(f"{NAME} = 'x'")), parse_orders("-created_at")),
        100,
        None,
        60.0,
    ),
    "groups": lambda connection: group_jobs(
        connection, Grouping(Selection(), parse_group(NAME)), 100, None, 60.0
    ),
}


@pytest.mark.parametrize("networks", [1, 40])
@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_a_network_is_unpacked_once_for_all_of_its_jobs(
    engine: Engine, search: Callable[[Connection], object], networks: int
) -> None:
    with transaction(engine) as connection:
        make_jobs(connection, JOBS, "small_cnn", networks)
        with noted(connection) as statements:
            search(connection)
        (statement, parameters), *_ = (each for each in statements if "LATERAL" in each[0])
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
        plan = connection.exec_driver_sql(explain, parameters).scalar_one()[0]["Plan"]
    (memory,) = (node for node in plan_nodes(plan) if node["Node Type"] == "Memoize")
    assert (memory["Cache Hits"], memory["Cache Misses"]) == (JOBS - networks, networks)
    # Each mention unpacks the whole document.
    assert statement.count("jsonb_extract_path(") == 1


def test_jobs_are_found_ordered_and_grouped_by_their_own_networks(api: httpx.Client) -> None:
    for name, layers in (("a", ONE), ("b", OTHER), ("c", ONE), ("d", OTHER)):
        submit(api, name=name, network={"layers": layers})
    submit(api, name="e")

    def names(**query: str) -> list[str]:
        return [job["name"] for job in api.get("/v1/jobs", params=query).json()["items"]]

    assert names(order_by=NAME) == ["b", "d", "a", "c", "e"]
    assert names(filter="spec.network.layers.1.linear.features = 20") == ["c", "a"]
    both = "spec.network.layers.0.conv.channels = 4 and plan.network.layers.0.kind = 'conv'"
    assert names(filter=both, order_by=f"-{NAME},name") == ["b", "d"]
    assert names(filter="spec.network.layers = null") == ["e"]
    groups = api.get("/v1/jobs", params={"group_by": "plan.network.layers.1.kind"}).json()["items"]
    assert [(each["value"], each["jobs"]) for each in groups] == [
        ("flatten", 2),
        ("linear", 3),
    ]
    page: dict[str, Any] = {"order_by": NAME, "limit": 2}
    first = api.get("/v1/jobs", params=page).json()
    assert names(**page, cursor=first["next_cursor"]) == ["a", "c"]


def test_jobs_have_the_same_hash_where_their_networks_are_the_same(
    api: httpx.Client, engine: Engine
) -> None:
    job_id = submit(api, network={"layers": ONE}, seed=1, batch_size=8)["id"]
    submit(api, network={"layers": ONE}, seed=2)
    submit(api, network={"layers": OTHER})
    assert api.patch(f"/v1/jobs/{job_id}", json={"name": "changed"}).is_success
    with transaction(engine) as connection:
        for table in (spec_outlines, plan_outlines):
            counts = select(func.count()).select_from(table).group_by(table.c.network)
            assert sorted(connection.scalars(counts)) == [1, 2]
