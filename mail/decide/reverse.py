"""Whether the address of a server has a name that leads back to it: most receivers refuse those without. Pure."""

import ipaddress

from mail.decide.spf_macros import IPAddress, reverse_name
from mail.decide.verdicts import RecordToPaste, Verdict, not_known
from mail.dns_answers import DnsAnswers
from mail.sentences import why

MOST_NAMES = 10


def judge_reverse(address: IPAddress, host: str, answers: DnsAnswers) -> Verdict:
    """Return the verdict on the PTR record of an address. ``host``: the name that it should have."""
    name, subject = reverse_name(address), str(address)
    answer = answers.ask(name, "PTR")
    if not answer.is_known:
        return not_known("ptr", name, answer, subject)
    record = _record(name, host, answer.records)
    if not answer.records:
        return Verdict("ptr", "bad", (why("ptr_missing", address=subject),), record, subject)
    kind = "A" if address.version == 4 else "AAAA"
    found = [answers.ask(one, "A" if kind == "A" else "AAAA") for one in answer.records[:MOST_NAMES]]
    names = ", ".join(answer.records)
    if any(str(address) in forward.records for forward in found):
        return Verdict("ptr", "good", (why("ptr_good", address=subject, names=names),), subject=subject)
    unclear = next((one for one in zip(answer.records, found, strict=False) if not one[1].is_known), None)
    if unclear:
        return not_known("ptr", *unclear, subject)
    return Verdict("ptr", "bad", (why("ptr_other", address=subject, names=names),), record, subject)


def _record(name: str, host: str, replaces: tuple[str, ...]) -> RecordToPaste | None:
    """The record for whoever owns the address; none where the server is known by its address only."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return RecordToPaste(name, "PTR", f"{host}.", replaces, f"{host}.") if host else None
    return None
