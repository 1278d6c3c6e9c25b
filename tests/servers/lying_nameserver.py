"""A name server that answers as a test says, for what no real one can be made to do (by dnslib)."""

import socket
import threading
from collections.abc import Callable, Iterable

from dnslib import QTYPE, RR, TXT, DNSHeader, DNSRecord

from tests.servers.process import HOST

Reply = bytes | None
Staged = Callable[[DNSRecord, bool], Reply]  # gets the question and whether it came by TCP; None is silence


def reply(question: DNSRecord, *texts: str, **header: int) -> DNSRecord:
    """Return the right response with these TXT records; ``header`` changes its flags."""
    values = {"id": question.header.id, "qr": 1, "aa": 0, "ra": 1, "rd": 1, **header}
    rcode = values.pop("rcode", 0)
    response = DNSRecord(DNSHeader(**values), q=question.q)
    response.header.rcode = rcode
    for text in texts:
        response.add_answer(RR(question.q.qname, QTYPE.TXT, rdata=TXT(text), ttl=60))
    return response


class LyingNameServer:
    """Answers by UDP and TCP until it is closed; ``asked`` are the names, each with its way.

    ``then``: what comes after each answer by UDP.
    """

    def __init__(self, staged: Staged, then: Callable[[], Iterable[bytes]] = tuple) -> None:
        self.staged, self.then = staged, then
        self.asked: list[tuple[str, str]] = []
        self.tcp = socket.create_server((HOST, 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((HOST, self.port))
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def _serve_udp(self) -> None:
        while True:
            try:
                data, client = self.udp.recvfrom(4096)
                answer = self._answer(data, by_tcp=False)
                for packet in [] if answer is None else [answer, *self.then()]:
                    self.udp.sendto(packet, client)
            except OSError:
                return

    def _serve_tcp(self) -> None:
        while True:
            try:
                connection, _ = self.tcp.accept()
                with connection:
                    answer = self._answer(connection.recv(4096)[2:], by_tcp=True)
                    if answer is not None:
                        connection.sendall(len(answer).to_bytes(2, "big") + answer)
            except OSError:
                return

    def _answer(self, data: bytes, *, by_tcp: bool) -> Reply:
        question = DNSRecord.parse(data)
        self.asked.append((str(question.q.qname), "TCP" if by_tcp else "UDP"))
        return self.staged(question, by_tcp)

    def close(self) -> None:
        """End both."""
        self.udp.close()
        self.tcp.close()
