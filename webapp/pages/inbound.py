"""``POST /inbound/<token>``: a raw email from a program or a provider, stored before the answer is given."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge

from mail.incoming import push
from mail.settings import push_address
from mail.settings.clock import now
from mail.settings.logs import discreet_traceback
from models import reading, writing
from models.faults import keeps_waiting
from webapp import limits

LARGE = 4 * 1024 * 1024  # octets
LARGE_AT_ONCE = 2  # such bodies, in one process: each needs several times its size
RETRY_AFTER = 60  # seconds

log = logging.getLogger("coquimail.inbound")

blueprint = Blueprint("inbound", __name__)
_large = threading.BoundedSemaphore(LARGE_AT_ONCE)


@blueprint.post("/inbound/<token>")
def take(token: str) -> ResponseReturnValue:
    """Store the email in the body: 200 once it is committed, 503 when it is to be sent again."""
    try:
        with reading():
            if not push_address.is_right(token):
                limits.count("inbound.wrong")
                return _answer(404, "no such address")
            ours = push.reception()
        recipients = tuple(ours.ours(one) or one for one in _given("recipient", "X-Envelope-To"))
        sender = next(iter(_given("sender", "X-Envelope-From")), None)
        with _room():
            content = request.get_data(cache=False)
            if not content.strip():
                return _answer(400, "the body is empty: send the raw email as the body of the request")
            with writing():
                push.store("http", [push.PushedMail(content, sender, recipients)], now())
    except RequestEntityTooLarge:
        return _answer(413, f"the email is larger than {push.LARGEST_MAIL // 1048576} MB")
    except ClientDisconnected:
        return _answer(400, "the request ended before the email did")
    except _TooMuch:
        return _answer(503, "too many large emails at once: send it again")
    except HTTPException:
        raise
    except Exception as error:  # whatever it is: the email is not stored, and its sender has it still
        if not keeps_waiting(error):
            log.error("an email can't be stored\n%s", "".join(discreet_traceback(error)))
        return _answer(503, "the email can't be stored at the moment: send it again")
    return _answer(200, "stored")


CSRF_EXEMPT = (take,)  # the address is the proof; a program has no session


class _TooMuch(Exception):
    """There is no memory for another large email just now."""


@contextmanager
def _room() -> Iterator[None]:
    """Read and store few large bodies at the same time."""
    is_large = request.content_length is None or request.content_length > LARGE
    if is_large and not _large.acquire(blocking=False):
        raise _TooMuch
    try:
        yield
    finally:
        if is_large:
            _large.release()


def _given(name: str, header: str) -> list[str]:
    """What the query says of the envelope, else the header; several recipients stand behind each other."""
    if name in request.args:
        said = request.args.getlist(name)
    else:
        said = [part for value in request.headers.getlist(header) for part in value.split(",")]
    return [value.strip().removeprefix("<").removesuffix(">") for value in said]


def _answer(code: int, words: str) -> Response:
    answer = Response(f"{words}\n", code, content_type="text/plain; charset=utf-8")
    answer.headers["Cache-Control"] = "no-store"
    if code == 503:
        answer.headers["Retry-After"] = str(RETRY_AFTER)
    return answer
