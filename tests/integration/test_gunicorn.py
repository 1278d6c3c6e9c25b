"""Pages that stream, are saved or take files, as gunicorn serves them: a test client hides what a server refuses."""

import http.client
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from sqlalchemy import select

from mail.settings import config
from models import Attachment, Document, MailingList, PracticeMail, ReceivedMail, Recipient, db, reading
from scheduler import create_worker_app
from tests.browser.office import PASSWORD, add_account
from tests.browser.test_walk import make_lively
from tests.servers.app import App
from tests.servers.certificates import Authority
from tests.waiting import wait_until
from webapp.admin import VIEWS
from webapp.security import LARGEST_POST

TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')
Answer = tuple[int, dict[str, str], bytes]  # status, headers, the whole body
LARGE = bytes(range(256)) * 12_000  # 3 MB


class Client:
    """A browser without a page: cookies, forms and files over a real connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}

    def ask(self, path: str, body: object = None, headers: dict[str, str] | None = None) -> Answer:
        """Return status, headers and the whole body; a body that is cut off is an error."""
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()), **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET" if body is None else "POST", path, body, sent)  # type: ignore[arg-type]
            answer = connection.getresponse()
            for name, value in answer.getheaders():
                if name == "Set-Cookie":
                    key, _, rest = value.partition("=")
                    self.cookies[key] = rest.partition(";")[0]
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def token(self) -> str:
        found = TOKEN.search(self.ask("/account")[2].decode()) or TOKEN.search(self.ask("/login")[2].decode())
        assert found is not None
        return found[1]

    def post(self, path: str, **fields: str) -> Answer:
        data = urlencode({"csrf_token": self.token(), **fields})
        return self.ask(path, data, {"Content-Type": "application/x-www-form-urlencoded"})

    def upload(self, path: str, name: str, content: bytes, **fields: str) -> Answer:
        """Post a form with a file, in pieces and without saying how long it is, as a proxy may pass it on."""
        mark = uuid.uuid4().hex
        parts = [
            f'--{mark}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
            for key, value in {"csrf_token": self.token(), **fields}.items()
        ]
        disposition = f'Content-Disposition: form-data; name="{name}"; filename="notes.txt"'
        parts.append(f"--{mark}\r\n{disposition}\r\nContent-Type: text/plain\r\n\r\n".encode())
        parts += [content[at : at + 65_536] for at in range(0, len(content), 65_536)]
        parts.append(f"\r\n--{mark}--\r\n".encode())
        return self.ask(path, iter(parts), {"Content-Type": f"multipart/form-data; boundary={mark}"})


@pytest.fixture(scope="module")
def office(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An office in which something has happened, served by gunicorn."""
    path: Path = tmp_path_factory.mktemp("gunicorn") / "office.db"
    app = App(f"sqlite:///{path}", authority.file)
    app.flask("upgrade")
    for role in ("admin", "marketing", "user"):
        add_account(app, f"{role}@home.test", role.capitalize(), role)
    make_lively(app)
    app.start()
    wait_until(lambda: "processed" in app.log())
    yield app
    app.close()


@pytest.fixture
def admin(office: App) -> Client:
    client = Client(office.port)
    assert client.post("/login", email="admin@home.test", password=PASSWORD)[0] == 302
    return client


EXPORTS = [f"/admin/{view.path}/export" for view in VIEWS if view.can_export]


@pytest.mark.parametrize("path", EXPORTS)
def test_every_list_is_exported_as_bytes(admin: Client, path: str) -> None:
    status, headers, body = admin.ask(path)
    assert (status, headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert body.startswith("\ufeff".encode()) and body.endswith(b"\r\n")
    assert headers["Cache-Control"] == "no-store"


def saved(office: App) -> dict[str, int]:
    """The newest row behind each kind of page that is saved or shown in a frame."""
    app = create_worker_app(config.read(office.env))
    with app.app_context(), reading():
        rows = {model.__name__: db.session.scalar(select(model.id).order_by(model.id.desc()))
                for model in (Attachment, Document, ReceivedMail, Recipient, PracticeMail, MailingList)}  # fmt: skip
    assert all(rows.values()), rows
    return rows  # type: ignore[return-value]


def test_files_and_emails_can_be_saved(office: App, admin: Client) -> None:
    rows = saved(office)
    for path in (
        f"/attachments/{rows['Attachment']}",
        f"/received/{rows['ReceivedMail']}/original",
        f"/sent/{rows['Recipient']}",
        f"/practice/{rows['PracticeMail']}/original",
    ):
        status, headers, body = admin.ask(path)
        assert (status, headers.get("Content-Type")) == (200, "application/octet-stream"), path
        assert body and len(body) == int(headers["Content-Length"])
        assert headers["Cache-Control"] == "no-store"


def test_a_file_comes_back_as_it_was_sent(office: App, admin: Client) -> None:
    document = saved(office)["Document"]
    sent = admin.upload(f"/document/{document}/posts", "files", LARGE, words="See the file.", kind="note")
    assert sent[0] == 302, sent[2][-2000:]
    assert admin.ask(f"/attachments/{saved(office)['Attachment']}")[2] == LARGE


@pytest.mark.parametrize("kind", ["blacklist", "list"])
def test_a_file_with_addresses_is_imported(office: App, admin: Client, kind: str) -> None:
    number = str(saved(office)["MailingList"])
    path = "/admin/blacklist/new" if kind == "blacklist" else "/admin/mailing-lists/add"
    status, _, body = admin.upload(path, "file", b"eve@example.test\nbob@example.test\n", id=number, reason="asked")
    assert status in (200, 302), body[-2000:]
    assert b"Choose a file" not in body


def test_more_than_a_form_may_hold_is_refused_with_a_page(office: App, admin: Client) -> None:
    document = saved(office)["Document"]
    status, _, body = admin.upload(f"/document/{document}/posts", "files", bytes(LARGEST_POST), words="x", kind="note")
    assert (status, b"too large" in body) == (413, True)


def test_a_report_that_never_says_how_long_it_is_is_cut_off(office: App) -> None:
    pieces = (b"x" * 8192 for _ in range(100))
    try:
        status = Client(office.port).ask("/csp-report", pieces, {"Content-Type": "application/csp-report"})[0]
    except (BrokenPipeError, ConnectionResetError):
        status = 413  # it hung up while we were still talking
    assert status in (400, 413)
    assert Client(office.port).ask("/csp-report", b'{"csp-report": {"blocked-uri": "inline"}}')[0] == 204
