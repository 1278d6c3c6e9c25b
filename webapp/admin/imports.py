"""What pasted people have in common: a field or a file, and how the page says what was skipped."""

from flask import request
from flask_babel import gettext, ngettext

from mail.errors import NotText
from mail.mailing.lists import ImportReport
from mail.message.pasted import text_of_file
from mail.sentences import say

REFUSED_SHOWN = 100  # lines of a report
LARGEST_FILE = 1024 * 1024  # octets


class NotImported(Exception):
    """Nothing was given, or a file that is not read; the words say what to do."""


def given_text() -> str:
    """Return what was pasted, else the text of the chosen file; raises ``NotImported``."""
    pasted: str = request.form.get("lines", "")
    given = request.files.get("file")
    if pasted.strip():
        return pasted
    if given is None or not given.filename:
        raise NotImported(gettext("Enter at least one address, or choose a file."))
    octets = given.stream.read(LARGEST_FILE + 1)
    if len(octets) > LARGEST_FILE:
        raise NotImported(gettext("The file is larger than 1 MB: nothing was imported. Split it into smaller files."))
    try:
        text = text_of_file(octets)
    except NotText as error:
        raise NotImported(say(error.why)) from error
    if not text.strip():
        raise NotImported(gettext("The file is empty: nothing was imported."))
    return text


def not_taken(report: ImportReport) -> list[str]:
    """Return the parts of a summary that say how many lines were not taken, and how many not read yet."""
    said = []
    if report.refused:
        said.append(ngettext("%(num)s line was skipped", "%(num)s lines were skipped", len(report.refused)))
    if report.rest:
        said.append(ngettext("%(num)s line was not read yet", "%(num)s lines were not read yet", len(report.rest)))
    return said
