"""What of an email could not be read, and why (mail/message)."""

from typing import Any

from flask_babel import lazy_gettext as _l

SENTENCES: dict[str, Any] = {
    "parse_failed": _l("The email could not be read (%(error)s). Open the original and report this to the developers."),
    "parse_line_ends": _l("The email used outdated line endings; they were repaired."),
    "parse_header_repeated": _l("The header “%(name)s” appears more than once; the first one is used."),
    "parse_no_message_id": _l("The email has no Message-ID."),
    "parse_no_sender": _l("The sender's address could not be read."),
    "parse_no_date": _l("The email has no date; the time of arrival is used."),
    "parse_date_unreadable": _l("The date “%(date)s” could not be read; the time of arrival is used."),
    "parse_date_future": _l("The date of the email (%(date)s) is in the future; the time of arrival is used."),
    "parse_no_blank_line": _l(
        "The header does not end with an empty line; the text begins after the last header field."
    ),
    "parse_line_noise": _l("The header contained lines that are not header fields; they were left out."),
    "parse_no_boundary": _l("The email claims to have several parts, but they could not be separated."),
    "parse_boundary_guessed": _l(
        "The email claims to have several parts but names the wrong separator; the separator it uses was recognized."
    ),
    "parse_file_damaged": _l("A file in the text of the email was damaged; the readable part is attached."),
    "parse_encrypted": _l("This email is encrypted. CoquiMail has no key to decrypt it."),
    "parse_not_closed": _l("The email ends before its last part does; it may be truncated."),
    "parse_base64": _l("An encoded part was damaged; the readable part is shown."),
    "parse_text_damaged": _l("Some characters are not valid in the character set “%(charset)s” and were replaced."),
    "parse_charset_unknown": _l("The character set “%(charset)s” is unknown; UTF-8 or Windows-1252 was used instead."),
    "parse_signature_not_checked": _l("This email is digitally signed; its signature was not checked."),
    "parse_words_only": _l(
        "This email is too large to be shown with its formatting: only its text is shown. Open the original to see all "
        "of it."
    ),
    "parse_too_heavy": _l(
        "Reading this email takes more time or memory than allowed. Its beginning is shown here; open the "
        "original to see all of it."
    ),
    "parse_zero_bytes": _l("The email contained zero bytes; they were left out of the text."),
    "parse_too_large": _l("The email is %(megabytes)s MB; the limit is %(limit)s MB. Open the original to see it."),
    "parse_too_many_parts": _l("The email has more than %(limit)s parts. Open the original to see all of it."),
    "parse_too_deep": _l("The email has more than %(limit)s nested parts. Open the original to see it."),
    "parse_header_too_large": _l("The email has a header of %(kilobytes)s KB; only the first %(limit)s KB are read."),
}
