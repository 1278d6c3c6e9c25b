"""What comes with a mail: its leaves as parts with names, what Outlook packed unpacked. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from mail.message.content_type import file_name
from mail.message.contents import body_text
from mail.message.html import content_ids
from mail.message.rtf import read_rtf
from mail.message.structure import Bodies, Leaf, StructureReader, first_field
from mail.message.winmail import is_winmail, unpack_winmail


@dataclass(slots=True)
class Part:
    """One leaf of a mail that is not its body: an attachment, an inline image, an attached mail, a report's part."""

    name: str
    type: str
    content: bytes
    cid: str = ""
    inline: bool = False  # the HTML shows it in place
    charset: str = ""


def words_among(leaves: list[Leaf]) -> Bodies:
    """Return the words of a mail that has no body: those of a ``winmail.dat``, else of its only text."""
    for leaf in leaves:
        if is_winmail(leaf.type, leaf.name):
            words = unpack_winmail(leaf.content)
            found = Bodies(words.html, words.text or None)
            if not found.are_empty:
                return found
    texts = [leaf for leaf in leaves if leaf.type.startswith("text/") and leaf.type not in _FOR_PROGRAMS]
    texts += [leaf for leaf in leaves if leaf.type == "application/rtf"]
    return _words_of(texts[0]) if len(texts) == 1 else Bodies()


def _words_of(leaf: Leaf) -> Bodies:
    if leaf.type.endswith("/rtf"):
        rich = read_rtf(leaf.content)
        return Bodies(rich.html, rich.text or None)
    text = body_text(leaf.content, leaf.charset, [], is_page=leaf.type == "text/html")
    return Bodies(html=text) if leaf.type == "text/html" else Bodies(text=text)


_TEXT_FOR_PROGRAMS = "calendar vcard x-vcard csv css xml javascript rfc822-headers directory x-amp-html"
_FOR_PROGRAMS = frozenset(f"text/{kind}" for kind in _TEXT_FOR_PROGRAMS.split())


def named_parts(leaves: list[Leaf], html: str) -> Iterable[Part]:
    """Return the leaves as parts, each with a name; a ``winmail.dat`` gives its files, and itself if it holds more."""
    shown = content_ids(html)
    for number, leaf in enumerate(leaves, 1):
        if is_winmail(leaf.type, leaf.name):
            files = unpack_winmail(leaf.content)
            if files.files or files.text or files.html:
                for name, content in files.files:
                    yield Part(file_name(name) or f"attachment-{number}", "application/octet-stream", content)
                if files.is_whole:
                    continue
        if html and not leaf.name and leaf.type in _OTHER_FORMS:
            continue
        name = leaf.name or _name_for(leaf, number)
        inline = leaf.cid in shown
        yield Part(name, leaf.type, leaf.content, leaf.cid, inline, leaf.charset)


_OTHER_FORMS = ("text/x-amp-html", "text/watch-html")  # of the page beside them, for other programs


def _name_for(leaf: Leaf, number: int) -> str:
    if leaf.type == "message/rfc822":
        return f"{_attached_subject(leaf.content)}.eml"
    return "invite.ics" if leaf.type == "text/calendar" else f"attachment-{number}{_ENDINGS.get(leaf.type, '')}"


def _attached_subject(content: bytes) -> str:
    fields, _ = StructureReader(content[:65536], []).header(0, min(len(content), 65536))
    return file_name(first_field(fields, "subject").replace("/", "-"))[:100] or "message"


_ENDINGS = {
    "text/calendar": ".ics",
    "application/ics": ".ics",
    "text/x-vcard": ".vcf",
    "text/vcard": ".vcf",
    "text/csv": ".csv",
    "text/rtf": ".rtf",
    "text/plain": ".txt",
    "text/html": ".html",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "application/json": ".json",
    "image/jpeg": ".jpg",
    "image/jpg": ".jpg",
    "image/png": ".png",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "message/delivery-status": ".txt",
    "text/rfc822-headers": ".txt",
}
