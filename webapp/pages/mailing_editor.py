"""The editor of a draft, and what it says while one writes: mistakes, the From, the preview."""

import re
from dataclasses import dataclass, replace
from typing import Any

from flask import Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_login import current_user
from markupsafe import escape

from mail.decide.sender import Decision
from mail.errors import MailError, MergeError
from mail.mailing import ready
from mail.mailing.merge_fields import FIELDS, parse
from mail.mailing.rendered import MailingRecipient, RenderedMailing, compile_for, decide_for
from mail.message.address import show_address
from mail.sentences import Why, say
from mail.settings.clock import now
from models import Mailing, db, only_read_on
from models.contact import MOST_COUNTED
from webapp import meanwhile
from webapp.pages.bodies import POLICY_WITH_REMOTE, framed
from webapp.pages.mailing_form import MailingForm, fill, mailing_form, unsaved
from webapp.pages.mailings import blueprint, find_mailing, page_words

# A merge field as the editor inserts it; the others stand for themselves.
INSERTED = {"contact.first_name": '{{ contact.first_name or "there" }}', "contact.name": '{{ contact.name or "you" }}'}


@blueprint.route("/new", methods=("GET", "POST"))
def new() -> ResponseReturnValue:
    """Show the editor with a start to build on, or make a mailing of it."""
    form = mailing_form()
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
    row = find_mailing(mailing_id)
    if row.state != "draft":
        flash(gettext("Only drafts can be edited. Press Back to draft first, or duplicate this mailing."), "error")
        return redirect(url_for(".show", mailing_id=mailing_id))
    form = mailing_form(row)
    if request.method == "POST":
        return _save(form, row) or _editor(form, row)
    return _editor(form, row)


def _save(form: MailingForm, row: Mailing) -> ResponseReturnValue | None:
    """Save what the editor says; None when a field has to be fixed first."""
    if not form.validate():
        flash(gettext("Not saved: check the marked fields."), "error")
        return None
    is_new = row.id is None
    if not is_new and not meanwhile.nothing_clashes(form):
        return None
    fill(form, row)
    db.session.add(row)
    db.session.flush()
    Mailing.tell(row.id, now())
    db.session.commit()
    flash(gettext("Created.") if is_new else gettext("Saved."), "success")
    if request.form.get("_then") == "stay":
        return redirect(url_for(".edit", mailing_id=row.id))
    return redirect(url_for(".show", mailing_id=row.id))


def _editor(form: MailingForm, row: Mailing | None) -> ResponseReturnValue:
    only_read_on()  # a large mailing is compiled here, to say what is wrong with it
    return render_template(
        "pages/mailing_form.html",
        form=form,
        row=row,
        loaded=meanwhile.loaded_marks(form) if row else "",
        fields=[(INSERTED.get(name, f"{{{{ {name} }}}}"), label) for name, label in FIELDS.items()],
        **_checked(unsaved(form)),
        **page_words(),
    )


# --- what becomes of it: errors, the From, the preview


SAMPLES = {
    "full": MailingRecipient(0, "ann.lee@example.com", "Ann Lee", "Example Ltd", "en"),
    "bare": MailingRecipient(0, "somebody@example.com"),
}


@dataclass(frozen=True)
class Mistake:
    """A merge field that can't be filled: the field of the editor it is in, and its line."""

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
    letter = None if wrong else letter_of(row, decision)
    audience = ready.audience(row) if row.lists else 0
    return {
        "mistakes": wrong,
        "decision": decision,
        "why_from": _why_from(decision),
        "subject_shown": letter.subject_for(SAMPLES["full"]) if letter else row.subject,
        "audience": audience,
        # Not for more than are counted here: the page of the mailing has the exact number.
        "forecast": ready.forecast_of(row, decision, audience, now()) if 0 < audience <= MOST_COUNTED else None,
        "chosen": row.lists,
    }


def _why_from(decision: Decision) -> Why | None:
    """The step that says why the From stays or changes."""
    return next((step for step in decision.steps if step["code"].startswith("from_")), None)


def letter_of(row: Mailing, decision: Decision) -> RenderedMailing | None:
    """Return the letter for looking at, even if nothing can send it yet; None for one that can't be made."""
    try:
        return compile_for(row, replace(decision, from_after=decision.from_after or "preview@example.com"))
    except MailError:
        return None


@blueprint.post("/check")
def check() -> ResponseReturnValue:
    """Answer what the editor's words amount to: errors with their lines, the From, the number of recipients."""
    return render_template("pages/mailing_check.html", **_checked(unsaved(mailing_form())), **page_words())


@blueprint.post("/preview")
def preview() -> Response:
    """Answer the mail of a sample contact, made of what is in the editor."""
    return _preview(unsaved(mailing_form()), request.form.get("as", "full"), request.form.get("part", "html"))


@blueprint.get("/<int:mailing_id>/body")
def body(mailing_id: int) -> Response:
    """Answer the mail of a sample contact, for the frame of a mailing's page."""
    return _preview(find_mailing(mailing_id), request.args.get("as", "full"), request.args.get("part", "html"))


def _preview(row: Mailing, sample: str, part: str) -> Response:
    reader = SAMPLES.get(sample, SAMPLES["full"])
    letter = letter_of(row, decide_for(row))
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
