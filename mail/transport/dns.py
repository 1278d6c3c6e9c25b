"""EDGE: questions to DNS, with what became of each told apart.

The resolvers are the operator's (``COQUI_DNS_RESOLVER``) or the system's. Nothing else is ever connected to: a name
that somebody entered is only asked about. A resolver that is silent, fails or talks nonsense never reads as "no
record".
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from mail.dns_answers import DnsAnswer, DnsOutcome, Question

if TYPE_CHECKING:  # the library is loaded by the first question
    from dns.message import Message, QueryMessage
    from dns.name import Name
    from dns.rdata import Rdata

QUESTION_SECONDS = 5.0  # for one question, all resolvers and tries together
TRY_SECONDS = 2.0  # for one resolver, as long as there are others or time for a second try
AT_ONCE = 8

ResolverAddress = tuple[str, int]


class Resolver:
    """Who is asked: the given addresses with their ports, in that order, else the resolvers of the system."""

    def __init__(self, addresses: Sequence[ResolverAddress] = (), seconds: float = QUESTION_SECONDS) -> None:
        self.addresses = tuple(addresses)
        self.seconds = seconds

    def ask_all(self, questions: Iterable[Question]) -> dict[Question, DnsAnswer]:
        """Return the answers to several questions, asked at the same time."""
        wanted = list(dict.fromkeys(questions))
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="dns") as threads:
            return dict(zip(wanted, threads.map(self.ask, wanted), strict=True))

    def ask(self, question: Question) -> DnsAnswer:
        """Return the answer to a question, within a few seconds, whatever happens."""
        _leave_out_https()
        name = _name(question.name)
        if name is None:
            return DnsAnswer("no_name", said="not a domain name")
        deadline = time.monotonic() + self.seconds
        failure = DnsAnswer("silent", said="no name server is set up")
        for resolver in self._tries():
            left = deadline - time.monotonic()
            if left <= 0:
                break
            answer = _ask_one(resolver, name, question, min(left, TRY_SECONDS))
            if answer.is_known:
                return answer
            if failure.outcome == "silent":  # a resolver that said something tells more than one that did not
                failure = answer
        return failure

    def _tries(self) -> Iterator[ResolverAddress]:
        """Each resolver once, then each again: a lost packet is no outage."""
        for _ in range(2):
            yield from self.addresses or _system_resolvers()


def _leave_out_https() -> None:
    """Keep dnspython from loading what it needs for DNS over HTTPS: 12 MB for nothing in each worker."""
    import dns._features

    dns._features.force("doh", False)


def _system_resolvers() -> list[ResolverAddress]:
    from dns.resolver import NoResolverConfiguration
    from dns.resolver import Resolver as SystemResolver

    try:
        return [(str(address), 53) for address in SystemResolver().nameservers]
    except NoResolverConfiguration:
        return []


def _name(text: str) -> Name | None:
    from dns.exception import DNSException
    from dns.name import Name

    try:
        return Name([*(label.encode() for label in text.split(".")), b""])
    except (DNSException, UnicodeError):  # a label that is empty or too long
        return None


def _ask_one(resolver: ResolverAddress, name: Name, question: Question, seconds: float) -> DnsAnswer:
    """Ask one resolver, by TCP when its response was cut."""
    import dns.exception
    import dns.message
    import dns.rcode

    address, _ = resolver
    deadline = time.monotonic() + seconds
    query = dns.message.make_query(name, question.kind, use_edns=True, payload=1232)
    try:
        response = _response(query, resolver, seconds)
        left = deadline - time.monotonic()
        if response.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP) and left > 0:  # an old one that knows no EDNS
            response = _response(dns.message.make_query(name, question.kind), resolver, left)
    except dns.exception.Timeout:
        return DnsAnswer("silent", said=f"{address}: no response")
    except (OSError, EOFError) as error:
        return DnsAnswer("silent", said=f"{address}: {getattr(error, 'strerror', None) or 'closed the connection'}")
    except (dns.exception.DNSException, ValueError) as error:
        return DnsAnswer("malformed", said=f"{address}: {error or type(error).__name__}")
    return _read(response, address)


def _response(query: QueryMessage, resolver: ResolverAddress, seconds: float) -> Message:
    import dns.message
    import dns.query

    address, port = resolver
    try:
        return _by_udp(query, resolver, seconds)
    except dns.message.Truncated:
        return dns.query.tcp(query, address, seconds, port)


def _by_udp(query: QueryMessage, resolver: ResolverAddress, seconds: float) -> Message:
    """Wait for the response among whatever else arrives; when none comes, what was wrong about the rest counts."""
    import dns.exception
    import dns.inet
    import dns.message
    import dns.query

    wrong: Exception | type[Exception] = dns.exception.Timeout
    end = time.time() + seconds
    with dns.query.make_socket(dns.inet.af_for_address(resolver[0]), socket.SOCK_DGRAM) as connection:
        destination = dns.inet.low_level_address_tuple(resolver)
        dns.query.send_udp(connection, query, destination, end)
        while True:
            try:
                response: Message = dns.query.receive_udp(connection, destination, end, True, raise_on_truncation=True)[
                    0
                ]
                if query.is_response(response):
                    return response
                wrong = dns.query.BadResponse
            except dns.exception.Timeout:
                raise wrong from None
            except dns.message.Truncated as cut:
                if query.is_response(cut.message()):  # type: ignore[no-untyped-call]
                    raise
                wrong = dns.query.BadResponse
            except (dns.exception.DNSException, ValueError) as error:
                wrong = error


def _read(response: Message, address: str) -> DnsAnswer:
    import dns.exception
    import dns.flags
    import dns.message
    import dns.rcode

    code = response.rcode()
    said = f"{address}: {dns.rcode.to_text(code)}"
    knows = response.flags & (dns.flags.AA | dns.flags.RA)
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN) or not isinstance(response, dns.message.QueryMessage):
        reasons = [str(error.to_text()) for error in response.extended_errors()]
        return DnsAnswer("failed", said=", ".join([said, *reasons]))
    try:
        chain = response.resolve_chaining()
    except dns.exception.DNSException as error:
        return DnsAnswer("malformed", said=f"{said}, {error}")
    aliases = tuple(_text(alias) for alias in _aliases(response))
    if chain.answer is not None:
        records = tuple(_record(record) for record in chain.answer)
        return DnsAnswer("found", records, int(chain.minimum_ttl), aliases, said)
    if code == dns.rcode.NOERROR and not knows:
        return DnsAnswer("failed", said=f"{said}, but it does not look up the names of others")
    outcome: DnsOutcome = "no_name" if code == dns.rcode.NXDOMAIN else "no_record"
    return DnsAnswer(outcome, (), int(chain.minimum_ttl), aliases, said)


def _aliases(response: QueryMessage) -> Iterator[Name]:
    for rrset in response.resolve_chaining().cnames:
        yield rrset[0].target


def _text(name: Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _record(record: Rdata) -> str:
    """Return a record as text: plain ASCII, anything else as ``\\xNN``."""
    from dns.rdtypes.ANY.MX import MX
    from dns.rdtypes.ANY.TXT import TXT
    from dns.rdtypes.nsbase import NSBase

    if isinstance(record, TXT):
        return "".join(chr(octet) if 32 <= octet < 127 else f"\\x{octet:02x}" for octet in b"".join(record.strings))
    if isinstance(record, MX):
        return f"{record.preference} {_text(record.exchange)}"
    if isinstance(record, NSBase):  # NS, CNAME, PTR
        return _text(record.target)
    return record.to_text()
