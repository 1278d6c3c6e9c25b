"""Signing in: addresses of providers, who signed in, and what the answers of authorization servers mean."""

import pytest

from mail.decide import oauth
from mail.decide.oauth import Endpoints, discovered, kind_at, known_endpoints, redirect_address, refusal
from mail.errors import ChangeRefused
from mail.sentences import say
from mail.settings.sign_in_rules import check_provider
from models import OauthProvider

ABOUT = {
    "issuer": "https://a.test",
    "authorization_endpoint": "https://a.test/in",
    "token_endpoint": "https://a.test/token",
    "device_authorization_endpoint": "https://a.test/device",
    "userinfo_endpoint": "https://a.test/me",
    "token_endpoint_auth_methods_supported": ["client_secret_post"],
}


def test_a_provider_describes_itself() -> None:
    all_of_it = Endpoints("https://a.test/in", "https://a.test/token", "https://a.test/device", "https://a.test/me")
    assert discovered(ABOUT, "https://a.test") == all_of_it
    basic = discovered({**ABOUT, "token_endpoint_auth_methods_supported": ["client_secret_basic"]}, "https://a.test")
    assert isinstance(basic, Endpoints) and basic.secret_in_header


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"issuer": "https://b.test"}, "issuer https://b.test"),
        ({"issuer": None}, "issuer None"),
        ({"token_endpoint": None}, "token_endpoint "),
        ({"token_endpoint": "http://a.test/token"}, "token_endpoint http://a.test/token"),
        ({"userinfo_endpoint": "ftp://a.test"}, "userinfo_endpoint ftp://a.test"),
        ({"authorization_endpoint": 7}, "authorization_endpoint 7"),
    ],
)
def test_a_description_that_is_none_is_refused(changed: dict[str, object], wrong: str) -> None:
    assert discovered({**ABOUT, **changed}, "https://a.test") == wrong


def test_google_is_where_it_always_is() -> None:
    assert known_endpoints("google") == Endpoints(
        "https://accounts.google.com/o/oauth2/v2/auth",
        "https://oauth2.googleapis.com/token",
        userinfo="https://openidconnect.googleapis.com/v1/userinfo",
    )


def test_a_tenant_can_lead_to_no_other_host() -> None:
    found = known_endpoints("microsoft", "evil.test/x?y#z")
    assert found is not None
    assert found.token == "https://login.microsoftonline.com/evil.test%2Fx%3Fy%23z/oauth2/v2.0/token"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("google", ["access_type=offline", "prompt=consent", "login_hint=a%40x.test", "mail.google.com"]),
        ("microsoft", ["outlook.office.com%2FSMTP.Send", "offline_access", "code_challenge_method=S256"]),
        ("other", ["prompt=consent", "scope=openid", "redirect_uri=https%3A%2F%2Fx.test%2Fsign-in%2Fcallback"]),
    ],
)
def test_the_page_to_sign_in_on(kind: str, words: list[str]) -> None:
    back = redirect_address("https://x.test")
    scope = oauth.SCOPES[kind]
    url = oauth.authorization_url(Endpoints("https://a.test/in", ""), kind, "us", back, scope, "abc", "a@x.test")
    assert not [word for word in words if word not in url] and "state=" not in url


@pytest.mark.parametrize(
    ("base", "address"),
    [
        ("https://mail.office.test", "https://mail.office.test/sign-in/callback"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/sign-in/callback"),
        ("http://mail.office.test", "http://localhost/sign-in/callback"),
        ("http://[::1]:8000/", "http://[::1]:8000/sign-in/callback"),
    ],
)
def test_where_providers_send_browsers_back_to(base: str, address: str) -> None:
    assert redirect_address(base) == address


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("imap.gmail.com", "google"),
        ("smtp-relay.gmail.com.", "google"),
        ("gmail.com", "google"),
        ("outlook.office365.com", "microsoft"),
        ("notgmail.com", "other"),
        ("", "other"),
    ],
)
def test_whose_host_it_is(host: str, kind: str) -> None:
    assert kind_at(host) == kind


# What authorization servers say, as they say it: RFC 6749 and 8628, Google, Microsoft.
REFUSALS = [
    ("access_denied", "", "sign_in_denied", "choose Allow"),
    ("authorization_declined", "", "sign_in_denied", "choose Allow"),
    ("invalid_client", "The OAuth client was not found.", "sign_in_client_refused", "Copy both again"),
    ("redirect_uri_mismatch", "Bad Request", "sign_in_redirect_wrong", "redirect address"),
    ("invalid_grant", "Token has been expired or revoked.", "sign_in_again", "connect it again"),
    ("unauthorized_client", "", "sign_in_flow_off", "Turn it on at the provider"),
    ("unsupported_grant_type", "", "sign_in_flow_off", "Turn it on"),
    ("invalid_scope", "Some requested scopes were invalid.", "sign_in_permission_missing", "permission"),
    ("expired_token", "", "sign_in_expired", "Connect again"),
    ("slow_down", "", "sign_in_later", "automatically"),
    ("server_error", "", "sign_in_later", "automatically"),
    ("admin_policy_enforced", "", "sign_in_blocked_by_policy", "policy"),
    ("org_internal", "", "sign_in_other_tenant", "another organization"),
    ("invalid_grant", "AADSTS65001: The user or administrator has not consented.", "sign_in_admin_consent", "approve"),
    ("consent_required", "AADSTS90094: The grant requires admin permission.", "sign_in_admin_consent", "approve"),
    ("invalid_client", "AADSTS7000215: Invalid client secret provided.", "sign_in_secret_wrong", "not its ID"),
    ("invalid_client", "AADSTS7000222: The provided client secret keys are expired.", "sign_in_secret_expired", "new"),
    ("unauthorized_client", "AADSTS700016: Application not found.", "sign_in_client_unknown", "client ID"),
    ("invalid_request", "AADSTS50011: The redirect URI does not match.", "sign_in_redirect_wrong", "exactly"),
    ("invalid_request", "AADSTS90002: Tenant 'x' not found.", "sign_in_tenant_unknown", "tenant"),
    ("invalid_client", "AADSTS7000218: client_assertion or client_secret needed", "sign_in_public_client", "public"),
    ("interaction_required", "AADSTS53003: Access has been blocked.", "sign_in_blocked_by_policy", "policy"),
    ("invalid_grant", "AADSTS50173: The provided grant has expired.", "sign_in_again", "password was changed"),
    ("invalid_grant", "AADSTS700082: The refresh token has expired.", "sign_in_again", "connect it again"),
    ("interaction_required", "AADSTS50076: you must use multi-factor authentication", "sign_in_again", "again"),
    ("invalid_grant", "AADSTS50057: The user account is disabled.", "sign_in_account_off", "turned off"),
    ("invalid_resource", "AADSTS500011: The resource was not found.", "sign_in_permission_missing", "permission"),
    ("never_heard", "Something else", "sign_in_refused", "never_heard Something else"),
    ("", "AADSTS99999999: unheard of", "sign_in_refused", "unheard of"),
]


@pytest.mark.parametrize(("error", "description", "code", "words"), REFUSALS)
def test_a_refusal_says_who_can_do_something(error: str, description: str, code: str, words: str) -> None:
    found = refusal(error, description)
    assert found.why["code"] == code
    assert words in say(found.why) and "%(" not in say(found.why)
    assert (found.gone, found.later) == (code == "sign_in_again", code == "sign_in_later")


def test_a_refusal_repeats_no_token_and_is_short() -> None:
    said = say(refusal("invalid_grant", "ya29." + "x" * 3_000 + " and " + "word " * 400).why)
    assert "ya29" not in said and len(said) < 700
    assert say(refusal("", "", 418).why).count("HTTP 418") == 1


def test_what_was_pasted_is_cleaned_at_its_ends_and_refused_when_something_in_it_can_not_be_seen() -> None:
    given = {"kind": "other", "name": "P", "issuer": " https://login.test\ufeff", "scopes": ""}
    provider = OauthProvider(**given, client_id="us\u200b", client_secret="\u2060 x y\u200b", tenant="")
    check_provider(provider)
    assert (provider.client_id, provider.client_secret, provider.issuer) == ("us", "x y", "https://login.test")
    provider.client_secret, provider.client_id = "x\u200by", "ü"
    with pytest.raises(ChangeRefused) as refused:
        check_provider(provider)
    assert set(refused.value.errors) == {"client_id", "client_secret"}
    assert "U+200B" in say(refused.value.errors["client_secret"])
