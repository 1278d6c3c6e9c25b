"""Files that are too large for an email: they leave as links that expire, and anybody who has the link may load them.

The files of an internal note are for those who log in.

A link names a number of 62 bits that its file alone has, signed together with the day on which it expires.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask_babel import format_date, gettext
from markupsafe import Markup
from sqlalchemy import and_, func, select

from mail.decide.large_files import octets_of_text, size_as_sent, to_link
from mail.documents.threads import NewFile, PostDraft
from mail.message.html import shown_ids
from mail.settings import clock, office, parameters
from mail.settings.config import settings
from mail.settings.tokens import TokenKind
from models import Attachment, OutgoingServer, Post, ServerLimit, db

LINK_DAYS = 30
SAID_LATELY = timedelta(days=30)  # what a server takes is noted once a day at least while emails go there
MEGABYTE = 1_000_000


def most_octets() -> int:
    """Return how large an email may be, as it is sent: by our parameter, and by what the servers in use said of late.

    The default server is in use where no other one is.
    """
    ours = parameters.MAX_SIZE.get() * MEGABYTE
    said = select(func.min(ServerLimit.largest)).where(ServerLimit.learned_at > clock.now() - SAID_LATELY)
    if office.sends_through() == "servers":
        same = and_(OutgoingServer.id == ServerLimit.server_id, OutgoingServer.host == ServerLimit.host)
        said = said.join(OutgoingServer, same).where(OutgoingServer.active)
    else:
        said = said.where(ServerLimit.server_id == 0, ServerLimit.host == settings().default_server.host)
    return min(ours, db.session.scalar(said) or ours)


def is_small(size: int) -> bool:
    """Say whether an email of this size is taken everywhere: nearly all are, and the database need not be asked."""
    return size <= min(parameters.MAX_SIZE.get(), 1) * MEGABYTE


def link_large_files(post: PostDraft) -> None:
    """Choose the files of a post that leave as links; none while nobody could follow a link to this office."""
    post.linked = {}
    words, sizes = octets_of(post)
    size = size_as_sent(words, sizes)
    if is_small(size) or not sizes or not office.links_lead_here() or size <= (most := most_octets()):
        return
    shown = shown_ids(post.html)
    in_place = {position for position, file in enumerate(post.files) if file.cid and file.cid in shown}
    may_leave = [position for position in range(len(sizes)) if position not in in_place]
    rest = most - size_as_sent(0, [sizes[position] for position in in_place])
    chosen = to_link(words, [sizes[position] for position in may_leave], rest)
    post.linked = {may_leave[one]: secrets.randbits(62) for one in chosen}


def octets_of(post: PostDraft) -> tuple[int, list[int]]:
    """Return the octets of a post's words as they are sent, and of each file that is in its mail."""
    text = post.html if post.derives_text else post.text  # at most
    return octets_of_text(post.html) + octets_of_text(text), [len(file.content) for file in mailed_files(post)]


def mailed_files(post: PostDraft) -> Sequence[NewFile]:
    """Return the files of a post that are in its mail."""
    return [file for place, file in enumerate(post.files) if place not in post.linked]


def links_to(post: PostDraft, now: datetime) -> tuple[str, str]:
    """Return HTML and text that lead to the files that are not in the mail of a post; those of a note need a log-in."""
    html, text = [], []
    inside = post.kind == "note"
    until = now + timedelta(days=LINK_DAYS)
    for place, number in post.linked.items():
        file = post.files[place]
        if inside:
            address = f"{office.base_url()}/attachments/linked/{number}"
            load = gettext("Log in to download it")
        else:
            address = f"{office.base_url()}/d/{office.tokens().make(TokenKind.DOWNLOAD, number, until)}"
            load = gettext("Download it until %(day)s", day=format_date(until))
        values = {"name": file.name or gettext("Attachment"), "size": round(len(file.content) / MEGABYTE, 1)}
        said = gettext("“%(name)s” (%(size)s MB) is too large for an email.", **values)
        html.append(Markup('<p style="margin-top:16px">{} <a href="{}">{}</a></p>').format(said, address, load))
        text.append(f"{said}\n{load}: {address}")
    return "".join(html), "\n\n".join(text)


@dataclass(frozen=True, slots=True)
class LinkedFile:
    """A file that somebody has a link to."""

    name: str
    size: int
    blob_id: int


def find(token: str, now: datetime) -> LinkedFile | None:
    """Return the file that a link leads to; None if it expired, was altered or made up, or the file is gone."""
    named = office.tokens().read(token, now)
    if named is None or named.kind is not TokenKind.DOWNLOAD:
        return None
    columns = select(Attachment.name, Attachment.size, Attachment.blob_id)
    of_message = columns.join(Post, Post.id == Attachment.post_id).where(Post.kind != "note")
    row = db.session.execute(of_message.where(Attachment.link_id == named.id)).first()
    return LinkedFile(row.name, row.size, row.blob_id) if row else None
