"""The page of a document: writing within the limit of size, what is read, and a dead address that is corrected."""

import html
import io
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy

import pytest
from flask import Flask
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError

from mail.decide.failure import FailureKind
from mail.decide.outcomes import Bounced
from mail.decide.reported import About, Report, Reported
from mail.documents import contacts, posts
from mail.documents.documents import start_document
from mail.incoming import reports
from mail.outgoing.deliver import LineBatch
from mail.outgoing.lines import whole_mail
from mail.queue.lease import WorkerLease
from mail.settings import office, parameters
from mail.settings.clock import now
from mail.settings.tokens import TokenKind
from models import (
    AddressHealth,
    Attachment,
    Blob,
    Bounce,
    Contact,
    Document,
    DocumentType,
    Follower,
    MailingList,
    Notification,
    OutgoingMail,
    OutgoingServer,
    Post,
    Recipient,
    Subscription,
    SystemParameter,
    User,
    db,
)
from models.outgoing import claim
from tests.web import PASSWORD, Visitor, words
from webapp.pages import bodies
from webapp.pages.documents import files_of

AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


@pytest.fixture
def app(pages) -> Flask:
    """An office with a document of Gone, who is on a list, and whose first email failed."""
    with pages.app_context():
        gone = contacts.find_or_make("gone@x.test", "Gone", AT)
        type_ = db.session.scalar(select(DocumentType).where(DocumentType.code == "ticket"))
        document = start_document(type_, "Help", AT, sender="gone@x.test", contact_id=gone.id)
        db.session.add(Subscription(list=MailingList(name="News"), contact_id=gone.id, at=AT))
        db.session.commit()
        assert document.id == 1
    return pages


@pytest.fixture
def clerk(app) -> Visitor:
    return Visitor(app).as_role("user")


def write(visitor: Visitor, text: str = "Hello", *files: tuple[str, bytes], kind: str = "message", later: str = ""):
    attached = [(io.BytesIO(content), name) for name, content in files]
    given = {"words": text, "kind": kind, "later": later, "files": attached}
    return visitor.post("/document/1/posts", given, content_type="multipart/form-data")


# --- the files of a post


def test_each_picture_is_shown_in_the_text_or_listed():
    files = [
        Attachment(name=name, type=kind, cid=cid)
        for name, kind, cid in [
            ("first.png", "image/png", "same"),
            ("second.jpg", "image/JPG", "same"),
            ("paste.heic", "image/heic", "paste"),
            ("plan.pdf", "application/pdf", None),
        ]
    ]
    post = Post(html='<p><img data-cid="same"><img data-cid="paste"></p>', attachments=files)
    assert bodies.pictures(post) == {"same": files[1]}
    assert [file.name for file in files_of(post)] == ["first.png", "paste.heic", "plan.pdf"]


# --- the size of an email


def lead_nowhere() -> None:
    """Let emails leave this machine, whose pages nobody else can reach."""
    db.session.add(OutgoingServer(name="Provider", host="smtp.x.test"))
    parameters.put("web.base.url", "http://localhost:8000", AT)


@pytest.mark.parametrize(
    ("limit", "size", "taken"),
    [(1, 720_000, True), (1, 735_000, False), (2, 1_440_000, True), (2, 1_500_000, False), (0, 1, False)],
)
def test_a_post_is_measured_as_it_will_be_sent_before_anything_is_saved(app, clerk, limit, size, taken):
    with app.app_context():
        db.session.add(SystemParameter(key="mail.max_size", value=str(limit)))  # 0: of before there was a least one
        lead_nowhere()
        db.session.commit()
    answer = write(clerk, "Look at <this>", ("plan.pdf", b"x" * size), kind="note")
    assert answer.status_code == (302 if taken else 200)
    with app.app_context():
        kept = [db.session.scalar(select(func.count()).select_from(model)) for model in (Attachment, Blob)]
        assert kept == ([1, 1] if taken else [0, 0])
        failed = db.session.scalars(select(Recipient.state).where(Recipient.state == "failed")).all()
    assert failed == []
    if not taken:
        assert "as it is sent; at most" in words(answer) and ">Look at &lt;this&gt;</textarea>" in answer.text
        assert 'value="note" checked' in answer.text


def test_what_is_too_large_for_an_email_leaves_as_a_link(app, clerk):
    with app.app_context():
        parameters.put("mail.max_size", "1", AT)
        posts.follow(1, db.session.scalar(select(Contact.id).where(Contact.address_key == "gone@x.test")))
        db.session.commit()
    movie = bytes(range(256)) * 4_000
    leaves = datetime.now(UTC) + timedelta(days=60)
    files = ("small.txt", b"small"), ("Film ü.mp4", movie)
    assert write(clerk, "See", *files, later=f"{leaves:%Y-%m-%dT%H:%M}").status_code == 302
    page = words(clerk.get("/document/1"))
    assert "small.txt" in page and page.count("sent as a link") == 1
    with app.app_context():
        mail = db.session.scalars(select(OutgoingMail)).one()
        content = message_from_bytes(Blob.read(mail.content_blob_id), policy=policy.default)
        number = db.session.scalar(select(Attachment.link_id).where(Attachment.name == "Film ü.mp4"))
        expired = office.tokens().make(TokenKind.DOWNLOAD, number, now())
        other = office.tokens().make(TokenKind.DOWNLOAD, number + 1, now() + timedelta(days=1))
        works = re.search(r"/d/([a-z2-7]+)", content.get_body(("plain",)).get_content())[1]
        assert office.tokens().read(works, leaves + timedelta(days=29)), "30 days from when the email leaves"
    assert mail.size < 20_000 and [part.get_filename() for part in content.iter_attachments()] == ["small.txt"]
    text, html_part = (content.get_body((kind,)).get_content() for kind in ("plain", "html"))
    (link,) = re.findall(r"/d/[a-z2-7]+", text)
    assert link in html_part and "“Film ü.mp4” (1.0 MB) is too large for an email." in text
    stranger = app.test_client()
    page = stranger.get(link)
    assert "Film ü.mp4" in page.text and page.headers["X-Robots-Tag"] == "noindex, nofollow"
    answer = stranger.get(f"{link}/file")
    assert answer.data == movie and answer.headers["Content-Length"] == str(len(movie))
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''Film%20%C3%BC.mp4"
    assert answer.mimetype == "application/octet-stream" and "sandbox" in answer.headers["Content-Security-Policy"]
    for wrong in (f"/d/{expired}", f"/d/{other}", link[:-1], link[:-2] + ("bb" if link.endswith("aa") else "aa")):
        assert stranger.get(wrong).status_code == 404 and "no longer works" in stranger.get(wrong).text
        assert stranger.get(f"{wrong}/file").status_code == 303


def test_a_large_file_of_a_note_is_for_those_who_log_in(app, clerk):
    Visitor(app).as_role("admin")
    with app.app_context():
        parameters.put("mail.max_size", "1", AT)
        db.session.execute(update(User).values(notify="mail"))
        posts.follow(1, db.session.scalar(select(User.contact_id).where(User.email != "user@home.test").limit(1)))
        db.session.commit()
    movie = bytes(range(256)) * 4_000
    assert write(clerk, "Between us", ("film.mp4", movie), kind="note").status_code == 302
    with app.app_context():
        content = Blob.read(db.session.scalars(select(OutgoingMail)).one().content_blob_id)
        text = message_from_bytes(content, policy=policy.default).get_body(("plain",)).get_content()
        number = db.session.scalar(select(Attachment.link_id))
        made_up = office.tokens().make(TokenKind.DOWNLOAD, number, now() + timedelta(days=1))
    (link,) = re.findall(r"/attachments/linked/\d+", text)
    assert "/d/" not in text and "Log in to download it: http" in text
    stranger = app.test_client()
    assert stranger.get(link).status_code == 302 and stranger.get(f"/d/{made_up}").status_code == 404
    assert clerk.get(link).data == movie and clerk.get(link[:-3]).status_code == 404


def test_a_text_that_is_too_long_is_not_called_a_file(app, clerk):
    with app.app_context():
        parameters.put("mail.max_size", "1", AT)
        db.session.commit()
    page = words(write(clerk, "word " * 120_000))
    assert "This email would be" in page and "Shorten your text" in page and "files" not in page.partition("1 MB")[0]


def test_the_page_knows_the_limit(app, clerk):
    assert 'data-most="25000000"' in clerk.get("/document/1").text


# --- a session that ended while somebody wrote

LETTER = "Dear Ann,\r\nthe chairs come on <Monday>."


def test_a_letter_outlives_the_end_of_its_session(app, clerk):
    clerk.post("/logout")
    page = write(clerk, LETTER, ("plan.pdf", b"%PDF"), kind="note")
    assert (page.status_code, page.headers["Cache-Control"]) == (403, "no-store")
    assert "You are no longer logged in" in words(page)
    assert html.escape(LETTER, quote=False).split("\r\n")[1] in page.text
    assert 'name="kind" value="note"' in page.text and 'type="file"' in page.text
    again = {"words": LETTER, "kind": "note", "log_in_again_email": "user@home.test"}
    wrong = clerk.post("/document/1/posts", again | {"log_in_again_password": "a wrong one"})
    assert wrong.status_code == 403 and "Incorrect email address or password" in words(wrong)
    assert "a wrong one" not in wrong.text and "the chairs come" in wrong.text
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(Post).where(Post.kind == "note")) == 0
    done = clerk.post("/document/1/posts", again | {"log_in_again_password": PASSWORD})
    assert (done.status_code, done.location) == (302, "/document/1#chatter")
    with app.app_context():
        post = db.session.scalars(select(Post).where(Post.kind == "note")).one()
        assert post.author.name == "User" and "the chairs come on <Monday>." in html.unescape(post.html)
    assert clerk.get("/document/1").status_code == 200


# --- what is read


@pytest.fixture
def told(app, clerk) -> int:
    """The number of a notice that waits for the clerk."""
    with app.app_context():
        user = db.session.scalar(select(User))
        user.notify = "inbox"
        posts.follow(1, user.contact_id)
        db.session.commit()
        other = db.session.scalar(select(Contact).where(Contact.address_key == "gone@x.test"))
        posts.add_posts([draft := posts.PostDraft(1, "message", AT, text="x", author_contact_id=other.id)], AT)
        db.session.add(Notification(post_id=draft.id, user_id=user.id, kind="post", at=AT))
        db.session.commit()
        return db.session.scalar(select(Notification.id))


def is_read(app: Flask, number: int) -> bool:
    with app.app_context():
        return db.session.get(Notification, number).read_at is not None


def test_a_page_asks_for_what_it_shows_to_be_marked_as_read_and_no_get_does(app, clerk, told):
    page = clerk.get("/document/1").text
    assert 'data-unread="/document/1/read"' in page and not is_read(app, told)
    assert clerk.post("/document/1/read").status_code == 204
    assert is_read(app, told)
    assert "data-unread" not in clerk.get("/document/1").text
    assert Visitor(app).client.post("/document/1/read").status_code == 400


def test_who_answers_has_read_it_and_both_are_saved_or_nothing_is(app, clerk, told, monkeypatch):
    def fail(*_):
        raise OperationalError("UPDATE", {}, sqlite3.OperationalError("disk I/O error"))

    with monkeypatch.context() as broken:
        broken.setattr(posts, "mark_read", fail)
        assert "Nothing was saved" in write(clerk).text
    write(clerk)
    assert is_read(app, told)
    with app.app_context():
        user = db.session.scalar(select(User))
        assert len(db.session.scalars(select(Post.id).where(Post.author_contact_id == user.contact_id)).all()) == 1


# --- a dead address


@pytest.fixture
def failed(app, clerk) -> int:
    write(clerk)
    with app.app_context():
        db.session.execute(update(Recipient).values(state="failed"))
        db.session.commit()
        return db.session.scalar(select(Recipient.id))


def correct(visitor: Visitor, line: int, address: str, what: str = ""):
    return visitor.post(f"/lines/{line}/correct", {"address": address, "what": what}, follow_redirects=True)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "is not an email address"),
        ("nobody", "is not an email address"),
        ("right@", "is not an email address"),
        ("right@@x.test", "is not an email address"),
        ("right@x.test, left@x.test", "is not an email address"),
        ("right@x.test; left@x.test", "is not an email address"),
        ("right@x.test left@x.test", "is not an email address"),
        ("right@x.test\r\nBcc: left@x.test", "is not an email address"),
        ("Ann Lee <right@x.test>", "Enter the address alone, without a name: right@x.test"),
        ('"Lee, Ann" <right@x.test>', "Enter the address alone, without a name: right@x.test"),
        ("Ann Lee right@x.test", "Enter the address alone, without a name: right@x.test"),
        ("right@x.test (Ann)", "Enter the address alone, without a name: right@x.test"),
        ("gone@x.test", "is the address that failed"),
        (" GONE@X.TEST ", "is the address that failed"),
        ("<gone@x.test>", "is the address that failed"),
        ("mailto:gone@x.test", "is the address that failed"),
        ("catchall@office.test", "is one of our own addresses"),
        ("x" * 400 + "@x.test", "is not an email address"),
    ],
)
def test_only_another_address_is_taken_and_what_was_typed_stays(app, clerk, failed, address, said):
    answer = correct(clerk, failed, address, "everywhere")
    assert said in words(answer)
    assert html.escape(address, quote=False).split("\r")[0][:40] in answer.text.replace("&#34;", '"')
    with app.app_context():
        line = db.session.get(Recipient, failed)
        assert (line.address, line.state) == ("gone@x.test", "failed")
        assert contacts.find("gone@x.test") is not None


@pytest.mark.parametrize("given", ["right@x.test", " Right@X.test ", "<right@x.test>", "mailto:right@x.test"])
def test_a_correction_is_asked_once_and_reaches_everything(app, clerk, failed, given):
    asked = correct(clerk, failed, given)
    assert "who follows 1 document and is subscribed to 1 mailing list" in words(asked)
    with app.app_context():
        assert db.session.get(Recipient, failed).state == "failed"
    assert "The address was changed from gone@x.test to" in words(correct(clerk, failed, given, "everywhere"))
    with app.app_context():
        line, contact = db.session.get(Recipient, failed), contacts.find("right@x.test")
        assert (line.address_key, line.state, contact.name) == ("right@x.test", "queued", "Gone")
        assert contacts.find("gone@x.test") is None
    write(clerk, "again")
    with app.app_context():
        last = db.session.scalar(select(Recipient).order_by(Recipient.id.desc()).limit(1))
        assert last.address_key == "right@x.test"


def test_a_correction_says_who_made_it_and_keeps_no_capital_in_the_domain(app, clerk, failed):
    correct(clerk, failed, "Right@X.Test", "everywhere")
    assert "User changed the address from gone@x.test to Right@x.test" in words(clerk.get("/document/1"))
    with app.app_context():
        contact = contacts.find("right@x.test")
        assert (db.session.get(Recipient, failed).address, contact.address) == ("Right@x.test", "Right@x.test")
        log = db.session.scalars(select(Post.why).where(Post.thread_id == contact.thread_id).order_by(Post.id)).all()
        assert log[-1]["values"]["who"] == "User"


def bounce(line: int, address: str) -> None:
    token = office.tokens().make(TokenKind.LINE_BOUNCE, line)
    report = Report(About.BOUNCE, (Reported(address, FailureKind.HARD, "5.1.1", "no such user"),))
    reports.record(Bounced(report, None, token), None, datetime.now(UTC))


def test_a_late_report_about_the_dead_address_says_nothing_about_the_right_one(app, clerk, failed):
    correct(clerk, failed, "right@x.test", "email")
    with app.app_context():
        for address in ("gone@x.test", "gone@x.test", "right@x.test"):
            bounce(failed, address)
            db.session.expire_all()
            line = db.session.get(Recipient, failed)
            assert line.state == ("queued" if address == "gone@x.test" else "bounced")
        assert dict(db.session.execute(select(AddressHealth.address_key, AddressHealth.bounces)).all()) == {
            "gone@x.test": 1, "right@x.test": 1,
        }  # fmt: skip
        kept = select(Bounce.address_key, Bounce.counted).order_by(Bounce.id)
        assert db.session.execute(kept).all() == [
            ("gone@x.test", True), ("gone@x.test", False), ("right@x.test", True),
        ]  # fmt: skip
        db.session.commit()
    correct(clerk, failed, "third@x.test", "email")
    with app.app_context():
        bounce(failed, "third@x.test")
        bounce(failed, "third@x.test")
        assert db.session.get(AddressHealth, "third@x.test").bounces == 1, "each address that the line had counts once"


def date_of(line: Recipient) -> datetime:
    return message_from_bytes(whole_mail(line.id), policy=policy.default)["Date"].datetime


def test_a_message_leaves_at_the_time_that_its_author_chose(app, clerk):
    for wrong in ("3000-01-01T10:00", "2020-01-01T10:00"):
        refused = write(clerk, "See you tomorrow", later=wrong)
        assert "Choose a time within the next year" in words(refused)
    assert "See you tomorrow" in refused.text and 'value="2020-01-01T10:00"' in refused.text
    later = (datetime.now(UTC) + timedelta(days=2)).replace(second=0, microsecond=0)
    write(clerk, "See you tomorrow", later=f"{later:%Y-%m-%dT%H:%M}")
    with app.app_context():
        (line,) = db.session.scalars(select(Recipient))
        assert (line.state, line.wait, line.next_try_at, line.mail.scheduled_at) == ("queued", "schedule", later, later)
        assert date_of(line) == later
        post_id = line.mail.post_id
    assert "The email is scheduled for" in words(clerk.get("/document/1"))
    admin = Visitor(app).as_role("admin")
    listed = admin.get("/admin/outgoing-mails/")
    assert "Scheduled for" in words(listed)
    assert listed.text.count("wrap-column") == 1, "the address may break; without a reason there is nothing to wrap"
    clerk.post(f"/posts/{post_id}/cancel")
    page = words(clerk.get("/document/1"))
    assert "The email is scheduled for" not in page and "Cancelled" in page
    early = words(clerk.post(f"/posts/{post_id}/send-now", follow_redirects=True))
    assert "no longer waits for its time" in early, "nobody sends what somebody has cancelled"
    with app.app_context():
        db.session.execute(update(Recipient).values(state="queued", wait="schedule", next_try_at=later))
        db.session.commit()
    assert "Send now" in words(admin.get("/admin/outgoing-mails/details?id=1"))
    assert "The email is being sent" in words(clerk.post(f"/posts/{post_id}/send-now", follow_redirects=True))
    many = {"action": "send_now", "rowid": "1"}
    assert "skipped: it does not wait" in words(admin.post("/admin/outgoing-mails/action", many, follow_redirects=True))
    with app.app_context():
        (line,) = db.session.scalars(select(Recipient))
        assert (line.state, line.wait) == ("queued", "") and line.next_try_at <= datetime.now(UTC)
        assert date_of(line) == line.next_try_at.replace(microsecond=0)
        worker = WorkerLease.register(datetime.now(UTC))
        (claimed,) = claim(worker.id, line.server_id, datetime.now(UTC), 5)
        sent = message_from_bytes(LineBatch(0, [claimed], worker, None).compose(claimed).content, policy=policy.default)
        assert sent["Date"].datetime == claimed.first_try_at.replace(microsecond=0)
    write(clerk, "A note", kind="note", later="2020-01-01T10:00")
    assert "A note" in words(clerk.get("/document/1")), "a note goes to nobody later"


def test_a_cancelled_email_is_not_due(app, clerk):
    write(clerk)
    soon = datetime.now(UTC) + timedelta(seconds=43)
    with app.app_context():
        number = db.session.scalar(update(Recipient).values(next_try_at=soon).returning(Recipient.id))
        db.session.commit()
    clerk.post(f"/lines/{number}/cancel")
    admin = Visitor(app).as_role("admin")
    page = words(admin.get("/admin/outgoing-mails/"))
    assert "Cancelled" in page and not re.search(r"\bin \d+ second", page)
    again = words(
        admin.post("/admin/outgoing-mails/action", {"action": "cancel", "rowid": number}, follow_redirects=True)
    )
    assert "1 email was skipped: it no longer waits" in again and "cancelled." not in again


def test_only_this_email_leaves_the_contact(app, clerk, failed):
    correct(clerk, failed, "right@x.test", "email")
    with app.app_context():
        assert db.session.get(Recipient, failed).address == "right@x.test"
        assert contacts.find("gone@x.test") is not None and contacts.find("right@x.test") is None


def test_what_still_waits_for_the_dead_address_goes_to_the_right_one(app, clerk, failed):
    write(clerk, "second")
    correct(clerk, failed, "right@x.test", "everywhere")
    with app.app_context():
        assert set(db.session.scalars(select(Recipient.address_key))) == {"right@x.test"}


def test_another_contact_with_the_right_address_takes_the_place(app, clerk, failed):
    with app.app_context():
        right = contacts.find_or_make("right@x.test", "Right", AT)
        posts.follow(1, right.id)
        db.session.commit()
        right_id = right.id
    assert "“Right” takes over the documents and lists" in words(correct(clerk, failed, "right@x.test"))
    correct(clerk, failed, "right@x.test", "everywhere")
    with app.app_context():
        assert contacts.find("gone@x.test").active is False
        assert db.session.get(Document, 1).contact_id == right_id
        assert db.session.scalars(select(Subscription.contact_id)).all() == [right_id]
        followers = db.session.scalars(select(Contact.name).join(Follower, Follower.contact_id == Contact.id)).all()
        assert sorted(followers) == ["Right", "User"]


def test_the_address_of_a_colleague_is_for_admins(app, clerk, failed):
    other = Visitor(app).as_role("marketing")
    with app.app_context():
        contact_id = db.session.scalar(select(User.contact_id).where(User.role == "marketing"))
        address = {"address": "marketing@home.test", "address_key": "marketing@home.test"}
        db.session.execute(update(Recipient).values(contact_id=contact_id, **address))
        db.session.commit()
    assert "has an account here" in words(correct(clerk, failed, "right@x.test"))
    assert "has an account here" in words(correct(other, failed, "right@x.test", "everywhere"))
    admin = Visitor(app).as_role("admin")
    correct(admin, failed, "right@x.test", "everywhere")
    with app.app_context():
        assert contacts.find("right@x.test").id == contact_id


@pytest.mark.parametrize("state", ["queued", "sending", "sent", "cancelled"])
def test_what_did_not_fail_is_not_corrected(app, clerk, failed, state):
    with app.app_context():
        db.session.execute(update(Recipient).values(state=state))
        db.session.commit()
    assert "Wait for its result" in words(correct(clerk, failed, "right@x.test", "everywhere"))


# --- one person in a field


@pytest.mark.parametrize("text", ["a@x.test, b@x.test", "a@x.test; b@x.test", "Ann <a@x.test>; Bob <b@x.test>"])
def test_a_field_for_one_person_drops_nobody_without_a_word(app, clerk, text):
    answer = clerk.post("/documents/ticket/new", {"title": "Two", "customer": text})
    assert "Enter one person only" in words(answer) and html.escape(text) in answer.text
    answer = clerk.post("/document/1/follow", {"address": text}, follow_redirects=True)
    assert "Enter one person only" in words(answer)
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(Document)) == 1
        assert db.session.scalar(select(func.count()).select_from(Post).where(Post.kind == "message")) == 0


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"title": " "}, "Enter a title"),
        ({"title": "x" * 501}, "The title has 501 characters; at most 500 are possible"),
        ({"title": "Chairs", "customer": "ann"}, "“ann” is not an email address"),
        ({"title": "Chairs", "customer": "sales@office.test"}, "is one of our own addresses"),
    ],
)
def test_a_document_that_cannot_be_opened_says_why_and_keeps_what_was_typed(app, clerk, typed, said):
    answer = clerk.post("/documents/ticket/new", typed)
    assert said in words(answer)
    assert all(html.escape(text) in answer.text for text in typed.values())
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(Document)) == 1


def test_a_title_is_not_cut_without_a_word(app, clerk):
    assert "at most 500" in words(clerk.post("/document/1", {"title": "x" * 501}, follow_redirects=True))
    with app.app_context():
        assert len(db.session.get_one(Document, 1).title) < 100


def test_two_windows_on_a_document_undo_nothing(app, clerk):
    loaded = {"title_was": "Help", "title": "Help", "responsible_was": "0", "priority_was": "0", "priority": "0"}
    page = clerk.get("/document/1").text
    assert all(f'name="{name}" value="{loaded[name]}"' in page for name in loaded if "_" in name)
    clerk.post("/document/1", {**loaded, "title": "Help with a chair", "responsible": "0"})
    clerk.post("/document/1", {**loaded, "responsible": "1"})
    with app.app_context():
        document = db.session.get_one(Document, 1)
        assert (document.title, document.responsible_id) == ("Help with a chair", 1)


# --- the inbox, and the zone


def test_an_inbox_does_not_end_without_a_word(app, clerk, told, monkeypatch):
    monkeypatch.setattr("webapp.pages.inbox.MOST", 3)
    with app.app_context():
        user_id = db.session.scalar(select(User.id))
        drafts = [posts.PostDraft(1, "message", AT, text=f"No. {number}") for number in range(6)]
        posts.add_posts(drafts, AT)
        db.session.add_all([Notification(post_id=one.id, user_id=user_id, kind="post", at=AT) for one in drafts])
        db.session.commit()
    seen, path = [], "/inbox"
    while path:
        page = clerk.get(path).text
        seen += re.findall(r"/inbox/(\d+)/open", page)
        found = re.search(r'rel="next" href="([^"]+)"', page)
        path = html.unescape(found[1]) if found else ""
    assert len(seen) == len(set(seen)) == 7


@pytest.mark.parametrize(
    ("before", "given", "kept"),
    [
        ("UTC", "America/New_York", "America/New_York"),
        ("Europe/Madrid", "America/New_York", "Europe/Madrid"),
        ("UTC", "Mars/Phobos", "UTC"),
        ("UTC", "", "UTC"),
    ],
)
def test_the_zone_of_the_browser_is_taken_once(app, clerk, before, given, kept):
    with app.app_context():
        db.session.execute(update(User).values(zone=before))
        db.session.commit()
    assert ("zone-wanted" in clerk.get("/inbox").text) is (before == "UTC")
    assert clerk.post("/account/zone", {"zone": given}).status_code == 204
    with app.app_context():
        assert db.session.scalar(select(User.zone)) == kept
    assert ("New York time" in words(clerk.get("/inbox"))) is (kept == "America/New_York")
