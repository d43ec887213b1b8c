"""The SQL files that migrations run."""

from importlib import resources

from sqlalchemy import TextClause, text


def statements_of(name: str) -> TextClause:
    """Read the statements of migrations/sql/<name>, to be executed as one."""
    # A colon would mark a bound parameter; in these files it only ever casts.
    return text(_read(name).replace(":", r"\:"))


def query_of(name: str) -> TextClause:
    """Read the statement of migrations/sql/<name>, whose parameters are marked by colons."""
    return text(_read(name))


def _read(name: str) -> str:
    return resources.files("migrations").joinpath("sql", name).read_text(encoding="utf-8")
