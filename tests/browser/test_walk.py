"""A walk over every page of the menu, as each role, on a phone and on a desk, by day and by night."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page

from mail.documents import contacts, posts
from mail.documents.documents import start_document
from mail.documents.threads import NewFile
from mail.incoming import domain_rules
from mail.incoming.intake import keep
from mail.settings import config
from mail.settings.clock import now
from mail.transport.mailbox import FetchedMail
from models import (
    Contact,
    DocumentType,
    IncomingServer,
    Mailing,
    MailingList,
    OfficeDomain,
    OutgoingServer,
    Subscription,
    User,
    db,
)
from scheduler import create_worker_app
from tests.browser import office
from tests.servers.app import App
from tests.servers.browser import Person
from tests.servers.certificates import Authority
from tests.waiting import wait_until

ROLES = ("admin", "marketing", "user")


@pytest.fixture(scope="module")
def lively_office(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An office in which something has happened on every page; the practice mailbox is its server."""
    path: Path = tmp_path_factory.mktemp("walk") / "office.db"
    app = App(f"sqlite:///{path}", authority.file)
    app.flask("upgrade")
    for role in ROLES:
        office.add_account(app, f"{role}@home.test", role.capitalize(), role)
    make_lively(app)
    app.start()
    yield app
    app.close()


def make_lively(app: App) -> None:
    """Documents with posts, a mail in quarantine, servers, lists and mailings."""
    made = create_worker_app(config.read({"COQUI_DATA": str(app.data), "DATABASE_URL": app.env["DATABASE_URL"]}))
    with made.app_context():
        type_ = db.session.query(DocumentType).filter_by(code="opportunity").one()
        user = db.session.query(User).filter_by(role="user").one()
        ann = contacts.find_or_make("ann@customer.test", "Ann Lee", now())
        refused = contacts.find_or_make("refuse-550@customer.test", "Rita Refused", now())
        document = start_document(type_, "20 chairs for our office", now(), contact_id=ann.id, responsible=user)
        posts.follow(document.thread_id, refused.id)
        db.session.commit()
        file = NewFile.of("offer.pdf", "application/pdf", b"%PDF")
        posts.post_from_browser(user, document.thread_id, "<p>Here is our offer.</p>", "message", [file], now())
        posts.post_from_browser(user, document.thread_id, "<p>She haggles.</p>", "note", [], now())
        for number, to in enumerate(("sales@office.test", "nobody@office.test"), start=1):
            raw = office.letter(
                "Zoe Montgomery-Featherstone <zoe@featherstone-consulting.test>",
                to,
                f"Question {number}",
                "Hello,\nhow much is it?",
            )
            keep("practice", [FetchedMail(str(number), len(raw), now(), raw)], now())
        db.session.add(
            OutgoingServer(
                name="Spare",
                host="smtp.spare-server-of-the-office.test",
                active=False,
                from_filter="spare.test",
                verify_tls=False,
            )
        )
        db.session.add(IncomingServer(name="Spare", host="imap.spare.test", active=False))
        same = dict.fromkeys(domain_rules.LOCAL_PARTS, "")
        domain_rules.save(OfficeDomain(name="spare.test", company="Spare Ltd", **same))
        readers = MailingList(name="Readers")
        db.session.add(readers)
        db.session.flush()
        for contact in db.session.query(Contact).all():
            db.session.add(Subscription(list_id=readers.id, contact_id=contact.id, at=now()))
        db.session.add(
            Mailing(
                subject="Spring news", from_address="News <news@office.test>", html="<p>Hello</p>", created_at=now(),
                lists=[readers],
            )
        )  # fmt: skip
        db.session.commit()
        db.engine.dispose()


def menu_of(page: Page) -> list[str]:
    """Return the paths of all entries of the menu."""
    page.locator(".sidebar a.nav-entry").first.wait_for(state="attached")
    found = page.locator(".sidebar a[href]").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    return list(dict.fromkeys(path for path in found if path.startswith("/") and path != "/"))


def pages_behind(page: Page) -> list[str]:
    """Return where a list leads: its form for something new, and its first row."""
    links = page.locator("main a[href$='/new'], main a.row-main, main .title a, main td a").evaluate_all(
        "links => links.map(link => link.getAttribute('href'))"
    )
    paths = [path for path in links if path.startswith("/") and "export" not in path and "original" not in path]
    return paths[:1] + [path for path in paths if path.endswith("/new")][:1]


def unlabelled(page: Page) -> list[str]:
    """Return the fields without a name that a screen reader could say."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('input:not([type=hidden]), select, textarea')]
            .filter(field => field.offsetParent !== null && !field.labels?.length && !field.ariaLabel
                             && !field.getAttribute('aria-labelledby') && !field.title)
            .map(field => field.outerHTML.slice(0, 120))"""
    )
    return found


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("role", ROLES)
def test_every_page_on_every_screen(lively_office: App, person: Callable[..., Person], role: str, width: int) -> None:
    wait_until(lambda: "processed" in lively_office.log())
    someone = person(lively_office.url, width=width, height=900)
    page = office.log_in(someone, f"{role}@home.test")
    if role == "admin":
        office.developer_mode(page)
    found: list[str] = []
    paths = menu_of(page)
    in_menu = len(paths)
    if role == "admin":
        paths += ["/admin/domains/edit?id=1", "/admin/domains/remove?id=1"]  # not the first row of its list
    schemes = ["light", "dark"]
    for number, path in enumerate(paths):  # grows while we walk
        answer = page.goto(path)
        assert answer is not None
        if answer.status != 200:
            found.append(f"{path}: status {answer.status}")
            continue
        if number < in_menu:
            known = {urlsplit(one).path for one in paths}
            paths += [one for one in pages_behind(page) if urlsplit(one).path not in known]
        found += [f"{path}: no label: {field}" for field in unlabelled(page)]
        for scheme in schemes:
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.wait_for_function("scheme => document.documentElement.dataset.bsTheme === scheme", arg=scheme)
            if someone.scrolls_sideways():
                found.append(f"{path}, {scheme}: scrolls sideways")
            if (width, scheme) == (390, "dark") or (width, scheme, role) == (1440, "light", "admin"):
                found += [f"{path}, {scheme}: {problem}" for problem in someone.axe()]
        schemes.reverse()  # the next page comes as this one was seen last
    assert len(paths) > {"admin": 30, "marketing": 12, "user": 8}[role], paths
    assert not found, "\n".join(found)


def test_no_column_is_cut_off(lively_office: App, person: Callable[..., Person]) -> None:
    wait_until(lambda: "processed" in lively_office.log())
    someone = person(lively_office.url)
    page = office.log_in(someone, "admin@home.test")
    office.developer_mode(page)
    found = []
    for path in menu_of(page):
        page.goto(path)
        for width in (1280, 1024, 900, 768, 390):
            page.set_viewport_size({"width": width, "height": 800})
            cut = page.locator(".table-responsive").evaluate_all(
                "tables => Math.max(0, ...tables.map(table => table.scrollWidth - table.clientWidth))"
            )
            found += [f"{path} at {width}: {cut} pixels"] if cut else []
    assert not found, "\n".join(found)


def test_an_open_envelope_stays_in_the_window(lively_office: App, person: Callable[..., Person]) -> None:
    someone = person(lively_office.url)
    page = office.log_in(someone, "admin@home.test")
    page.goto("/documents/opportunity")
    page.get_by_role("link", name="20 chairs for our office").click()
    page.locator("summary.envelope").first.click()
    lines = page.locator("details[open] .envelope-lines")
    for width in (1440, 992, 900, 768, 600, 390):
        page.set_viewport_size({"width": width, "height": 900})
        box = lines.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width, width


def test_nobody_sees_what_is_not_theirs(lively_office: App, person: Callable[..., Person]) -> None:
    admin = office.log_in(person(lively_office.url), "admin@home.test")
    office.developer_mode(admin)
    everything = menu_of(admin)
    for role in ("marketing", "user"):
        someone = person(lively_office.url)
        someone.expect("status of 403")
        page = office.log_in(someone, f"{role}@home.test")
        theirs = set(menu_of(page))
        for path in everything:
            if path not in theirs:
                answer = page.goto(path)
                assert answer is not None
                assert answer.status == 403, f"{role} got {answer.status} for {path}"
                assert "You do not have access to this page" in page.inner_text("body")
