"""What we use of libraries although it is not theirs to give: an upgrade that takes one away fails here first."""

import imaplib
import inspect
import poplib
import smtplib

import flask_mail
import imapclient
import pytest


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (imaplib.IMAP4, "_create_socket", ["self", "timeout"]),
        (imaplib.IMAP4, "_quote", ["self", "arg"]),
        (imapclient.IMAPClient, "_create_IMAP4", ["self"]),
        (poplib.POP3, "_create_socket", ["self", "timeout"]),
        (poplib.POP3, "_getline", ["self"]),
        (smtplib.SMTP, "getreply", ["self"]),
        (flask_mail.Connection, "configure_host", ["self"]),
        (flask_mail.Connection, "__enter__", ["self"]),
    ],
)
def test_a_hook_is_there_and_takes_what_we_give(owner, name, parameters):
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters


@pytest.mark.parametrize("name", ["_host", "sock", "local_hostname"])
def test_smtplib_keeps_the_attributes_that_we_set(name):
    assert name in vars(smtplib.SMTP()) or hasattr(smtplib.SMTP, name)


def test_imapclient_reads_its_answers_from_imaplib():
    source = inspect.getsource(imapclient.IMAPClient.__init__)
    assert "self._imap = self._create_IMAP4()" in source
