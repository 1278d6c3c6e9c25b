"""The bodies of mails, from addresses of their own: what came by mail is shown in a frame that can do nothing.

The answer's own Content-Security-Policy forbids scripts, forms and every other host. The frame keeps our origin so that
the page can measure its height and images of the mail are found; without scripts that gives the mail no power.
"""

from datetime import datetime
from urllib.parse import quote

from flask import Blueprint, Response, abort, request, url_for
from flask_login import login_required
from markupsafe import escape
from sqlalchemy import select

from mail.incoming.reader import look_at
from mail.message.html import clean_html, text_to_html, with_images
from mail.message.quoted import folded_parts
from mail.outgoing import lines
from models import Attachment, Blob, Post, ReceivedMail, RouteResult, db
from webapp.auth import roles_required

blueprint = Blueprint("bodies", __name__)

SANDBOX = "sandbox allow-same-origin allow-popups allow-popups-to-escape-sandbox"
POLICY = f"{SANDBOX}; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'self'"
POLICY_WITH_REMOTE = POLICY.replace("img-src 'self' data:", "img-src 'self' data: https: http:")
_SHOWN_AS = {  # as programs call them, too; no SVG: it can carry scripts
    **dict.fromkeys(("image/png", "image/x-png"), "image/png"),
    **dict.fromkeys(("image/jpeg", "image/jpg", "image/pjpeg"), "image/jpeg"),
    **{kind: kind for kind in ("image/gif", "image/webp", "image/bmp")},
}

PAGE = """<!doctype html><html><head><meta charset="utf-8"><base target="_blank"><style>
body {{ margin: .65rem .9rem; font: 15px/1.5 system-ui, sans-serif; color: #1a2721; background: #fff; }}
body {{ overflow-wrap: anywhere; }}
img {{ max-width: 100%; height: auto; }} pre {{ white-space: pre-wrap; }} table {{ max-width: 100%; }}
blockquote {{ margin: .5em 0; padding-inline-start: 1em; border-inline-start: 3px solid #dfe3da; color: #57655d; }}
</style><title>{title}</title></head><body dir="auto">{body}</body></html>"""


def framed(html: str, title: str = "", remote: bool = False) -> Response:
    """Return the HTML of a mail as a page for a frame."""
    answer = Response(PAGE.format(title=escape(title), body=html), mimetype="text/html")
    answer.headers["Content-Security-Policy"] = POLICY_WITH_REMOTE if remote else POLICY
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.headers["Cache-Control"] = "private, max-age=3600"
    return answer


def folded(post: Post) -> dict[str, tuple[int, int]]:
    """Return what is folded of a mail, its signature and what it quotes, each with its ends."""
    if post.fold_at is None:
        return {}
    return folded_parts(post.html or post.text, post.fold_at, is_html=bool(post.html))


def pictures(post: Post) -> dict[str, Attachment]:
    """Return the pictures that a post may show in its text, by their Content-IDs: of two with the same one the last."""
    return {file.cid: file for file in post.attachments if file.cid and file.type.lower() in _SHOWN_AS}


@blueprint.get("/posts/<int:post_id>/body")
@login_required
def body(post_id: int) -> Response:
    """Answer what a mail says; ``?part=quoted``, ``?part=signature`` what is folded of it; ``?remote=1`` with images of
    other hosts.
    """
    post = db.session.get(Post, post_id) or abort(404)
    whole = post.html or post.text
    start, end = folded(post).get(request.args.get("part", ""), (0, post.fold_at))
    part = whole[start:end]
    remote = request.args.get("remote") == "1"
    if not post.html:
        return framed(text_to_html(part), post.subject)
    images = {cid: url_for(".inline", attachment_id=file.id) for cid, file in pictures(post).items()}
    return framed(with_images(part, images.get, remote), post.subject, remote)


@blueprint.get("/attachments/<int:attachment_id>/inline")
@login_required
def inline(attachment_id: int) -> Response:
    """Answer an image that a mail shows in its text; anything else is only to be downloaded."""
    attachment = db.session.get(Attachment, attachment_id) or abort(404)
    shown_as = _SHOWN_AS.get(attachment.type.lower())
    if shown_as is None:
        return download(attachment_id)
    answer = Response(Blob.read(attachment.blob_id), mimetype=shown_as)
    answer.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    answer.headers["Cache-Control"] = "private, max-age=86400, immutable"
    return answer


@blueprint.get("/attachments/<int:attachment_id>")
@login_required
def download(attachment_id: int) -> Response:
    """Answer a file that came with a post, to be saved."""
    attachment = db.session.get(Attachment, attachment_id) or abort(404)
    return as_download(Blob.read(attachment.blob_id), attachment.name)


@blueprint.get("/attachments/linked/<int(max=9223372036854775807):number>")
@login_required
def linked(number: int) -> Response:
    """Answer a file that was too large for the email of an internal note."""
    return download(db.session.scalar(select(Attachment.id).where(Attachment.link_id == number)) or abort(404))


@blueprint.get("/received/<int:received_id>/original")
@roles_required("admin")
def original(received_id: int) -> Response:
    """Answer a received mail as it came, to be saved."""
    blob_id = db.session.scalar(select(ReceivedMail.blob_id).where(ReceivedMail.id == received_id))
    if blob_id is None:
        abort(404)
    return as_download(Blob.read(blob_id), f"mail-{received_id}.eml")


@blueprint.get("/received/<int:received_id>/body")
@roles_required("admin")
def received(received_id: int) -> Response:
    """Answer what a received mail says: as it was posted, else read anew from its bytes, without its own images."""
    posted = select(Post).join(RouteResult, RouteResult.post_id == Post.id)
    post = db.session.scalar(posted.where(RouteResult.received_mail_id == received_id).limit(1))
    if post is not None:
        return framed(with_images(post.html, lambda cid: None) if post.html else text_to_html(post.text), post.subject)
    found = db.session.execute(
        select(ReceivedMail.blob_id, ReceivedMail.received_at).where(ReceivedMail.id == received_id)
    ).first()
    if found is None or found.blob_id is None:
        abort(404)
    return of_mail(Blob.read(found.blob_id), found.received_at)


def of_mail(raw: bytes, arrived: datetime) -> Response:
    """Return what a mail says, from its bytes, as a page for a frame."""
    message = look_at(raw, arrived)
    if message.html:
        return framed(with_images(clean_html(message.html), lambda cid: None), message.subject)
    return framed(text_to_html(message.text), message.subject)


@blueprint.get("/sent/<int:line_id>")
@roles_required("admin")
def sent(line_id: int) -> Response:
    """Answer a mail as one recipient gets it, to be saved."""
    content = lines.whole_mail(line_id)
    if content is None:
        abort(404)
    return as_download(content, f"sent-{line_id}.eml")


def as_download(content: bytes, name: str) -> Response:
    """Return bytes that the browser saves and never shows."""
    answer = Response(content, mimetype="application/octet-stream")
    answer.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name)}"
    answer.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return answer
