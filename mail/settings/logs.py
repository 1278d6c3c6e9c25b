"""The log of both processes: one line per event, and tracebacks without what people typed."""

import logging
import os
import traceback

from models.faults import names_values

FORMAT = "%(levelname)s %(name)s: %(message)s"


def set_up_logs() -> None:
    """Let everything that is worth a line be written to standard error; ``COQUI_LOG`` is the level."""
    handler = logging.StreamHandler()
    handler.setFormatter(DiscreetFormatter(FORMAT))
    logging.basicConfig(level=os.environ.get("COQUI_LOG") or "INFO", handlers=[handler])
    for chatty in ("alembic", "apscheduler"):
        logging.getLogger(chatty).setLevel(logging.ERROR)


class DiscreetFormatter(logging.Formatter):
    """Writes a traceback with the lines of our code, but of a database's error only its kind and code.

    Its words can name a title or an address: "Key (email)=(ann@example.com) already exists".
    """

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None  # another formatter may have left its words there
        return super().format(record)

    def formatException(self, ei: object) -> str:
        error = ei[1]  # type: ignore[index]  # the triple of sys.exc_info
        return "".join(discreet_traceback(error)).rstrip("\n")


def discreet_traceback(error: BaseException) -> list[str]:
    """Return the lines of a traceback, those of the errors that led to it first."""
    if getattr(error, "orig", None) is not None:
        return [*traceback.format_tb(error.__traceback__), _in_short(error)]  # its cause says the same
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    lines = [*discreet_traceback(earlier), "which led to:\n"] if earlier is not None else []
    lines += traceback.format_tb(error.__traceback__)
    return [*lines, _in_short(error) if names_values(error) else traceback.format_exception_only(error)[-1]]


def _in_short(error: BaseException) -> str:
    inner = getattr(error, "orig", None) or error
    code = getattr(inner, "sqlstate", None) or getattr(inner, "sqlite_errorname", None) or "no code"
    statement = getattr(error, "statement", None) or ""
    return f"{type(error).__name__}: {type(inner).__name__} ({code}) {statement}".rstrip() + "\n"
