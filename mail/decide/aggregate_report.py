"""Whether a mail is a DMARC aggregate report about a domain, and what it says (RFC 7489 7.2). Pure.

Known by its shape: the name of its file, ``google.com!example.com!1732320000!1732406399.zip``, or its subject, "Report
Domain: example.com Submitter: …", and a file that is what they promise. Also one that somebody forwards as attachment.
"""

import re
from collections.abc import Collection, Iterator
from datetime import timedelta
from itertools import islice

from mail.decide.alignment import same_organisation
from mail.message.dmarc_report import AggregateReport, NotAReport, read_aggregate
from mail.message.parse import IncomingMessage, parse
from mail.message.parts import Part
from mail.message.unpacked import NotUnpacked, unpacked
from mail.sentences import Why, why

TLS_REPORT = "route_tls_report"
MOST_TRIED = 3  # files of one mail
MOST_ATTACHED = 3  # attached mails that are looked into …
LARGEST_ATTACHED = 5 * 1024 * 1024  # … and their octets, together
OLDEST, FROM_NOW = timedelta(days=2 * 365), timedelta(days=2)  # what a report of another time says is of no use
HINTED = 100_000  # … for whether it is one

_SUBJECT = re.compile(r"\bReport[- ]Domain:\s*\S+.*\bSubmitter:", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r"[^!/\\]+![^!/\\]+!\d{6,12}!\d{6,12}(?:![^!/\\]*)?(?:\.xml)?\.(?:gz|gzip|zip|xml)", re.IGNORECASE)
_PACKED = re.compile(r".*\.(?:gz|gzip|zip|xml)", re.IGNORECASE | re.DOTALL)
_XML_TYPES = frozenset(("text/xml", "application/xml", "application/dmarc+xml"))
_PACKED_TYPES = _XML_TYPES | {
    "application/gzip", "application/x-gzip", "application/gzip-compressed", "application/zip",
    "application/x-zip-compressed", "application/x-zip",
}  # fmt: skip
_ROOT = re.compile(rb"<(?:[a-z0-9]{1,20}:)?feedback[\s>]", re.IGNORECASE)
_ATTACHED_HINT = re.compile(rb"Report[- ]Domain:|![0-9]{9,11}![0-9]{9,11}", re.IGNORECASE)


def aggregate_report(message: IncomingMessage) -> AggregateReport | Why | None:
    """Return what a mail reports; None if it is no such report; the reason if it is one that can't be read.

    XML that merely has the root of a report promises nothing: if it can't be read as one, it is something else.
    A report about encryption (RFC 8460) has the same subject and nearly the same file name; ``TLS_REPORT`` is the code.
    """
    if message.report_type == "tlsrpt" or any(
        part.type.startswith("application/tlsrpt") for part in message.attachments
    ):
        return why(TLS_REPORT)
    reason = None
    for part, promised in islice(_files(message), MOST_TRIED):
        try:
            report = read_aggregate(unpacked(part.content))
            if message.arrived_at - OLDEST < report.begin and report.end < message.arrived_at + FROM_NOW:
                return report
            raise NotAReport(why("dmarc_out_of_time", begin=f"{report.begin:%Y-%m-%d}", end=f"{report.end:%Y-%m-%d}"))
        except (NotUnpacked, NotAReport) as error:
            reason = reason or (error.why if promised else None)
    return reason


def is_announced(subject: str) -> bool:
    """Say whether a subject is the one that reporters are to use.

    >>> is_announced("Report Domain: example.com Submitter: google.com Report-ID: 12"), is_announced("Your report")
    (True, False)
    """
    return _SUBJECT.search(subject[:1000]) is not None


def is_about(report: AggregateReport, domains: Collection[str]) -> bool:
    """Say whether a report is about one of these domains, or one of the same organisation."""
    return report.domain in domains or any(same_organisation(report.domain, domain) for domain in domains)


def _files(message: IncomingMessage) -> Iterator[tuple[Part, bool]]:
    """The files of a mail that may be its report, and whether their name or the subject says that they are one."""
    yield from _own_files(message)
    left, attached = LARGEST_ATTACHED, (part for part in message.attachments if part.type == "message/rfc822")
    hinted = (part for part in attached if _ATTACHED_HINT.search(part.content[:HINTED]))
    for part in islice(hinted, MOST_ATTACHED):
        if len(part.content) <= left:
            left -= len(part.content)
            yield from _own_files(parse(part.content, message.arrived_at))


def _own_files(message: IncomingMessage) -> Iterator[tuple[Part, bool]]:
    announced = is_announced(message.subject)
    for part in message.attachments:
        name = "".join(part.name.split())
        if _NAME.fullmatch(name) or (announced and (part.type in _PACKED_TYPES or _PACKED.fullmatch(name))):
            yield part, True
        elif part.type in _XML_TYPES and _ROOT.search(part.content[:2000]):
            yield part, False
