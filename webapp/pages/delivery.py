"""The red envelope of a post: what people do about a recipient who did not get it."""

from collections.abc import Sequence

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_login import current_user, login_required
from sqlalchemy import select

from mail.documents import corrections
from mail.documents import posts as documents_posts
from mail.documents.corrections import AddressCorrection
from mail.errors import NotCorrected
from mail.outgoing import delivery_state, lines
from mail.sentences import say, why
from mail.settings.clock import now
from mail.settings.wake import wake
from models import Document, OutgoingMail, Post, Recipient, db
from webapp import auth

blueprint = Blueprint("delivery", __name__)


def _document_of(line_id: int) -> Document:
    """The document that a recipient line belongs to."""
    found = (
        select(Document)
        .join(Post, Post.thread_id == Document.thread_id)
        .join(OutgoingMail, OutgoingMail.post_id == Post.id)
        .join(Recipient, Recipient.mail_id == OutgoingMail.id)
        .where(Recipient.id == line_id)
    )
    return db.session.scalar(found) or abort(404)


def _document_of_post(post_id: int) -> Document:
    found = select(Document).join(Post, Post.thread_id == Document.thread_id).where(Post.id == post_id)
    return db.session.scalar(found) or abort(404)


def _back(document: Document) -> ResponseReturnValue:
    return redirect(url_for("documents.show", document_id=document.id))


def _close(document: Document) -> None:
    delivery_state.close_failures([document.thread_id], now())
    db.session.commit()
    wake()


@blueprint.post("/lines/<int:line_id>/retry")
@login_required
def retry(line_id: int) -> ResponseReturnValue:
    """Send to this recipient again."""
    document = _document_of(line_id)
    again = lines.retry([line_id], now(), current_user.name)
    _close(document)
    if again.queued:
        flash(gettext("The email is being sent again."), "success")
    for reason in (*again.skipped, again.failed):
        if reason:
            flash(say(reason), "error")
    return _back(document)


@blueprint.post("/lines/<int:line_id>/arrived")
@login_required
def arrived(line_id: int) -> ResponseReturnValue:
    """Take an email in doubt as sent: its recipient has it."""
    document = _document_of(line_id)
    if lines.settle_arrived([line_id], now(), current_user.name):
        flash(gettext("The email is marked as sent."), "success")
    else:
        flash(gettext("What happened to this email is already known."), "error")
    _close(document)
    return _back(document)


@blueprint.post("/lines/<int:line_id>/correct")
@login_required
def correct(line_id: int) -> ResponseReturnValue:
    """Send to another address instead; asks once whether the recipient has it from now on."""
    document, given = _document_of(line_id), request.form.get("address", "")
    try:
        correction = corrections.plan(line_id, given, auth.role() == "admin")
        wanted = request.form.get("what", "")
        if correction.is_wide and wanted not in ("everywhere", "email"):
            return _asked(document, line_id, given, correction)
        corrections.correct(correction, wanted == "everywhere", current_user.name, now())
    except NotCorrected as error:
        db.session.rollback()
        flash(say(error.why), "error")
        return _asked(document, line_id, given, None)
    documents_posts.add_log(document.thread_id, corrections.log_words(correction, current_user.name), now())
    _close(document)
    flash(say(why("address_corrected", before=correction.before, after=correction.after)), "success")
    return _back(document)


def _asked(document: Document, line_id: int, given: str, correction: AddressCorrection | None) -> ResponseReturnValue:
    line = db.session.get(Recipient, line_id)
    assert line is not None
    return render_template(
        "pages/correct_address.html", document=document, line=line, given=given, correction=correction
    )


@blueprint.post("/posts/<int:post_id>/send-now")
@login_required
def send_now(post_id: int) -> ResponseReturnValue:
    """Have all emails of a post that wait for their time leave now."""
    document = _document_of_post(post_id)
    if lines.send_now(_scheduled(post_id), now(), current_user.name):
        flash(gettext("The email is being sent."), "success")
    else:
        flash(gettext("This email no longer waits for its time."), "error")
    db.session.commit()
    wake()
    return _back(document)


@blueprint.post("/posts/<int:post_id>/cancel")
@login_required
def cancel_scheduled(post_id: int) -> ResponseReturnValue:
    """Take all emails of a post that wait for their time out of the queue."""
    return _cancel(_document_of_post(post_id), _scheduled(post_id))


def _scheduled(post_id: int) -> Sequence[int]:
    """The recipients of a post whose email waits for its time."""
    waits = Recipient.state == "queued", Recipient.wait == "schedule"
    return db.session.scalars(
        select(Recipient.id).join(OutgoingMail).where(OutgoingMail.post_id == post_id, *waits)
    ).all()


@blueprint.post("/lines/<int:line_id>/cancel")
@login_required
def cancel(line_id: int) -> ResponseReturnValue:
    """Take a waiting recipient out of the queue."""
    return _cancel(_document_of(line_id), [line_id])


def _cancel(document: Document, line_ids: Sequence[int]) -> ResponseReturnValue:
    cancelled = lines.cancel(line_ids, now(), current_user.name)
    if cancelled.in_doubt:
        flash(gettext("The email will not be sent again, but an earlier attempt may have arrived."), "info")
    elif cancelled.unsent:
        flash(gettext("The email was cancelled and will not be sent."), "success")
    else:
        flash(gettext("It is too late: the email is already being sent."), "error")
    db.session.commit()
    return _back(document)


@blueprint.post("/posts/<int:post_id>/seen")
@login_required
def seen(post_id: int) -> ResponseReturnValue:
    """Ignore the failures of a post: they stay red on it, and no list warns of them any more."""
    document = _document_of_post(post_id)
    delivery_state.mark_seen(post_id, now())
    db.session.commit()
    return _back(document)
