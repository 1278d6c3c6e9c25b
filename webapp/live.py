"""Pages that stay true while they are open: they ask what changed, and fetch only that.

Every two seconds, and every 0.4 seconds on the page of a document: docs/decisions/0083.

A page marks a part with ``data-live="thread:12 mailing:3" data-live-url="/…"``; static/js/live.js does the rest.
"""

from datetime import timedelta

from flask import Blueprint, Response, jsonify, render_template, request
from flask_login import login_required
from sqlalchemy import func, select

from mail.settings import office, rehearsal
from mail.settings.clock import now
from models import Event, db
from webapp.pages import receiving

MOST = 500  # events in one answer; a page that was hidden for long is told to fetch everything
LATE = timedelta(seconds=10)  # how long a transaction may take between taking its id and its commit
LATE_IDS = 200

blueprint = Blueprint("live", __name__)


@blueprint.get("/banner")
@login_required
def banner() -> str:
    """Answer what stands above every page, for a page that was open when a server began to send."""
    return render_template(
        "parts/banner.html",
        sender=office.sends_through(),
        rehearsed=rehearsal.current(),
        closed=receiving.closed_listeners(),
    )


def last_event() -> int:
    """Return the id that a page which is rendered now has to ask after."""
    return db.session.scalar(select(func.max(Event.id))) or 0


@blueprint.get("/events")
@login_required
def events() -> Response:
    """Answer what happened after an event: ``{"after": id, "events": [[id, topic], …]}``, or ``"all": true``."""
    after = request.args.get("after", 0, type=int)
    # On PostgreSQL ids are given before the commit: a lower one may appear late, so we look back; the page skips twins.
    back = 0 if db.engine.dialect.name == "sqlite" else LATE_IDS
    rows = db.session.execute(
        select(Event.id, Event.topic, Event.at).where(Event.id > after - back).order_by(Event.id).limit(MOST + back)
    ).all()
    recently = now() - LATE
    told = [[row.id, row.topic] for row in rows if row.id > after or row.at > recently]
    newest = max((row.id for row in rows), default=after)
    answer = jsonify(after=max(after, newest), events=told, all=len(rows) >= MOST + back)
    answer.headers["Cache-Control"] = "no-store"
    return answer
