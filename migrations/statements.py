"""The SQL files that migrations run."""

from importlib import resources

from sqlalchemy import TextClause, text


def statements_of(name: str) -> TextClause:
    """Read the statements of migrations/sql/<name>, to be executed as one."""
    script = resources.files("migrations").joinpath("sql", name).read_text(encoding="utf-8")
    # A colon would mark a bound parameter; in our files it only ever casts.
    return text(script.replace(":", r"\:"))
