"""What people do with a mailing: send, schedule, pause, decide about doubts, copy, delete, and a test email."""

from dataclasses import replace
from typing import get_args

from flask import abort, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext, ngettext
from flask_login import current_user
from sqlalchemy import select

from mail.documents import contacts
from mail.errors import MailError
from mail.mailing import doubts, mailing
from mail.mailing.ready import NotReady
from mail.mailing.rendered import MailingRecipient, broken_links, compile_for, decide_for
from mail.message.address import Address
from mail.message.pasted import one_person
from mail.outgoing import enqueue
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.sentences import Why, say
from mail.settings import parameters
from mail.settings.clock import now
from mail.settings.wake import wake
from models import Event, Mailing, OutgoingMail, Recipient, db
from webapp.fields import moment_of
from webapp.pages.mailing_editor import SAMPLES
from webapp.pages.mailings import blueprint, find_mailing


def _back(mailing_id: int) -> ResponseReturnValue:
    return redirect(url_for(".show", mailing_id=mailing_id))


def _refused(error: NotReady) -> None:
    for problem in error.problems:
        flash(say(problem), "error")


@blueprint.post("/<int:mailing_id>/send")
def send(mailing_id: int) -> ResponseReturnValue:
    """Let a draft go out, at once or at the time of the form."""
    at = None
    if request.form.get("when") == "later":
        at = moment_of(request.form.get("at", ""))
        if at is None or at <= now():
            flash(gettext("Choose a time in the future, then press Schedule."), "error")
            return _back(mailing_id)
    try:
        mailing.send(find_mailing(mailing_id).id, now(), at)
    except NotReady as error:
        _refused(error)
    else:
        flash(gettext("The mailing is scheduled.") if at else gettext("The mailing is being sent."), "success")
    return _back(mailing_id)


@blueprint.post("/<int:mailing_id>/draft")
def draft(mailing_id: int) -> ResponseReturnValue:
    """Take back a mailing that is scheduled."""
    try:
        mailing.back_to_draft(find_mailing(mailing_id).id, now())
    except NotReady as error:
        _refused(error)
    else:
        flash(gettext("The mailing is a draft again; nothing was sent."), "success")
    return _back(mailing_id)


@blueprint.post("/<int:mailing_id>/pause")
def pause(mailing_id: int) -> ResponseReturnValue:
    """Send to nobody else for now."""
    if not mailing.pause(find_mailing(mailing_id).id, now(), current_user):
        flash(gettext("This mailing was not being sent, so it can't be paused."), "error")
    return _back(mailing_id)


@blueprint.post("/<int:mailing_id>/resume")
def resume(mailing_id: int) -> ResponseReturnValue:
    """Go on with those who have not got it yet."""
    try:
        if not mailing.resume(find_mailing(mailing_id).id, now()):
            flash(gettext("This mailing was not paused, so it can't be resumed."), "error")
    except NotReady as error:
        _refused(error)
    return _back(mailing_id)


@blueprint.post("/<int:mailing_id>/cancel")
def cancel(mailing_id: int) -> ResponseReturnValue:
    """End a mailing for good."""
    if not mailing.cancel(find_mailing(mailing_id).id, now(), current_user):
        flash(gettext("This mailing has already ended, so it can't be cancelled."), "error")
    return _back(mailing_id)


@blueprint.post("/<int:mailing_id>/doubts")
def resolve_doubts(mailing_id: int) -> ResponseReturnValue:
    """Settle recipients of whom nobody knows whether they got it: it arrived, send again, or leave it at that."""
    what = next((one for one in get_args(doubts.Answer) if one == request.form.get("what")), None) or abort(400)
    trace_id = request.form.get("trace", 0, type=int)
    try:
        resolved = doubts.resolve_doubts(find_mailing(mailing_id).id, what, now(), current_user, trace_id)
    except NotReady as error:
        _refused(error)
        return _back(mailing_id)
    said = {
        "again": ngettext("%(num)s email is being sent again.", "%(num)s emails are being sent again.", resolved),
        "leave": ngettext("%(num)s email will not be sent again.", "%(num)s emails will not be sent again.", resolved),
        "arrived": ngettext("%(num)s email is marked as sent.", "%(num)s emails are marked as sent.", resolved),
    }
    flash(said[what], "success")
    return _back(mailing_id)


@blueprint.post("/<int:mailing_id>/duplicate")
def duplicate(mailing_id: int) -> ResponseReturnValue:
    """Make a new draft of the same words and lists."""
    row = find_mailing(mailing_id)
    copy = Mailing(
        subject=row.subject,
        preview=row.preview,
        from_address=row.from_address,
        reply_to=row.reply_to,
        html=row.html,
        forced_server_id=row.forced_server_id,
        created_by_id=current_user.id,
        created_at=now(),
    )
    copy.lists = [one for one in row.lists if one.active]
    db.session.add(copy)
    db.session.flush()
    Event.add(["mailings"], now())
    db.session.commit()
    flash(gettext("Mailing duplicated. You are editing the copy."), "success")
    return redirect(url_for(".edit", mailing_id=copy.id))


@blueprint.post("/<int:mailing_id>/delete")
def delete(mailing_id: int) -> ResponseReturnValue:
    """Delete a draft; what was sent stays, with what became of it."""
    row = db.session.get(Mailing, mailing_id, with_for_update=True) or abort(404)
    if row.state != "draft":
        db.session.rollback()
        flash(gettext("Only drafts can be deleted: the history of sent mailings is kept."), "error")
        return _back(mailing_id)
    db.session.delete(row)
    Event.add(["mailings"], now())
    db.session.commit()
    flash(gettext("The draft was deleted."), "success")
    return redirect(url_for(".index"))


@blueprint.post("/<int:mailing_id>/test")
def send_test(mailing_id: int) -> ResponseReturnValue:
    """Send the mailing to one address, by the same server and From; it counts nowhere."""
    row = find_mailing(mailing_id)
    address = one_person(request.form.get("address", ""))
    if not isinstance(address, Address):
        flash(gettext("Enter an email address for the test."), "error")
        return _back(mailing_id)
    try:
        draft = _test_draft(row, address)
    except NotReady as error:
        _refused(error)
        return _back(mailing_id)
    mail = enqueue.enqueue(draft, [To(address.address, address.name)], now())
    failure = _failure_of(mail)
    wake()
    if failure:
        flash(say(failure), "error")
    else:
        flash(gettext("The test is being sent to %(address)s.", address=address.address), "success")
    return _back(mailing_id)


def _test_draft(row: Mailing, address: Address) -> OutgoingDraft:
    """The mailing as this address would get it; raises ``NotReady`` when it can't be made."""
    decision = decide_for(row)
    in_the_way = decision.failure or broken_links(decision)
    if in_the_way:
        raise NotReady([in_the_way])
    try:
        letter = compile_for(row, decision)
    except MailError as error:
        raise NotReady([error.why]) from error
    reader = replace(SAMPLES["full"], address=address.address)
    if (contact := contacts.find(address.address)) is not None:
        reader = MailingRecipient(0, address.address, contact.name, contact.company, contact.language)
    return OutgoingDraft(
        kind="test",
        author=row.from_address,
        subject=gettext("[Test] %(subject)s", subject=letter.subject_for(reader)),
        html=letter.html_for(reader),
        text=letter.text_for(reader),
        reply_to=row.reply_to,
        forced_server_id=row.forced_server_id or parameters.DEDICATED_SERVER.get() or None,
    )


def _failure_of(mail: OutgoingMail) -> Why | None:
    line = db.session.scalar(select(Recipient).where(Recipient.mail_id == mail.id))
    return line.why if line is not None and line.state == "failed" else None  # type: ignore[return-value]
