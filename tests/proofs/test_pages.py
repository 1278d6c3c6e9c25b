"""``kill -9`` of the pages while people post: what was answered as saved is there."""

import http.client
import http.cookiejar
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from mail.documents import contacts
from mail.documents import posts as documents_posts
from mail.documents.documents import start_document
from models import Document, DocumentType, OutgoingMail, Post, db
from tests.proofs.scene import ON_POSTGRESQL_IN_THE_SOAK, Chance, Say, Scene
from tests.waiting import wait_until

TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')
PASSWORD = "a frog in the rain"
PEOPLE = 3


class Reader(urllib.request.HTTPRedirectHandler):
    """Does not follow a redirect: the answer itself is what counts."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Clerk:
    """Somebody at a browser who writes one post after the other, and knows which of them the page said were saved."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name
        self.saved: list[str] = []
        self.cut = 0
        self.surprises: list[tuple[int, str]] = []
        self._cookies = http.cookiejar.CookieJar()
        handlers = (urllib.request.HTTPCookieProcessor(self._cookies), urllib.request.ProxyHandler({}), Reader())
        self._opener = urllib.request.build_opener(*handlers)

    def log_in(self, address: str) -> None:
        answer = self._post("/login", self.token("/login"), email=address, password=PASSWORD)
        assert answer[0] == 302, answer

    def write(self, document_id: int, token: str, stop: threading.Event) -> None:
        """Post until asked to stop."""
        number = 0
        while not stop.is_set():
            number += 1
            words = f"{self.name} says {number}"
            try:
                answer = self._post(f"/document/{document_id}/posts", token, words=words, kind="message")
            except (OSError, http.client.HTTPException):
                self.cut += 1  # or nobody there: nothing was promised
                stop.wait(0.02)
                continue
            if answer[0] == 302 and answer[1].endswith("#chatter"):
                self.saved.append(words)
            else:
                self.surprises.append(answer)

    def token(self, path: str) -> str:
        """Return the token that the forms of a page carry."""
        found = TOKEN.search(self._opener.open(self.url + path, timeout=60).read().decode())
        assert found is not None
        return found[1]

    def _post(self, path: str, token: str, **fields: str) -> tuple[int, str]:
        data = urllib.parse.urlencode({"csrf_token": token, **fields}).encode()
        try:
            answer = self._opener.open(self.url + path, data, timeout=60)
        except urllib.error.HTTPError as error:
            return error.code, str(error.headers.get("Location") or "")
        return answer.status, ""


@ON_POSTGRESQL_IN_THE_SOAK
def test_what_was_answered_as_saved_is_there(scene: Scene, kills: int, chance: Chance, say: Say) -> None:
    running = scene.running
    running.env["WEB_CONCURRENCY"] = "1"  # starts quicker
    running.start_web(wait=False)
    running.flask("create-user", "clerk@home.test", "--name", "Clerk", "--role", "user", input=f"{PASSWORD}\n")
    with scene.context():
        now = datetime.now(UTC)
        type_ = db.session.scalar(select(DocumentType).where(DocumentType.code == "opportunity"))
        assert type_ is not None
        document: Document = start_document(type_, "Posts", now)
        documents_posts.follow(document.thread_id, contacts.find_or_make("customer@customer.test", "Customer", now).id)
        db.session.commit()
        document_id, thread_id = document.id, document.thread_id
    running.wait_for_web()
    clerks = [Clerk(running.url, f"clerk {number}") for number in range(PEOPLE)]
    stop = threading.Event()
    writing = []
    for clerk in clerks:
        clerk.log_in("clerk@home.test")
        words = (document_id, clerk.token(f"/document/{document_id}"), stop)
        writing.append(threading.Thread(target=clerk.write, args=words))
    for one in writing:
        one.start()
    try:
        for _ in range(kills):
            before = saved(clerks)
            wait_until(lambda before=before: saved(clerks) > before + PEOPLE, every=0.01)
            chance.moment(0.3)
            running.kill_web()
            running.start_web()
    finally:
        stop.set()
        for one in writing:
            one.join()
    assert all(clerk.cut for clerk in clerks), "the kills did not fit"
    assert not [clerk.surprises for clerk in clerks if clerk.surprises]
    with scene.context():
        posts = Counter(re.sub(r"<[^>]+>|\n", "", html) for html in db.session.scalars(
            select(Post.html).where(Post.thread_id == thread_id, Post.kind == "message")))  # fmt: skip
        mailed = len(db.session.scalars(select(OutgoingMail.post_id).where(OutgoingMail.post_id.is_not(None))).all())
    promised = [words for clerk in clerks for words in clerk.saved]
    assert not [words for words in promised if posts[words] != 1]
    assert posts.total() == len(posts) == mailed, "a post and its mail are saved together, or neither"
    say(f"pages: {kills} kills, {len(promised)} posts said to be saved, all there")


def saved(clerks: list[Clerk]) -> int:
    return sum(len(clerk.saved) for clerk in clerks)
