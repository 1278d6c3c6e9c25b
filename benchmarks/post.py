"""A post to 10 followers: how long the person's click takes, and how long after it the last mail is accepted.

The whole product as it runs in an office: gunicorn, the worker, SQLite and then PostgreSQL, and Postfix's smtp-sink as
the receiver. The person posts by HTTP as a browser does: while nothing else happens; while 10,000 other emails wait for
another try through the same server, for a server that is silent, or for a limit; while 10,000 personal emails go out
through the same server; while a large mailing is queued, and while that is sent through the same server. Each is
compared with the first. Odoo 17 needs 0.11 s, with the person waiting.
Run: python -m benchmarks.post [posts] [recipients of the mailing]
"""

import contextlib
import http.cookiejar
import json
import re
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from benchmarks.common import NOISE_HEAD, Noise, child, durable_postgres, folder, machine, median, noise
from tests.servers.misbehaving import misbehaving, silent

POSTS, FOLLOWERS, RECIPIENTS, WAITING = 30, 10, 300_000, 10_000
OF_A_MAIL, SUBJECT = 50, "Waiting"  # recipients and subject of the emails that wait
GOAL_CLICK, GOAL_ACCEPTED, GOAL_BESIDE = 0.050, 0.11, 2.0  # seconds; the last one beside a mailing
PASSWORD = "a frog in the rain"
TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')


def main() -> None:
    posts = int(sys.argv[1]) if len(sys.argv) > 1 else POSTS
    recipients = int(sys.argv[2]) if len(sys.argv) > 2 else RECIPIENTS
    print(f"A post to {FOLLOWERS} followers, {posts} posts, a mailing to {recipients}, {machine()}")
    head = f"{'database':12}{'beside':10}{'click ms':>10}{'worst':>7}{'last mail accepted, ms after the click':>42}"
    print(f"{head}{'worst':>7}{'SQL':>5}{'÷ idle: click, last mail':>26}{NOISE_HEAD}")
    with durable_postgres() as postgres:
        for kind in ("sqlite", "postgresql"):
            with folder() as data:
                url = f"sqlite:///{data / 'office.db'}" if kind == "sqlite" else postgres.create_database()
                one_office(kind, url, posts, recipients)
    print(
        f"goals: click {GOAL_CLICK * 1000:.0f} ms, last mail {GOAL_ACCEPTED * 1000:.0f} ms after it, beside a mailing "
        f"{GOAL_BESIDE * 1000:.0f} ms; 10 statements"
    )


def one_office(kind: str, url: str, posts: int, recipients: int) -> None:
    from tests.servers.app import App
    from tests.servers.sink import SmtpSink

    app, sink, idle = App(url), SmtpSink(), (0.0, 0.0)
    try:
        app.flask("upgrade")
        app.flask("create-user", "clerk@office.test", input=f"{PASSWORD}\n")
        prepared = child("benchmarks.post", "prepare", str(sink.port), str(recipients), env=app.env)
        app.start()
        visitor = Visitor(app.url)
        visitor.post("/login", {"email": "clerk@office.test", "password": PASSWORD})
        page = f"/document/{prepared['document']}"
        visitor.post(f"{page}/posts", {"kind": "message", "words": "Warming up."})
        for beside in ("nothing", "waiting", "backlog", "queueing", "sending"):
            with noise() as others, waiting(app.env, beside) as waited:
                if beside == "queueing":
                    child("benchmarks.post", "mailing", "send", env=app.env)
                clicks = [
                    visitor.post(f"{page}/posts", {"kind": "message", "words": f"Post {n}."}) for n in range(posts)
                ]
                state = child("benchmarks.post", "mailing", "look", env=app.env)["state"]
                found = child("benchmarks.post", "results", json.dumps(clicks), env=app.env)
            idle = show(kind, beside, clicks, found, others, waited.get("said", state), idle)
            if beside == "queueing":
                child("benchmarks.post", "mailing", "wait", env=app.env)
    finally:
        app.close()
        sink.close()


def show(
    kind: str, beside: str, clicks: list[Any], found: dict[str, Any], others: Noise, state: str,
    idle: tuple[float, float],
) -> tuple[float, float]:  # fmt: skip
    """Print the line of one round, compared with the idle one; returns what the next is compared with."""
    took, accepted = [end - begin for begin, end in clicks], found["accepted"]
    idle = (median(took), median(accepted)) if beside == "nothing" else idle
    ratio = f"{median(took) / idle[0]:.2f}, {median(accepted) / max(idle[1], 0.001):.2f}"
    print(
        f"{kind:12}{beside:10}{median(took) * 1000:10.0f}{max(took) * 1000:7.0f}{median(accepted) * 1000:42.0f}"
        f"{max(accepted) * 1000:7.0f}{found['statements']:5.0f}{ratio:>26}{others}  {state}",
        flush=True,
    )
    return idle


@contextlib.contextmanager
def waiting(env: dict[str, str], beside: str) -> Iterator[dict[str, str]]:
    """Have other emails wait or go out, if that is wanted; say how many still did when the block ended."""
    waited: dict[str, str] = {}
    if beside not in ("waiting", "backlog"):
        yield waited
        return
    with misbehaving(silent) as port:
        child("benchmarks.post", beside, str(port), env=env)
        yield waited
        waited |= child("benchmarks.post", "waited", env=env)


class Visitor:
    """Somebody at a browser: cookies, and the token that forms carry."""

    def __init__(self, url: str) -> None:
        self.url = url
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.open = urllib.request.build_opener(cookies, urllib.request.ProxyHandler({}), Stay()).open
        self.token = ""

    def post(self, path: str, data: dict[str, str]) -> tuple[float, float]:
        """Send a form and return when it was sent and when the answer was there (seconds since 1970)."""
        page = self.open(self.url + ("/account" if self.token else "/login")).read().decode()
        found = TOKEN.search(page)
        self.token = found[1] if found else self.token
        body = urllib.parse.urlencode({**data, "csrf_token": self.token}).encode()
        began = time.time()
        status = self.open(self.url + path, body).status
        ended = time.time()
        if status != 302:
            raise SystemExit(f"{path} answered {status}")
        return began, ended


class Stay(urllib.request.HTTPRedirectHandler):
    """A redirect is the answer: the person's click is done."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: Any, headers: Any) -> Any:
        return fp

    http_error_301 = http_error_303 = http_error_307 = http_error_302


def prepare(port: int, recipients: int) -> None:
    """Make a document with followers, a server that leads to the sink, and the draft of a large mailing."""
    from benchmarks.w1 import draft
    from mail.documents import contacts, posts
    from mail.documents.documents import start_document
    from mail.settings.clock import now
    from models import DocumentType, OutgoingServer, db
    from scheduler import create_worker_app

    with create_worker_app().app_context():
        server = OutgoingServer(name="sink", host="127.0.0.1", port=port, encryption="none", authentication="none")
        db.session.add(server)
        type_ = db.session.query(DocumentType).filter_by(code="opportunity").one()
        document = start_document(type_, "Chairs", now())
        for number in range(FOLLOWERS):
            contact = contacts.find_or_make(f"follower{number}@customer.test", f"Follower {number}", now())
            posts.follow(document.thread_id, contact.id)
        draft(recipients, now())
        db.session.commit()
        print(json.dumps({"document": document.id}))


def others_wait(port: int) -> None:
    """Have emails wait: half for another try through the sink, the others for a silent server and for a limit."""
    from datetime import timedelta

    from sqlalchemy import select, update

    from mail.outgoing import enqueue
    from mail.outgoing import waiting as waits
    from mail.outgoing.enqueue import OutgoingDraft, To
    from mail.queue import quota
    from mail.settings import office
    from mail.settings.clock import now
    from models import OutgoingMail, OutgoingServer, Recipient, db
    from scheduler import create_worker_app

    with create_worker_app().app_context():
        moment, later = now(), now() + timedelta(minutes=30)
        for name, limit in (("silent", None), ("limited", 1)):
            given = {"host": "127.0.0.1", "port": port, "encryption": "none", "authentication": "none"}
            server = OutgoingServer(name=name, from_filter=f"{name}.test", per_day=limit, **given)
            db.session.add(server)
            db.session.flush()
            quota.reserve(server.id, 1, moment)
        db.session.commit()
        office.forget()
        for share, author in ((2, "a@office.test"), (4, "a@silent.test"), (4, "a@limited.test")):
            draft = OutgoingDraft(kind="test", author=author, subject=SUBJECT, html="<p>Hello</p>")
            numbers = range(0, WAITING // share, OF_A_MAIL)
            people = [[To(f"w{first + number}@waiting.test") for number in range(OF_A_MAIL)] for first in numbers]
            enqueue.enqueue_many([enqueue.prepare(draft, to, moment) for to in people], moment)
        again = select(OutgoingMail.id).where(OutgoingMail.author == "a@office.test", OutgoingMail.subject == SUBJECT)
        values = {"wait": "retry", "attempts": 4, "next_try_at": later}
        db.session.execute(update(Recipient).where(Recipient.mail_id.in_(again)).values(values))
        db.session.commit()  # not before: they must not go out
        while waits.wait_for_limit(quota.reserve(server.id, 20, moment), moment):
            pass
    print(json.dumps({}))


def others_go_out() -> None:
    """Have personal emails queued for the sink, as after an hour in which it was away."""
    from mail.outgoing import enqueue
    from mail.outgoing.enqueue import OutgoingDraft, To
    from mail.settings.clock import now
    from mail.settings.wake import wake
    from models import db
    from scheduler import create_worker_app

    with create_worker_app().app_context():
        draft = OutgoingDraft(kind="test", author="a@office.test", subject=SUBJECT, html="<p>Hello</p>")
        numbers = range(0, WAITING, OF_A_MAIL)
        people = [[To(f"b{first + number}@waiting.test") for number in range(OF_A_MAIL)] for first in numbers]
        enqueue.enqueue_many([enqueue.prepare(draft, to, now()) for to in people], now())
        db.session.commit()
        wake()
    print(json.dumps({}))


def others_are_gone() -> None:
    """Remove the emails that waited, and say how many still did."""
    from sqlalchemy import delete, func, select

    from models import OutgoingMail, OutgoingServer, Recipient, db
    from scheduler import create_worker_app

    with create_worker_app().app_context():
        still = select(func.count()).select_from(Recipient).join(OutgoingMail)
        still = still.where(OutgoingMail.subject == SUBJECT, Recipient.state.in_(("queued", "sending")))
        said = f"{db.session.scalar(still)} wait"
        going = still.where(OutgoingMail.author == "a@office.test", Recipient.wait == "")
        until = time.monotonic() + 120
        while db.session.scalar(going) and time.monotonic() < until:
            db.session.rollback()
            time.sleep(0.2)
        db.session.execute(delete(OutgoingMail).where(OutgoingMail.subject == SUBJECT))
        db.session.execute(delete(OutgoingServer).where(OutgoingServer.name != "sink"))
        db.session.commit()
    print(json.dumps({"said": said}))


def mailing(what: str) -> None:
    """Send the mailing, wait until all of it is queued, or only look; print how far it is."""
    from sqlalchemy import select

    from mail.mailing import mailing as mailings
    from mail.settings.clock import now
    from models import Mailing, db
    from scheduler import create_worker_app

    with create_worker_app().app_context():
        if what == "send":
            mailings.send(db.session.scalars(select(Mailing.id)).one(), now())
        until = time.monotonic() + 300
        while True:
            row = db.session.execute(select(Mailing.state, Mailing.prepared, Mailing.total, Mailing.sent)).one()
            db.session.rollback()
            if what != "wait" or row.prepared or time.monotonic() > until:
                break
            time.sleep(0.05)
    print(json.dumps({"state": f"{row.state}: {row.sent} of {row.total} sent"}))


def results(clicks: list[tuple[float, float]]) -> None:
    """Wait until all is out; print the seconds from each click to its last mail, and the statements of a post."""
    from sqlalchemy import event, func, select

    from mail.documents import posts
    from mail.settings.clock import now
    from models import Document, OutgoingMail, Recipient, User, db
    from scheduler import create_worker_app

    with create_worker_app().app_context():
        of_posts = (
            select(func.count()).select_from(Recipient).join(OutgoingMail).where(OutgoingMail.post_id.is_not(None))
        )
        waiting = of_posts.where(Recipient.state != "sent")
        until = time.monotonic() + 60
        while db.session.scalar(waiting) and time.monotonic() < until:
            db.session.rollback()
        query = (
            select(func.max(Recipient.sent_at))
            .join(OutgoingMail)
            .where(OutgoingMail.post_id.is_not(None))
            .group_by(OutgoingMail.id)
            .order_by(OutgoingMail.id)
        )
        sent = [moment.timestamp() for moment in db.session.scalars(query) if moment]
        accepted = [max(last - end, 0.0) for last, (_, end) in zip(sent[-len(clicks) :], clicks, strict=True)]
        user = db.session.query(User).one()
        document = db.session.query(Document).one()
        thread_id = document.thread_id
        db.session.commit()
        assert user.contact.name  # loaded by the log-in of the request, before the post begins
        statements = 0

        def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            nonlocal statements
            statements += not statement.startswith(("BEGIN", "PRAGMA", "SET TRANSACTION", "SELECT pg_notify"))

        event.listen(db.engine, "before_cursor_execute", count)
        posts.post_from_browser(user, thread_id, "<p>Counted.</p>", "message", [], now())
        print(json.dumps({"accepted": accepted, "statements": statements}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["prepare", port, recipients]:
            prepare(int(port), int(recipients))
        case ["waiting", port]:
            others_wait(int(port))
        case ["backlog", _]:
            others_go_out()
        case ["waited"]:
            others_are_gone()
        case ["mailing", what]:
            mailing(what)
        case ["results", clicks]:
            results(json.loads(clicks))
        case _:
            main()
