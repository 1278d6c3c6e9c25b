"""Pages for people outside the office: the links in our emails and mailings. A signed token replaces a log-in.

A GET never changes anything: scanners follow links. Unsubscribing is a POST, by the page's one button or by the mail
program's own (RFC 8058), which comes without a cookie and reads no page.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from werkzeug.exceptions import NotFound

from mail.documents import file_links
from mail.mailing import traces
from mail.mailing.rendered import MailingRecipient, rendered_mailing
from mail.settings import office, parameters
from mail.settings.clock import now
from mail.settings.tokens import TokenKind
from models import Blob, Contact, Mailing, MailingList, Subscription, Trace, db, mailing_lists

blueprint = Blueprint("public", __name__)

# A mailing's own styles and pictures, but no script, no form, and a window that belongs to no site.
VIEW_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation; default-src 'none'; "
    "style-src 'unsafe-inline'; img-src 'self' https: data:; font-src https:; frame-ancestors 'none'"
)


@blueprint.get("/u/<token>")
def unsubscribe(token: str) -> ResponseReturnValue:
    """Show one button; or, to somebody who has pressed it, the way back."""
    trace_id = _trace_of(token, TokenKind.UNSUBSCRIBE)
    link = _link(trace_id)
    page = "public/unsubscribed.html" if link.gone else "public/unsubscribe.html"
    return _private(render_template(page, token=token, link=link, company=parameters.COMPANY_NAME.get()))


@blueprint.post("/u/<token>")
def unsubscribe_now(token: str) -> ResponseReturnValue:
    """Unsubscribe, or take it back; a mail program's one click is answered without a page."""
    trace_id = _trace_of(token, TokenKind.UNSUBSCRIBE)
    if request.form.get("List-Unsubscribe") == "One-Click":
        traces.unsubscribe(trace_id, "one_click", now())
        db.session.commit()
        return _private("unsubscribed\n", "text/plain; charset=utf-8")
    wish = request.form.get("wish")
    if wish == "unsubscribe":
        traces.unsubscribe(trace_id, "page", now())
    elif wish == "undo":
        traces.undo_unsubscribe(trace_id, now())
    else:
        abort(400)
    db.session.commit()
    return redirect(url_for("public.unsubscribe", token=token), 303)


@blueprint.get("/v/<token>")
def view(token: str) -> ResponseReturnValue:
    """Show a mailing as this recipient got it."""
    trace_id = _trace_of(token, TokenKind.VIEW)
    row = db.session.execute(
        select(Trace.address, Contact.name, Contact.company, Contact.language, Mailing.id, Mailing.content_key)
        .join(Contact, Contact.id == Trace.contact_id)
        .join(Mailing, Mailing.id == Trace.mailing_id)
        .where(Trace.id == trace_id)
    ).one()
    letter = rendered_mailing(row.id, row.content_key)
    answer = _private(letter.html_for(MailingRecipient(trace_id, row.address, row.name, row.company, row.language)))
    answer.headers["Content-Security-Policy"] = VIEW_POLICY
    return answer


@blueprint.get("/d/<token>")
def file(token: str) -> ResponseReturnValue:
    """Show a file that was too large for an email, with a button that loads it: no program that follows links does."""
    found = file_links.find(token, now())
    page = "public/file.html" if found else "public/file_gone.html"
    company = parameters.COMPANY_NAME.get()
    answer = _private(render_template(page, token=token, file=found, days=file_links.LINK_DAYS, company=company))
    return answer, 200 if found else 404


@blueprint.get("/d/<token>/file")
def file_content(token: str) -> ResponseReturnValue:
    """Answer the file itself, to be saved; nothing of it is ever shown here."""
    found = file_links.find(token, now())
    if found is None:
        return redirect(url_for("public.file", token=token), 303)
    answer = _private(Blob.read_in_pieces(found.blob_id), "application/octet-stream")
    answer.headers["Content-Length"] = str(found.size)
    answer.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(found.name or 'file')}"
    answer.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return answer


CSRF_EXEMPT = (unsubscribe_now,)  # the token is the proof; a mail program has no session


@blueprint.errorhandler(NotFound)
def not_ours(error: NotFound) -> ResponseReturnValue:
    """A link that was cut, altered or made up: say so kindly, change nothing."""
    return _private(render_template("public/unknown.html", company=parameters.COMPANY_NAME.get())), 404


class _Link(NamedTuple):
    """What the page shows of a recipient and the lists that the mail came from."""

    address: str
    lists: list[str]  # those that this person is still on
    gone: bool
    may_undo: bool  # it was this mail's link that did it


def _trace_of(token: str, kind: TokenKind) -> int:
    """The trace that a token names; 404 for one that is not ours, was altered, or means something else."""
    named = office.tokens().read(token)
    if named is None or named.kind is not kind:
        abort(404)
    if db.session.scalar(select(Trace.id).where(Trace.id == named.id)) is None:
        abort(404)
    return named.id


def _link(trace_id: int) -> _Link:
    row = db.session.execute(
        select(Trace.mailing_id, Trace.contact_id, Trace.address, Trace.unsubscribed_at).where(Trace.id == trace_id)
    ).one()
    found = db.session.execute(
        select(MailingList.name, Subscription.state)
        .join(Subscription, Subscription.list_id == MailingList.id)
        .join(mailing_lists, mailing_lists.c.list_id == MailingList.id)
        .where(mailing_lists.c.mailing_id == row.mailing_id, Subscription.contact_id == row.contact_id)
        .order_by(MailingList.name)
    ).all()
    still = [name for name, state in found if state != "unsubscribed"]
    return _Link(masked(row.address), still, not still, row.unsubscribed_at is not None)


def masked(address: str) -> str:
    """Return an address that its owner recognises and nobody else learns: mails are forwarded, links with them.

    >>> masked("ann.lee@example.com"), masked("a@example.com")
    ('an•••@example.com', 'a•••@example.com')
    """
    local, _, domain = address.rpartition("@")
    return f"{local[: min(2, max(1, len(local) // 2))]}•••@{domain}"


def _private(body: str | Iterator[bytes], kind: str = "text/html; charset=utf-8") -> Response:
    """An answer that nobody keeps, indexes, or learns the address of."""
    answer: Any = make_response(body)
    answer.headers["Content-Type"] = kind
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.headers["X-Robots-Tag"] = "noindex, nofollow"
    return answer
