"""What all tables share: names of constraints by one convention, and a few column types."""

from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, MetaData
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION, TIMESTAMP
from sqlalchemy.types import UserDefinedType

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Moment = TIMESTAMP(timezone=True)
Float64: DOUBLE_PRECISION[float] = DOUBLE_PRECISION()


class TransactionId(UserDefinedType[str]):
    """PostgreSQL's xid8, the 64-bit number of a writing transaction; text in Python."""

    cache_ok = True

    def get_col_spec(self, **_kw: object) -> str:
        return "xid8"


def one_of(column: str, words: type[StrEnum]) -> CheckConstraint:
    """A check that the column holds one of the words (or nothing, where it may be null)."""
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def job_key() -> Column[int]:
    """The job a row belongs to; it goes with its job."""
    return Column(
        "job_key",
        BigInteger,
        ForeignKey("jobs.key", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    )


def bare_job_key() -> Column[int]:
    """The job of a row of which a long job has many.

    No foreign key: its check costs a lookup a row, and who writes holds the job's row or its
    progress, which proves that the job is there. After a DELETE services/remains.py removes them.
    """
    return Column("job_key", BigInteger, primary_key=True, autoincrement=False)
