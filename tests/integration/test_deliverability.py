"""Deliverability: which domains and servers are checked, what is kept and told, and what the pages say."""

import re
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from mail.decide.deliverability import Judgement, ServerVerdict, judge
from mail.decide.verdicts import Verdict, txt_record
from mail.deliverability import checks, senders, signing_keys
from mail.dns_answers import DnsAnswer, Question
from mail.maintenance import cleanup
from mail.sentences import why
from mail.settings import office, parameters
from models import DkimKeyPair, DomainReport, Notification, OfficeDomain, OutgoingServer, ServerCheck, db
from tests.web import Visitor, words

NOW = datetime(2026, 11, 28, 5, 0, tzinfo=UTC)
FOUND = DnsAnswer("found", ("v=spf1 -all",), 300, (), "192.0.2.53: NOERROR")
SILENT = DnsAnswer("silent", said="192.0.2.53: no response")
ADDED = txt_record("acme.test", "v=spf1 ip4:192.0.2.1 -all", ["v=spf1 -all"])


@pytest.fixture
def app(pages) -> Flask:
    return pages


def server(name: str, **values) -> int:
    """Add an outgoing server; the caller has a context."""
    row = OutgoingServer(**{"name": name, "host": f"{name}.example", "from_filter": "acme.test"} | values)
    db.session.add(row)
    db.session.commit()
    office.forget()
    return row.id


def verdict(about: str, state: str = "good", record=None) -> Verdict:
    said = why("dns_silent", name="acme.test", said="192.0.2.53") if state == "unknown" else why("dns_checked")
    return Verdict(about, state, (said,), record)  # type: ignore[arg-type]


def judged(server_id: int = 1, *, spf: str = "good", dmarc: str = "good", answer: DnsAnswer = FOUND) -> Judgement:
    own = ServerVerdict(server_id, "daily", verdict("spf", spf), verdict("passes", spf))
    return Judgement(
        domain="acme.test",
        spf=verdict("spf", spf, ADDED if spf == "bad" else None),
        dmarc=verdict("dmarc", dmarc),
        mx=verdict("mx"),
        dkim=(),
        servers=(own,),
        nameservers=("ada.ns.cloudflare.com", "bob.ns.cloudflare.com"),
        asked=((Question("acme.test", "TXT"), answer),),
        open=(),
    )


# --- which domains, and which servers


@pytest.mark.parametrize(
    ("settings", "filters", "domains"),
    [
        ({}, [], []),  # nobody owns the domain that every office starts with
        ({"mail.catchall.domain": "acme.test"}, [], ["acme.test"]),
        ({"mail.catchall.domain": "acme.test", "mail.default.from": "hi@mail.test"}, [], ["acme.test", "mail.test"]),
        ({}, ["news.test, ann@home.test", "", ","], ["news.test", "home.test"]),
        ({"mail.default.from_filter": "shop.test"}, [], ["shop.test"]),
    ],
)
def test_every_domain_that_emails_come_from_is_checked(app, settings, filters, domains):
    with app.app_context():
        for key, value in settings.items():
            parameters.put(key, value, NOW)
        for number, text in enumerate(filters):
            server(f"s{number}", from_filter=text)
        office.forget()
        assert senders.sending_domains() == domains
        db.session.add(OfficeDomain(name="Second.test", name_key="second.test"))
        db.session.commit()
        office.forget()
        assert set(senders.sending_domains()) == {*domains, "second.test"}


def test_the_servers_of_a_domain_are_those_that_send_as_it(app):
    with app.app_context():
        parameters.put("mail.catchall.domain", "acme.test", NOW)
        parameters.put("mail.default.from", "notifications", NOW)
        both = server("both", from_filter="acme.test, other.test")
        one = server("one", from_filter="ann@acme.test", host="smtp.gmail.com")
        draft = server("draft", from_filter="", active=False, draft=True)
        server("off", active=False)
        server("other", from_filter="other.test")
        found = {one.id: one for one in senders.sending_domain("acme.test").servers}
        assert list(found) == [both, one, draft]
        assert (found[both].from_address, found[both].envelope_sender) == (
            "notifications@acme.test",
            "bounce@acme.test",
        )
        assert (found[one].from_address, found[one].envelope_sender) == ("ann@acme.test", "ann@acme.test")
        assert (found[one].include, found[one].signs, found[one].selectors) == (
            "_spf.google.com",
            "itself",
            ("google",),
        )
        assert (found[both].include, found[both].signs) == ("", "nobody")


def test_the_default_server_counts_while_it_sends(database, tmp_path):
    from tests.web import web_app

    app = web_app(database, tmp_path, MAIL_SERVER="smtp.postmarkapp.com", MAIL_DEFAULT_FROM_FILTER="acme.test")
    with app.app_context():
        parameters.put("mail.catchall.domain", "acme.test", NOW)
        db.session.commit()
        office.forget()
        found = senders.sending_domain("acme.test").servers
        assert [(one.id, one.host, one.return_path) for one in found] == [
            (None, "smtp.postmarkapp.com", "pm.mtasv.net")
        ]
        parameters.put("mail.default.sends_from", "ip4:203.0.113.7", NOW)
        assert senders.sending_domain("acme.test").servers[0].addresses == ("203.0.113.7",)
        with pytest.raises(parameters.NotValid, match="is not a public address"):
            parameters.put("mail.default.sends_from", "192.168.1.1", NOW)
        server("own")
        assert [one.id for one in senders.sending_domain("acme.test").servers] == [1]
        db.engine.dispose()


def test_where_a_server_sends_from_is_what_an_admin_says_whoever_runs_its_host(app, admin):
    with app.app_context():
        number = server("google", host="smtp.gmail.com")
    path = f"/admin/outgoing-servers/edit?id={number}"
    form = {"name": "google", "host": "smtp.gmail.com", "port": "587", "encryption": "starttls", "priority": "10",
            "authentication": "none", "from_filter": "acme.test", "active": "y"}  # fmt: skip
    assert "10.0.0.8 is not a public address." in words(admin.post(path, data=form | {"sends_from": "10.0.0.8"}))
    for typed, found in (
        (" 203.0.113.7, 203.0.113.8 ", ("", ("203.0.113.7", "203.0.113.8"))),
        ("spf.relay.test", ("spf.relay.test", ())),
        ("", ("_spf.google.com", ())),
    ):
        assert admin.post(path, data=form | {"sends_from": typed}).status_code == 302
        with app.app_context():
            [sending] = senders.sending_domain("acme.test").servers
            assert (sending.include, sending.addresses) == found


# --- what is kept, and who is told


def told() -> list[str]:
    return [one.why["code"] for one in db.session.scalars(select(Notification).order_by(Notification.id))]


def test_a_change_for_the_worse_is_told_once_and_that_it_is_well_again(app, admin):
    steps = [
        (judged(spf="warning"), []),  # the first check has nothing to be worse than
        (judged(spf="bad"), ["dns_worse"]),
        (judged(spf="bad"), []),
        (judged(spf="unknown", answer=SILENT), []),  # a silent resolver says nothing about the domain
        (judged(spf="bad"), []),
        (judged(spf="warning"), ["dns_well_again"]),
        (judged(spf="good"), []),
        (judged(spf="unknown", dmarc="unknown", answer=SILENT), []),
        (judged(spf="good"), []),
        (judged(spf="warning", dmarc="bad"), ["dns_worse"]),
        (judged(spf="warning"), []),
        (judged(), ["dns_well_again"]),
    ]
    before: list[str] = []
    with app.app_context():
        for number, (judgement, news) in enumerate(steps):
            checks.keep("acme.test", judgement, NOW + timedelta(days=number))
            before += news
            assert told() == before, number
        assert db.session.scalar(select(Notification.link).limit(1)) == "/deliverability/acme.test"
    assert "Receivers trust emails from acme.test less" in words(admin.get("/inbox"))


@pytest.mark.heavy
def test_two_checks_at_once_tell_one_change_once(app, admin, monkeypatch):
    """Both look before either writes, as two workers do; the second one waits, and compares with the first."""
    with app.app_context():
        checks.keep("acme.test", judged(), NOW)
    look = threading.Barrier(2)
    telling = checks.tell_admins

    def slowly(*told) -> None:
        with suppress(threading.BrokenBarrierError):
            look.wait(0.5)  # nobody else gets this far meanwhile
        telling(*told)

    monkeypatch.setattr(checks, "tell_admins", slowly)
    both = [threading.Thread(target=keep, args=(app, judged(spf="bad"))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    with app.app_context():
        assert told() == ["dns_worse"]
        assert db.session.scalar(select(Notification.why)) == {
            "code": "dns_worse",
            "values": {"domain": "acme.test", "what": {"code": "dns_checked", "values": {}}},
        }
    assert "less than at the last check. The check is complete." in words(admin.get("/inbox"))


def test_old_checks_go_but_never_the_last_one_of_a_domain(app):
    with app.app_context():
        for days, domain in ((200, "acme.test"), (100, "acme.test"), (100, "other.test"), (1, "other.test")):
            checks.keep(domain, judged(), NOW - timedelta(days=days))
        assert {"domain_reports": 2} in list(cleanup.slices(NOW))
        left = db.session.execute(select(DomainReport.domain, func.count()).group_by(DomainReport.domain)).all()
        assert sorted(map(tuple, left)) == [("acme.test", 1), ("other.test", 1)]


# --- the pages


@pytest.fixture
def acme(app) -> int:
    with app.app_context():
        parameters.put("mail.catchall.domain", "acme.test", NOW)
        return server("daily")


def keep(app: Flask, judgement: Judgement) -> None:
    with app.app_context():
        checks.keep("acme.test", judgement, NOW)


def test_without_a_domain_of_ones_own_the_page_says_what_to_do(admin):
    page = admin.get("/deliverability")
    assert "No domain of yours yet" in words(page)
    assert ">General Settings</a>" in page.text.partition("No domain of yours yet")[2]


def test_a_check_is_asked_for_once_and_its_page_says_so(app, admin, acme):
    assert "Not checked yet" in words(admin.get("/deliverability"))
    assert "Not checked yet" in words(admin.get("/deliverability/acme.test"))
    for _ in range(2):
        assert admin.post("/deliverability/acme.test/check").location == "/deliverability/acme.test"
    with app.app_context():
        check = db.session.scalars(select(ServerCheck)).one()
        assert (check.kind, check.domain, check.state) == ("domain", "acme.test", "waiting")
        check.requested_at -= timedelta(seconds=20)
        db.session.commit()
        number = check.id
    progress = f"/deliverability/acme.test/progress/{number}"
    assert progress in admin.get("/deliverability/acme.test").text
    assert "No worker is running" in words(admin.get(progress))
    assert admin.get(f"/deliverability/other.test/progress/{number}").status_code == 404
    assert admin.get(f"/checks/{number}").status_code == 404


def asked_for(app: Flask) -> list[str]:
    """Return the domains whose check the worker is to do, and have them checked."""
    with app.app_context():
        waiting = select(ServerCheck).where(ServerCheck.state == "waiting").order_by(ServerCheck.id)
        rows = db.session.scalars(waiting).all()
        names = [row.domain for row in rows]
        for row in rows:
            row.state = "done"
        db.session.commit()
        for name in names:
            office.forget()
            key = senders.servers_key(senders.sending_domain(name).servers)
            checks.keep(name, replace(judged(), domain=name), NOW, servers_key=key)
    return names


def test_what_is_new_or_has_other_servers_is_checked_at_once_and_once(app, admin):
    parameter = {"key": "mail.catchall.domain", "value": "acme.test"}
    for _ in range(2):
        admin.post("/admin/system-parameters/edit?key=mail.catchall.domain", data=parameter)
    assert asked_for(app) == ["acme.test"]
    form = {"name": "one", "host": "one.test", "port": "587", "encryption": "starttls", "priority": "10",
            "authentication": "none", "from_filter": "acme.test, news.test"}  # fmt: skip
    assert admin.post("/admin/outgoing-servers/new", data=form).status_code == 302
    assert asked_for(app) == ["acme.test", "news.test"]
    with app.app_context():
        path = f"/admin/outgoing-servers/edit?id={db.session.scalar(select(OutgoingServer.id))}"
    for change, asked in (
        ({"comment": "ours"}, []),
        ({"name": "first"}, []),
        ({"sends_from": "203.0.113.7"}, ["acme.test", "news.test"]),
        ({"from_filter": "acme.test"}, []),  # nothing is sent as news.test any more
        ({"from_filter": "acme.test, more.test"}, ["more.test"]),
    ):
        form |= change
        assert admin.post(path, data=form).status_code == 302
        assert asked_for(app) == asked, change


def test_the_record_to_paste_is_shown_as_the_host_of_the_domain_calls_it(app, admin, acme):
    keep(app, judged(acme, spf="bad"))
    page = admin.get("/deliverability/acme.test")
    said = words(page)
    assert "Paste this SPF record" in said and "Edit the record that is there and replace its value" in said
    assert "Content v=spf1 ip4:192.0.2.1 -all" in said and "The DNS of acme.test is at Cloudflare." in said
    assert re.search(r'data-copy="v=spf1 ip4:192.0.2.1 -all"', page.text)
    assert "v=spf1 -all" in said.partition("Replaces")[2]
    assert "192.0.2.53: NOERROR, TTL 300" in said
    assert "Needs fixing" in words(admin.get("/deliverability"))


@pytest.mark.parametrize(
    ("nameserver", "said", "usual"),
    [
        ("ns-1.awsdns-00.com", 'Record name leave empty for acme.test Value "v=spf1', False),
        ("ns1.acme.test", "Name acme.test Value v=spf1", False),
        ("ns1.wixdns.net", "Host Name leave empty", True),  # not all of it was seen on a page
    ],
)
def test_each_host_has_words_of_its_own(app, admin, acme, nameserver, said, usual):
    keep(app, replace(judged(acme, spf="bad"), nameservers=(nameserver,)))
    page = words(admin.get("/deliverability/acme.test"))
    assert said in re.sub(r"Copy (?!value)", "", page)
    assert ("are usually these, but your form may look different" in page) == usual


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (DnsAnswer("no_record"), "Name mail for mail.acme.test Content v=spf1"),  # its records are in the zone above
        (DnsAnswer("found", ("ada.ns.cloudflare.com",)), "Name @ for mail.acme.test Content v=spf1"),
    ],
)
def test_the_name_of_a_subdomain_is_that_in_its_zone(app, admin, answer, said):
    with app.app_context():
        server("daily", from_filter="mail.acme.test")
        bad = judged(spf="bad")
        record = txt_record("mail.acme.test", "v=spf1 ip4:192.0.2.1 -all")
        asked = ((Question("mail.acme.test", "NS"), answer), *bad.asked)
        bad = replace(bad, domain="mail.acme.test", spf=replace(bad.spf, record=record), asked=asked)
        checks.keep("mail.acme.test", bad, NOW)
    assert said in words(admin.get("/deliverability/mail.acme.test"))


def test_a_silent_resolver_is_not_a_missing_record(app, admin, acme):
    keep(app, judged(acme, spf="unknown", dmarc="unknown", answer=SILENT))
    said = words(admin.get("/deliverability/acme.test"))
    assert "DNS could not be reached, so nothing is known about this domain. Its records may be fine." in said
    assert "192.0.2.53: no response" in said and "Paste this" not in said


def test_a_server_that_is_newer_than_the_check_says_so(app, admin, acme):
    keep(app, judged(acme))
    with app.app_context():
        server("newer")
    said = words(admin.get("/deliverability/acme.test"))
    assert re.search(r"newer\s+notifications@acme.test Test sending and receiving Not checked yet", said)


def test_the_domain_of_a_mailbox_provider_is_nothing_to_change(app, admin):
    with app.app_context():
        server("google", host="smtp.gmail.com", from_filter="me@gmail.com")
        [found] = senders.sending_domain("gmail.com").servers
        assert (found.signs, found.selectors) == ("itself", ())
        checks.keep("gmail.com", replace(judged(spf="bad"), domain="gmail.com"), NOW)
    said = words(admin.get("/deliverability/gmail.com"))
    assert "gmail.com belongs to Gmail, Google Workspace, so you can't change its DNS." in said
    assert "Paste this" not in said and "Create key" not in said
    refused = admin.post("/deliverability/gmail.com/dkim/create", follow_redirects=True)
    assert "No key was made: gmail.com belongs to Gmail, Google Workspace" in words(refused)
    with app.app_context():
        assert db.session.scalars(select(DkimKeyPair)).all() == []


def test_an_internationalised_domain_has_its_page(app, admin):
    with app.app_context():
        parameters.put("mail.catchall.domain", "bücher.test", NOW)
        server("daily", from_filter="")
        [found] = senders.sending_domain("bücher.test").servers
        assert found.envelope_sender == "bounce@xn--bcher-kva.test"
        checks.keep("bücher.test", replace(judged(), domain="xn--bcher-kva.test"), NOW)
        checks.keep("bücher.test", replace(judged(spf="bad"), domain="xn--bcher-kva.test"), NOW)
        notice = db.session.scalar(select(Notification.id))
    assert admin.post(f"/inbox/{notice}/open", follow_redirects=True).status_code == 200
    assert "Servers that send as bücher.test" in words(admin.get("/deliverability/bücher.test"))
    assert admin.post("/deliverability/bücher.test/check", follow_redirects=True).status_code == 200


@pytest.mark.parametrize("path", ["/deliverability", "/deliverability/acme.test"])
def test_only_admins_see_it(app, acme, path):
    assert Visitor(app).as_role("marketing").get(path).status_code == 403
    assert Visitor(app).get(path).status_code == 302


def test_a_domain_that_only_has_keys_left_has_its_page_until_they_are_removed(app, admin):
    with app.app_context():
        row = OfficeDomain(name="Acme.test", name_key="acme.test")
        parameters.put("mail.catchall.domain", "home.test", NOW)
        db.session.add(row)
        key = signing_keys.create("acme.test", "rsa", NOW)
        key.state, key.signs_since = "signing", NOW
        db.session.add(row)
        db.session.commit()
        office.forget()
        key_id, row_id = key.id, row.id
    page = words(admin.get(f"/admin/domains/remove?id={row_id}"))
    assert "Its keys for signatures (DKIM) stay" in page
    admin.post("/admin/domains/remove", data={"id": row_id})
    assert "acme.test No email is sent from it any more, but its keys (DKIM) are still here." in words(
        admin.get("/deliverability")
    )
    said = words(admin.get("/deliverability/acme.test"))
    assert "Its key still signs emails from domains below it" in said and "Check now" not in said
    said = words(admin.post("/deliverability/acme.test/dkim/stop", follow_redirects=True))
    assert "Emails from acme.test are no longer signed." in said and "Keep its record in DNS until" in said
    form = {"id": key_id}
    said = words(admin.post("/deliverability/acme.test/dkim/remove", data=form, follow_redirects=True))
    assert "emails that it signed may still be on their way" in said
    with app.app_context():
        db.session.execute(update(DkimKeyPair).values(signed_until=NOW - timedelta(days=8)))
        db.session.commit()
    answer = admin.post("/deliverability/acme.test/dkim/remove", data=form)
    assert answer.location.endswith("/deliverability")
    assert admin.get("/deliverability/acme.test").status_code == 404


@pytest.mark.parametrize("path", ["", "/check", "/progress/1"])
def test_a_domain_that_we_do_not_send_from_has_no_page(admin, acme, path):
    visit = admin.post if path == "/check" else admin.get
    assert visit(f"/deliverability/elsewhere.test{path}").status_code == 404


def test_the_settings_of_email_marketing_name_both_servers_with_their_verdicts(app, admin, acme):
    with app.app_context():
        mass = server("mass", priority=20)
        parameters.put("mailing.dedicated_server", str(mass), NOW)
        db.session.commit()
    found = judged(acme)
    bad = ServerVerdict(mass, "mass", verdict("spf", "bad"), verdict("passes", "bad"))
    keep(app, replace(found, servers=(*found.servers, bad)))
    said = words(admin.get("/email-marketing/settings"))
    assert re.search(r"daily daily emails · daily.example acme.test Good", said)
    assert re.search(r"mass mailings · mass.example acme.test Needs fixing", said)
    assert 'href="/deliverability/acme.test"' in admin.get("/email-marketing/settings").text


def test_the_domains_of_mailings_are_named_though_nothing_else_is_sent_from_there(app, admin):
    with app.app_context():
        parameters.put("mail.catchall.domain", "acme.test", NOW)
        parameters.put("mail.default.from", "office", NOW)
        server("daily", from_filter="acme.test", priority=5)
        mass = server("mass", from_filter="news.acme.test", priority=20)
        parameters.put("mailing.dedicated_server", str(mass), NOW)
        db.session.commit()
    said = words(admin.get("/email-marketing/settings"))
    assert re.search(r"daily daily emails · daily.example acme.test Not checked yet", said)
    assert re.search(r"mass mailings · mass.example news.acme.test Not checked yet", said)
    assert "(acme.test, news.acme.test)" in said


def test_that_a_domain_is_not_in_dns_is_said_once_and_nothing_is_to_paste(app, admin):
    with app.app_context():
        server("daily")
        nothing = {Question("acme.test", "NS"): DnsAnswer("no_name", said="192.0.2.53: NXDOMAIN")}
        checks.keep("acme.test", judge(senders.sending_domain("acme.test"), nothing), NOW)
    shown = words(admin.get("/deliverability/acme.test"))
    assert shown.count("acme.test is not in DNS.") == 1
    assert "Create key" not in shown and "Once the domain is in DNS you can create a key here." in shown
    assert "What to paste" not in shown
    assert "acme.test is not in DNS." in words(admin.get("/deliverability"))
