"""Signing in with Google, Microsoft and others (mail/decide/oauth.py, mail/settings/sign_in.py)."""

from typing import Any

from flask_babel import lazy_gettext as _l

SENTENCES: dict[str, Any] = {
    "oauth_unreachable": _l(
        "Could not reach %(host)s (%(detail)s). CoquiMail connects to it on port 443 (HTTPS). If the problem persists, "
        "ask your network administrator whether the firewall allows that."
    ),
    "oauth_name_not_found": _l("The server %(host)s does not exist. Check the provider address, letter by letter."),
    "oauth_address_not_allowed": _l(
        "%(host)s is not at a public address on port 443 (HTTPS), and this installation connects to no others. Enter "
        "the provider address as it is reached from the internet."
    ),
    "oauth_certificate_refused": _l(
        "The certificate of %(host)s was not accepted (%(detail)s), so no password or token was sent. Check the "
        "provider address. If it is correct, the provider must fix the certificate."
    ),
    "oauth_not_understood": _l(
        "%(host)s responded, but not as a sign-in service does %(status)s. Check the provider address. A proxy or "
        "firewall may also have responded in its place."
    ),
    "oauth_not_https": _l("“%(url)s” is not an https:// address. Signing in is only possible over HTTPS."),
    "oauth_discovery_wrong": _l(
        "The provider at %(issuer)s describes itself differently (%(what)s). Copy the issuer address exactly as the "
        "provider shows it."
    ),
    "oauth_secret_unreadable": _l(
        "The client secret of %(provider)s can't be read: it was stored under another key. Enter it again under "
        "Connected accounts."
    ),
    "oauth_refused": _l("The provider refused: %(said)s"),
    "oauth_later": _l("The provider can't respond now: %(said)s"),
    "sign_in_refused": _l(
        "The provider refused the sign-in. Its response: “%(said)s”. Check the app registration, or ask the provider."
    ),
    "sign_in_later": _l("The provider is busy or down: “%(said)s”. CoquiMail will try again automatically."),
    "sign_in_denied": _l(
        "Access was not allowed on the provider's page. Connect again and choose Allow or Accept there. If you "
        "were not asked, your organization may block the app: ask its administrator. (%(said)s)"
    ),
    "sign_in_admin_consent": _l(
        "An administrator of your Microsoft organization must approve the app first: Microsoft Entra admin center, App "
        "registrations, this app, API permissions, “Grant admin consent”. Then connect again. (%(said)s)"
    ),
    "sign_in_secret_wrong": _l(
        "Microsoft does not accept the client secret. Copy the value of the secret, not its ID, from Certificates & "
        "secrets into the app registration here. (%(said)s)"
    ),
    "sign_in_secret_expired": _l(
        "The client secret has expired. Create a new one at the provider (Certificates & secrets) and enter it in the "
        "app registration here. (%(said)s)"
    ),
    "sign_in_client_unknown": _l(
        "The provider does not know the client ID, or not in this directory. Compare client ID and tenant with the app "
        "registration at the provider. (%(said)s)"
    ),
    "sign_in_client_refused": _l(
        "The provider does not accept client ID and client secret. Copy both again from the app registration at the "
        "provider. (%(said)s)"
    ),
    "sign_in_redirect_wrong": _l(
        "The redirect address is not registered at the provider. Copy it from the app registration here, and add it "
        "there exactly as it is. (%(said)s)"
    ),
    "sign_in_tenant_unknown": _l(
        "Microsoft does not know the tenant. Copy the “Directory (tenant) ID” from the app's overview page into the "
        "app registration here. (%(said)s)"
    ),
    "sign_in_other_tenant": _l(
        "The mailbox belongs to another organization than the app. Sign in with a mailbox of the organization in which "
        "the app is registered, or have the app allowed for others there. (%(said)s)"
    ),
    "sign_in_public_client": _l(
        "Microsoft expects a client secret. Enter one in the app registration here, or, to sign in with a code, turn "
        "on “Allow public client flows” under Authentication at Microsoft. (%(said)s)"
    ),
    "sign_in_blocked_by_policy": _l(
        "A policy of your organization blocks this sign-in. Its administrator can allow the app for this mailbox. "
        "(%(said)s)"
    ),
    "sign_in_account_off": _l(
        "This account is locked, turned off or does not exist at the provider. The administrator of your organization "
        "can check it. (%(said)s)"
    ),
    "sign_in_permission_missing": _l(
        "A permission for email is missing or misspelled in the app registration. Add the permissions listed there at "
        "the provider, then connect again. (%(said)s)"
    ),
    "sign_in_flow_off": _l(
        "The app registration does not allow this way of signing in. Turn it on at the provider, or choose the other "
        "way under Connect. (%(said)s)"
    ),
    "sign_in_expired": _l("The sign-in was not completed in time. Connect again. (%(said)s)"),
    "sign_in_again": _l(
        "The permission has ended: it was revoked, it expired, or the password was changed. Somebody who knows the "
        "mailbox must connect it again. (%(said)s)"
    ),
    "sign_in_code_refused": _l(
        "The provider does not accept this code. Usually it was used already or is too old. Connect again. If you "
        "paste the address, do so within a minute. (%(said)s)"
    ),
    "sign_in_no_device_code": _l(
        "%(provider)s offers no sign-in with a code for email. Choose “In this browser” under Connect."
    ),
    "sign_in_no_permission_kept": _l(
        "The provider gave access for a short time only, without a refresh token. At Google, remove CoquiMail under "
        "“Your connections to third-party apps & services”, then connect again. At others, the app needs the "
        "permission offline_access."
    ),
    "sign_in_other_mailbox": _l(
        "You signed in as %(found)s, but this mailbox is %(address)s. Connect again and sign in as %(address)s. If "
        "both are the same mailbox, enter %(found)s as the user."
    ),
    "sign_in_other_mailbox_microsoft": _l(
        "You signed in as %(found)s, but this mailbox is %(address)s. Connect again and sign in as %(address)s. If "
        "both are the same mailbox, enter %(found)s as the user. For a shared mailbox, choose “As the app itself” "
        "under “How to sign in”. To read one, you can also sign in as yourself and enter it under “Shared mailbox”."
    ),
    "sign_in_server_changed": _l(
        "The server was changed during the sign-in, so the account was not connected to it. Open the server and press "
        "Connect."
    ),
    "sign_in_registration_changed": _l(
        "The app registration was changed, so the sign-in that was made with it before is no longer used. Connect "
        "again."
    ),
    "sign_in_lost": _l("The worker was stopped while it signed in. Connect again."),
    "sign_in_not_in_time": _l("Nobody signed in within the time allowed. Connect again."),
    "sign_in_nothing_came": _l("The provider sent the browser back without a code. Connect again."),
    "sign_in_failed": _l("CoquiMail could not complete the sign-in (%(error)s). Connect again."),
    "sign_in_looked_up": _l("%(provider)s found at %(host)s."),
    "sign_in_page_ready": _l("The sign-in page of %(provider)s is ready."),
    "sign_in_code_ready": _l("%(provider)s gave a code to enter on its page."),
    "sign_in_returned": _l("You signed in at %(provider)s."),
    "sign_in_tokens": _l("%(provider)s gave CoquiMail access. It is renewed automatically."),
    "sign_in_app_tokens": _l("%(provider)s gave the app access. It is renewed automatically."),
    "sign_in_mailbox": _l("The mailbox is %(address)s."),
    "sign_in_mailbox_unknown": _l(
        "%(provider)s does not say which mailbox signed in. If it was not %(address)s, the next test fails."
    ),
    "oauth_not_connected": _l(
        "%(server)s signs in with a connected account, and none is connected yet. Press Connect on its page."
    ),
    "oauth_user_needed": _l("Enter the email address of the mailbox: it is the account to connect."),
    "oauth_needs_tls": _l("Choose STARTTLS or TLS: access tokens are never sent unencrypted."),
    "oauth_field_needed": _l("Copy it from the app registration at the provider."),
    "oauth_odd_character": _l(
        "It contains a character that providers do not use here and that may be invisible (%(character)s). Copy it "
        "again."
    ),
    "oauth_secret_again": _l("The issuer address has changed: enter the client secret again."),
    "sign_in_way_not_offered": _l(
        "%(provider)s does not offer this way of signing in for email. Choose “In this browser” and connect again: it "
        "also works for an office without a public address."
    ),
    "sign_in_permission_left_out": _l(
        "You signed in, but access to the mailbox was not allowed (%(scopes)s). Connect again, and tick every "
        "permission on the provider's page."
    ),
}
