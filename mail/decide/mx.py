"""Whether a domain takes mail: replies and failures come back to it. Pure."""

from mail.decide.verdicts import Verdict, not_known
from mail.dns_answers import DnsAnswers
from mail.sentences import Why, why

MOST_HOSTS = 10  # more are not looked up


def judge_mx(domain: str, answers: DnsAnswers) -> Verdict:
    """Return whether mail to a domain has somewhere to go."""
    answer = answers.ask(domain, "MX")
    if not answer.is_known:
        return not_known("mx", domain, answer)
    hosts = mail_hosts(answer.records)
    if not hosts:
        return _without_mx(domain, answers)
    if hosts == [""]:
        return Verdict("mx", "bad", (why("mx_null", domain=domain),))
    found = [host for host in hosts[:MOST_HOSTS] if host]
    problems = [problem for host in found if (problem := _problem(host, answers))]
    if any(problem["code"] != "mx_host_missing" for problem in problems):
        return Verdict("mx", "unknown", tuple(problems))
    if problems:
        return Verdict("mx", "bad" if len(problems) == len(found) else "warning", tuple(problems))
    return Verdict("mx", "good", (why("mx_good", domain=domain, hosts=", ".join(found)),))


def mail_hosts(records: tuple[str, ...]) -> list[str]:
    """Return the hosts of MX records, the preferred first; "" is the one that says "no mail" (RFC 7505).

    >>> mail_hosts(("20 b.acme.com", "5 a.acme.com")), mail_hosts(("0 .",))
    (['a.acme.com', 'b.acme.com'], [''])
    """
    parts = [record.partition(" ") for record in records]
    return [host.removesuffix(".") for _, host in sorted((int(rank), host) for rank, _, host in parts)]


def _without_mx(domain: str, answers: DnsAnswers) -> Verdict:
    """Mail goes to the address of the domain itself then, if it has one (RFC 5321, 5.1)."""
    found = [answers.ask(domain, kind) for kind in ("A", "AAAA")]
    if any(answer.records for answer in found):
        return Verdict("mx", "warning", (why("mx_by_address", domain=domain),))
    unclear = next((answer for answer in found if not answer.is_known), None)
    if unclear:
        return not_known("mx", domain, unclear)
    return Verdict("mx", "bad", (why("mx_missing", domain=domain),))


def _problem(host: str, answers: DnsAnswers) -> Why | None:
    found = [answers.ask(host, kind) for kind in ("A", "AAAA")]
    if any(answer.records for answer in found):
        return None
    unclear = next((answer for answer in found if not answer.is_known), None)
    if unclear:
        return why(f"dns_{unclear.outcome}", name=host, said=unclear.said)
    return why("mx_host_missing", host=host)
