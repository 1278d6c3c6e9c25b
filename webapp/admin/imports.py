"""What pasted lines have in common, wherever they are added: how the page says which were not taken."""

from flask_babel import ngettext

from mail.mailing.lists import ImportReport

REFUSED_SHOWN = 100  # lines of a report


def not_taken(report: ImportReport) -> list[str]:
    """Return the parts of a summary that say how many lines were not taken, and how many not read yet."""
    said = []
    if report.refused:
        said.append(ngettext("%(num)s line was skipped", "%(num)s lines were skipped", len(report.refused)))
    if report.rest:
        said.append(ngettext("%(num)s line was not read yet", "%(num)s lines were not read yet", len(report.rest)))
    return said
