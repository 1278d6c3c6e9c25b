"""Mailings: the list, the editor with its preview, the page of one mailing, and what people do there."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import format_number, format_timedelta, gettext, ngettext, to_utc
from flask_babel import lazy_gettext as _l
from flask_login import current_user
from flask_wtf import FlaskForm
from markupsafe import Markup, escape
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload
from wtforms import Field, Form, SelectField, SelectMultipleField, StringField, TextAreaField
from wtforms.validators import Length, ValidationError

from mail.decide.sender import Decision
from mail.documents import contacts
from mail.errors import MailError, MergeError
from mail.mailing import mailing
from mail.mailing.mailing import NotReady
from mail.mailing.merge_fields import FIELDS, parse
from mail.mailing.rendered import MailingRecipient, RenderedMailing, broken_links, compile_for, decide_for
from mail.message.address import first_address, normalise, show_address
from mail.outgoing import enqueue
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.sentences import Why, say, why
from mail.settings import parameters
from mail.settings.clock import now
from mail.settings.wake import wake
from models import Event, Mailing, MailingList, OutgoingMail, OutgoingServer, Recipient, Subscription, Trace, User, db
from models.mailing import MAILING_STATES
from models.search import contains
from webapp import auth, template_helpers
from webapp.pages.bodies import POLICY_WITH_REMOTE, framed

blueprint = Blueprint("mailings", __name__, url_prefix="/mailings")

PAGE = 30  # mailings of one list page
TRACES = 25  # recipients of one page
FINISHED = ("done", "cancelled")
LARGEST_WORDS = 1_000_000  # characters of HTML: more is a mistake

# A merge field as the editor inserts it; the others stand for themselves.
INSERTED = {"contact.first_name": '{{ contact.first_name or "there" }}', "contact.name": '{{ contact.name or "you" }}'}

# code of the reason -> how the number of those who are left out is said
LEFT_OUT = {
    "left_out_unsubscribed": _l("unsubscribed"),
    "left_out_blacklisted": _l("on the blacklist"),
    "left_out_pending": _l("not confirmed yet"),
    "left_out_archived": _l("archived"),
    "left_out_no_address": _l("without an email address"),
}
# The order in which a mailing's recipients are counted and drawn: what is good first, what waits last.
PARTS = ("sent", "bounced", "failed", "unknown", "deferred", "cancelled", "queued")


@blueprint.before_request
def only_marketing() -> ResponseReturnValue | None:
    """Let in whoever may send to many."""
    return None if auth.role() in ("marketing", "admin") else auth.not_for_you()


# --- the list


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """Show the mailings, the newest first."""
    query = select(Mailing).options(selectinload(Mailing.lists)).order_by(Mailing.id.desc())
    state = request.args.get("state", "")
    if state in MAILING_STATES:
        query = query.where(Mailing.state == state)
    if words := request.args.get("search", "").strip():
        query = query.where(contains(words, Mailing.subject))
    if before := request.args.get("before", 0, type=int):
        query = query.where(Mailing.id < before)
    found = db.session.scalars(query.limit(PAGE + 1)).unique().all()
    template = "pages/mailings_live.html" if request.headers.get("X-Fragment") else "pages/mailings.html"
    return render_template(
        template,
        mailings=found[:PAGE],
        older=found[PAGE - 1].id if len(found) > PAGE else None,
        states=MAILING_STATES,
        narrowed=any(request.args.get(name) for name in ("state", "search", "before")),
        arguments=request.args.to_dict(),
        **_words(),
    )


def _words() -> dict[str, Any]:
    return {
        "say": say,
        "number": format_number,
        "parts_of": parts_of,
        "label_of": label_of,
        "subject_of": subject_of,
        "label_of_part": label_of_part,
        "badge": badge,
    }


def subject_of(row: Mailing) -> str:
    """Return the subject as a title: a merge field stands there as what it is called.

    >>> subject_of(Mailing(subject='News for {{ contact.first_name or "you" }}'))
    'News for [First name]'
    """
    try:
        pieces = parse(row.subject, "Subject", FIELDS)
    except MergeError:
        return row.subject
    return "".join(piece if isinstance(piece, str) else f"[{FIELDS[piece.field]}]" for piece in pieces)


def label_of(state: str) -> Any:
    """Return the word for a state of a mailing."""
    return template_helpers.STATES[state][1]


def label_of_part(state: str) -> Any:
    """Return the word for a state of recipients: who is left out and who was not reached got no mail."""
    return gettext("Not sent") if state == "cancelled" else template_helpers.STATES[state][1]


def badge(state: str) -> Markup:
    """Return the badge of a recipient's state."""
    look = template_helpers.STATES[state][0]
    return Markup('<span class="state state-{}">{}</span>').format(look, label_of_part(state))


@dataclass(frozen=True)
class MailingPart:
    """A piece of the bar of a mailing: how many, and where it is drawn, in percent."""

    state: str
    count: int
    start: float
    width: float


def parts_of(row: Mailing) -> list[MailingPart]:
    """Return the pieces of a mailing's bar; nothing is so small that it can't be seen."""
    total = row.total or 1
    found, start = [], 0.0
    for state in PARTS:
        count = getattr(row, state)
        if count > 0:
            width = max(100 * count / total, 0.6)
            found.append(MailingPart(state, count, round(start, 2), round(min(width, 100 - start), 2)))
            start += width
    return found


# --- the editor


def a_mailbox(form: Form, field: Field) -> None:
    """Refuse what holds no address."""
    if field.data and first_address(field.data) is None:
        raise ValidationError(gettext("Enter an address, such as News <news@mycompany.com>."))


def _trimmed(text: str | None) -> str:
    return (text or "").strip()


class MailingForm(FlaskForm):
    """What a draft consists of."""

    subject = StringField(_l("Subject"), [Length(max=500)], filters=[_trimmed])
    preview = StringField(_l("Preview text"), [Length(max=300)], filters=[_trimmed])
    from_address = StringField(_l("From"), [Length(max=400), a_mailbox], filters=[_trimmed])
    reply_to = StringField(_l("Reply-To"), [Length(max=400), a_mailbox], filters=[_trimmed])
    lists = SelectMultipleField(_l("Recipients"), coerce=int)
    server = SelectField(_l("Outgoing server"), coerce=int, default=0)
    html = TextAreaField(_l("HTML"), [Length(max=LARGEST_WORDS)])


def _form(row: Mailing | None = None) -> MailingForm:
    form = MailingForm(obj=row)
    lists = _offered_lists(row)
    counts = Subscription.counts(one.id for one in lists)
    form.lists.choices = [(one.id, f"{one.name} ({format_number(counts[one.id]['subscribed'])})") for one in lists]
    servers = select(OutgoingServer.id, OutgoingServer.name).where(OutgoingServer.active)
    found = db.session.execute(servers.order_by(OutgoingServer.priority, OutgoingServer.id)).all()
    form.server.choices = [(0, _usual_server()), *((server.id, server.name) for server in found)]
    if row is not None and row.forced_server is not None and not row.forced_server.active:
        form.server.choices.append((row.forced_server.id, row.forced_server.name))
    if request.method == "GET" and row is not None:
        form.lists.data = [one.id for one in row.lists]
        form.server.data = row.forced_server_id or 0
    return form


def _offered_lists(row: Mailing | None) -> Sequence[MailingList]:
    chosen = [one.id for one in row.lists] if row is not None else []
    query = select(MailingList).where(MailingList.active | MailingList.id.in_(chosen))
    return db.session.scalars(query.order_by(MailingList.name)).all()


def _usual_server() -> str:
    """The words for "no server of its own": what the settings make of it."""
    dedicated = parameters.DEDICATED_SERVER.get()
    name = db.session.scalar(select(OutgoingServer.name).where(OutgoingServer.id == dedicated)) if dedicated else None
    if name:
        return gettext("Default: the Dedicated Server %(name)s", name=name)
    return gettext("Chosen by the From address, as for other emails")


@blueprint.route("/new", methods=("GET", "POST"))
def new() -> ResponseReturnValue:
    """Show the editor with a start to build on, or make a mailing of it."""
    form = _form()
    if request.method == "POST":
        row = Mailing(created_by_id=current_user.id, created_at=now())
        return _save(form, row) or _editor(form, None)
    form.html.data = render_template("mail/starter.html")
    form.from_address.data = show_address(current_user.name, current_user.email)
    offered = form.lists.choices or []
    form.lists.data = [request.args.get("list", 0, type=int) or (offered[0][0] if len(offered) == 1 else 0)]
    return _editor(form, None)


@blueprint.route("/<int:mailing_id>/edit", methods=("GET", "POST"))
def edit(mailing_id: int) -> ResponseReturnValue:
    """Show the editor of a draft, or save it."""
    row = _mailing(mailing_id)
    if row.state != "draft":
        flash(gettext("Only drafts can be edited. Press Back to draft first, or duplicate this mailing."), "error")
        return redirect(url_for(".show", mailing_id=mailing_id))
    form = _form(row)
    if request.method == "POST":
        return _save(form, row) or _editor(form, row)
    return _editor(form, row)


def _save(form: MailingForm, row: Mailing) -> ResponseReturnValue | None:
    """Save what the editor says; None when a field has to be mended first."""
    if not form.validate():
        flash(gettext("Not saved: check the marked fields."), "error")
        return None
    is_new = row.id is None
    _fill(form, row)
    db.session.add(row)
    db.session.flush()
    Mailing.tell(row.id, now())
    db.session.commit()
    flash(gettext("Created.") if is_new else gettext("Saved."), "success")
    if request.form.get("_then") == "stay":
        return redirect(url_for(".edit", mailing_id=row.id))
    return redirect(url_for(".show", mailing_id=row.id))


def _fill(form: MailingForm, row: Mailing) -> None:
    row.subject, row.preview = form.subject.data or "", form.preview.data or ""
    row.from_address, row.reply_to = form.from_address.data or "", form.reply_to.data or ""
    row.html = (form.html.data or "").replace("\r\n", "\n")
    row.forced_server_id = form.server.data or None
    chosen = select(MailingList).where(MailingList.id.in_(form.lists.data or []))
    row.lists = list(db.session.scalars(chosen.order_by(MailingList.name)))


def _editor(form: MailingForm, row: Mailing | None) -> ResponseReturnValue:
    unsaved = _unsaved(form)
    return render_template(
        "pages/mailing_form.html",
        form=form,
        row=row,
        fields=[(INSERTED.get(name, f"{{{{ {name} }}}}"), label) for name, label in FIELDS.items()],
        **_checked(unsaved),
        **_words(),
    )


def _unsaved(form: MailingForm) -> Mailing:
    """A mailing as the editor shows it, which the database does not know."""
    with db.session.no_autoflush:
        row = Mailing(created_at=now())
        _fill(form, row)
        return row


# --- what becomes of it: errors, the From, the preview


SAMPLES = {
    "full": MailingRecipient(0, "ann.lee@example.com", "Ann Lee", "Example Ltd", "en"),
    "bare": MailingRecipient(0, "somebody@example.com"),
}


@dataclass(frozen=True)
class Mistake:
    """A merge field that can't be filled: the field of the editor it stands in, and its line."""

    field: str
    line: int
    words: str


def mistakes(row: Mailing) -> list[Mistake]:
    """Return the first mistake of each part of a mailing."""
    found = []
    parts = (("subject", "Subject", row.subject), ("preview", "Preview text", row.preview), ("html", "HTML", row.html))
    for field, name, source in parts:
        try:
            parse(source, name, FIELDS, in_html=field == "html")
        except MergeError as error:
            found.append(Mistake(field, error.why["values"].get("line", 1), say(error.why)))
    return found


def _checked(row: Mailing) -> dict[str, Any]:
    """What the editor says about a mailing while it is written."""
    decision = decide_for(row)
    wrong = mistakes(row)
    letter = None if wrong else _letter(row, decision)
    return {
        "mistakes": wrong,
        "decision": decision,
        "why_from": _why_from(decision),
        "subject_shown": letter.subject_for(SAMPLES["full"]) if letter else row.subject,
        "audience": mailing.audience(row) if row.lists else 0,
        "chosen": row.lists,
    }


def _why_from(decision: Decision) -> Why | None:
    """The step that says why the From stays or changes."""
    return next((step for step in decision.steps if step["code"].startswith("from_")), None)


def _letter(row: Mailing, decision: Decision) -> RenderedMailing | None:
    """The letter for looking at, even if nothing can send it yet; None for one that can't be made."""
    try:
        return compile_for(row, replace(decision, from_after=decision.from_after or "preview@example.com"))
    except MailError:
        return None


@blueprint.post("/check")
def check() -> ResponseReturnValue:
    """Answer what the editor's words amount to: errors with their lines, the From, the number of recipients."""
    return render_template("pages/mailing_check.html", **_checked(_unsaved(_form())), **_words())


@blueprint.post("/preview")
def preview() -> Response:
    """Answer the mail of a sample contact, made of what stands in the editor."""
    return _preview(_unsaved(_form()), request.form.get("as", "full"), request.form.get("part", "html"))


@blueprint.get("/<int:mailing_id>/body")
def body(mailing_id: int) -> Response:
    """Answer the mail of a sample contact, for the frame of a mailing's page."""
    return _preview(_mailing(mailing_id), request.args.get("as", "full"), request.args.get("part", "html"))


def _preview(row: Mailing, sample: str, part: str) -> Response:
    reader = SAMPLES.get(sample, SAMPLES["full"])
    letter = _letter(row, decide_for(row))
    if letter is None:
        wrong = mistakes(row)
        words = wrong[0].words if wrong else gettext("The email can't be shown: see the notes beside it.")
        answer = framed(f"<p style='padding:1rem'>{escape(words)}</p>")
    elif part == "text":
        answer = framed(f"<pre style='padding:1rem;margin:0'>{escape(letter.text_for(reader))}</pre>")
    else:
        answer = Response(_in_new_windows(letter.html_for(reader)), mimetype="text/html")
    answer.headers["Content-Security-Policy"] = POLICY_WITH_REMOTE
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _in_new_windows(html: str) -> str:
    """The HTML with links that leave the frame alone."""
    base = '<base target="_blank">'
    head = re.search(r"<head\b[^>]*>", html, re.IGNORECASE)
    return f"{html[: head.end()]}{base}{html[head.end() :]}" if head else f"{base}{html}"


# --- the page of one mailing


def _mailing(mailing_id: int) -> Mailing:
    query = select(Mailing).where(Mailing.id == mailing_id).options(selectinload(Mailing.lists))
    return db.session.scalar(query) or abort(404)


@blueprint.get("/<int:mailing_id>")
def show(mailing_id: int) -> ResponseReturnValue:
    """Show a mailing; ``?part=`` answers a part of the page alone, for a page that is open."""
    row = _mailing(mailing_id)
    part = request.args.get("part", "") if request.headers.get("X-Fragment") else ""
    match part:
        case "state":
            return render_template("pages/mailing_state.html", row=row, **_state_of(row), **_words())
        case "buttons":
            return render_template("pages/mailing_buttons.html", row=row, **_before_sending(row), **_words())
        case "traces":
            return render_template("pages/mailing_traces.html", row=row, **_traces(row), **_words())
    author = db.session.get(User, row.created_by_id) if row.created_by_id else None
    return render_template(
        "pages/mailing.html",
        row=row,
        author=author,
        decision=decide_for(row) if row.state == "draft" else Decision.from_json(row.decision or {}),
        server_gone=row.state not in ("draft", *FINISHED) and row.server_id is None and not _by_default(row),
        **_state_of(row),
        **_before_sending(row),
        **_traces(row),
        **_words(),
    )


def _by_default(row: Mailing) -> bool:
    return Decision.from_json(row.decision or {}).is_default_server


def _state_of(row: Mailing) -> dict[str, Any]:
    """How far a mailing is, how fast it goes, and why it does not."""
    moment = now()
    pace = Trace.pace(row.id, moment) if row.state == "sending" else 0.0
    left = row.queued + row.deferred
    waits = row.state == "sending" and row.next_try_at is not None and row.next_try_at > moment
    return {
        "waits": waits,
        "rate": _rate(pace) if pace and row.queued else "",
        "time_left": format_timedelta(timedelta(seconds=left / pace), threshold=1.1) if pace and row.queued else "",
        "final": row.total - left,
    }


def _rate(pace: float) -> str:
    if pace >= 1:
        return gettext("%(number)s per second", number=format_number(round(pace)))
    return gettext("%(number)s per minute", number=format_number(round(pace * 60)))


def _before_sending(row: Mailing) -> dict[str, Any]:
    """Who would get a mailing that has not begun, who is left out, and what has to be mended before."""
    if row.state not in ("draft", "scheduled"):
        return {"expected": Counter(), "problems": [], "warnings": [], "question": "", "mail_size": None}
    expected = mailing.expected(row)
    problems = mailing.problems(row) if row.state == "draft" else []
    recipients = expected[""]
    if not problems and not recipients and row.state == "draft":
        problems = [why("mailing_all_left_out")]
    question = ngettext(
        "Send this mailing to %(number)s recipient?",
        "Send this mailing to %(number)s recipients?",
        recipients,
        number=format_number(recipients),
    )
    if left_out := _left_out(expected):
        question += " " + gettext("Excluded: %(reasons)s.", reasons=left_out)
    return {
        "expected": expected,
        "left_out": [(label, expected[code]) for code, label in LEFT_OUT.items() if expected[code]],
        "problems": problems,
        "warnings": _warnings(),
        "question": question,
        "mail_size": _size(row) if not problems else None,
    }


def _left_out(expected: Counter[str]) -> str:
    said = (f"{format_number(expected[code])} {label}" for code, label in LEFT_OUT.items() if expected[code])
    return ", ".join(said)


def _warnings() -> list[str]:
    if parameters.COMPANY_ADDRESS.get():
        return []
    return [
        gettext(
            "Your company's postal address is not set. Many countries require it by law in every mailing; enter it "
            "under Email Marketing ‣ Settings."
        )
    ]


def _size(row: Mailing) -> int | None:
    letter = _letter(row, decide_for(row))
    return len(letter.mail_to(SAMPLES["full"], now())) if letter else None


def _traces(row: Mailing) -> dict[str, Any]:
    """One page of recipients: by keyset over the index of their state, or over that of all."""
    state, words = request.args.get("state", ""), request.args.get("search", "").strip()
    query = select(Trace).where(Trace.mailing_id == row.id).options(joinedload(Trace.contact))
    mark = Trace.id if state in PARTS else Trace.contact_id
    if state in PARTS:
        query = query.where(Trace.state == state)
    if words:
        contact = contacts.find(words)
        query = query.where(Trace.contact_id == (contact.id if contact else 0))
    if after := request.args.get("after", 0, type=int):
        query = query.where(mark > after)
    found = db.session.scalars(query.order_by(mark).limit(TRACES + 1)).all() if row.total else []
    more = len(found) > TRACES
    return {
        "traces": found[:TRACES],
        "further": getattr(found[TRACES - 1], mark.key) if more else None,
        "state_shown": state if state in PARTS else "",
        "search": words,
        "tabs": [(name, getattr(row, name)) for name in PARTS if getattr(row, name) > 0],
        "arguments": {name: value for name, value in request.args.to_dict().items() if name != "part"},
    }


# --- what people do with it


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
        at = _moment(request.form.get("at", ""))
        if at is None or at <= now():
            flash(gettext("Choose a time in the future, then press Schedule."), "error")
            return _back(mailing_id)
    try:
        mailing.send(_mailing(mailing_id).id, now(), at)
    except NotReady as error:
        _refused(error)
    else:
        flash(gettext("The mailing is scheduled.") if at else gettext("The mailing is being sent."), "success")
    return _back(mailing_id)


def _moment(text: str) -> datetime | None:
    """A time of a form, in the zone of who writes it."""
    try:
        return to_utc(datetime.fromisoformat(text.strip())).replace(tzinfo=UTC)
    except ValueError:
        return None


@blueprint.post("/<int:mailing_id>/draft")
def draft(mailing_id: int) -> ResponseReturnValue:
    """Take back a mailing that is scheduled."""
    try:
        mailing.back_to_draft(_mailing(mailing_id).id, now())
    except NotReady as error:
        _refused(error)
    else:
        flash(gettext("The mailing is a draft again; nothing was sent."), "success")
    return _back(mailing_id)


@blueprint.post("/<int:mailing_id>/pause")
def pause(mailing_id: int) -> ResponseReturnValue:
    """Send to nobody else for now."""
    if not mailing.pause(_mailing(mailing_id).id, now(), current_user):
        flash(gettext("This mailing was not being sent, so it can't be paused."), "error")
    return _back(mailing_id)


@blueprint.post("/<int:mailing_id>/resume")
def resume(mailing_id: int) -> ResponseReturnValue:
    """Go on with those who have not got it yet."""
    try:
        if not mailing.resume(_mailing(mailing_id).id, now()):
            flash(gettext("This mailing was not paused, so it can't be resumed."), "error")
    except NotReady as error:
        _refused(error)
    return _back(mailing_id)


@blueprint.post("/<int:mailing_id>/cancel")
def cancel(mailing_id: int) -> ResponseReturnValue:
    """End a mailing for good."""
    if not mailing.cancel(_mailing(mailing_id).id, now(), current_user):
        flash(gettext("This mailing has already ended, so it can't be cancelled."), "error")
    return _back(mailing_id)


@blueprint.post("/<int:mailing_id>/doubts")
def settle_doubts(mailing_id: int) -> ResponseReturnValue:
    """Send once more to recipients of whom nobody knows whether they got it, or leave it at that."""
    again, trace_id = request.form.get("what") == "again", request.form.get("trace", 0, type=int)
    try:
        settled = mailing.resolve_doubts(_mailing(mailing_id).id, again, now(), current_user, trace_id)
    except NotReady as error:
        _refused(error)
    else:
        if again:
            flash(ngettext("%(num)s email is sent again.", "%(num)s emails are sent again.", settled), "success")
        else:
            flash(
                ngettext("%(num)s email is not sent again.", "%(num)s emails are not sent again.", settled), "success"
            )
    return _back(mailing_id)


@blueprint.post("/<int:mailing_id>/duplicate")
def duplicate(mailing_id: int) -> ResponseReturnValue:
    """Make a new draft of the same words and lists."""
    row = _mailing(mailing_id)
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
    row = _mailing(mailing_id)
    address = first_address(request.form.get("address", ""))
    if address is None or normalise(address.address) is None:
        flash(gettext("Enter an email address for the test."), "error")
        return _back(mailing_id)
    decision = decide_for(row)
    try:
        letter = compile_for(row, decision)
    except MailError as error:
        flash(say(decision.failure or error.why), "error")
        return _back(mailing_id)
    if reason := broken_links(decision):
        flash(say(reason), "error")
        return _back(mailing_id)
    contact = contacts.find(address.address)
    reader = replace(SAMPLES["full"], address=address.address)
    if contact is not None:
        reader = MailingRecipient(0, address.address, contact.name, contact.company, contact.language)
    draft = OutgoingDraft(
        kind="test",
        author=row.from_address,
        subject=gettext("[Test] %(subject)s", subject=letter.subject_for(reader)),
        html=letter.html_for(reader),
        text=letter.text_for(reader),
        reply_to=row.reply_to,
        forced_server_id=row.forced_server_id or parameters.DEDICATED_SERVER.get() or None,
    )
    mail = enqueue.enqueue(draft, [To(address.address, address.name)], now())
    failure = _failure_of(mail)
    db.session.commit()
    wake()
    if failure:
        flash(say(failure), "error")
    else:
        flash(gettext("The test is being sent to %(address)s.", address=address.address), "success")
    return _back(mailing_id)


def _failure_of(mail: OutgoingMail) -> Why | None:
    line = db.session.scalar(select(Recipient).where(Recipient.mail_id == mail.id))
    return line.why if line is not None and line.state == "failed" else None  # type: ignore[return-value]
