"""Logs are events with fields: `job.claimed job_id=…`; context is bound at the door."""

import logging
import sys

import structlog

from foundation.settings import LogSettings


def configure_logging(settings: LogSettings) -> None:
    """Send this process's events to standard error: for people on a terminal, else JSON lines."""
    for_people = sys.stderr.isatty() and not settings.json_lines
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if for_people else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[settings.level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose events carry the name of the room they come from."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(room=name)
    return logger
