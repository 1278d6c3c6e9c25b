"""A real authorization server (oidc-provider on Node): PKCE is required; device codes, rotation, introspection."""

import html
import json
import re
import ssl
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

from tests.servers.certificates import Authority
from tests.servers.process import CACHE, PartMissing, Program, free_port, remove_folder, temporary_folder

NODE = Path(__file__).resolve().parents[2] / ".venv" / "bin" / "node"
PARTS = CACHE / "node"
SCRIPT = Path(__file__).with_name("node") / "authorization.mjs"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
FORM = re.compile(r"<form.*?</form>", re.DOTALL)
FIELD = re.compile(r"<(?:input|button)[^>]*>")


class AuthorizationServer:
    """The server, by https on localhost. ``client`` registers an app, ``sign_in`` is the person with a browser."""

    def __init__(self, authority: Authority) -> None:
        if not NODE.exists() or not (PARTS / "installed").exists():
            raise PartMissing("the authorization server is missing: sh scripts/bootstrap.sh test")
        self.folder, self.port = temporary_folder("authorization"), free_port()
        self.url = f"https://localhost:{self.port}"
        self._context = ssl.create_default_context(cafile=str(authority.file))
        key, certificate = authority.issue("authorization", self.folder)
        settings = {
            "issuer": self.url,
            "port": self.port,
            "key": str(key),
            "certificate": str(certificate),
            "parts": str(PARTS),
        }
        command = [NODE, SCRIPT, json.dumps(settings)]
        self._program = Program.start("authorization server", command, self.folder / "log", env={})
        self._program.wait_for_port(self.port)
        self.client("introspection", secret="for dovecot", basic=True)

    # --- what a test sets

    def client(self, client_id: str, *redirects: str, secret: str = "", basic: bool = False) -> None:
        """Register an app, or register it anew: with other redirect addresses or another secret."""
        auth = ("client_secret_basic" if basic else "client_secret_post") if secret else "none"
        grants = ["refresh_token", DEVICE]
        grants += ["authorization_code"] if redirects else []
        grants += ["client_credentials"] if secret else []
        self._tell(
            "client",
            client_id=client_id,
            redirect_uris=redirects,
            response_types=["code"] if redirects else [],
            grant_types=grants,
            token_endpoint_auth_method=auth,
            **({"client_secret": secret} if secret else {}),
        )

    def set(self, **options: Any) -> None:
        """Change options: accessToken, refreshToken, deviceCode (seconds), rotate, issueRefresh, clientUser, mailOf."""
        self._tell("options", **options)

    def revoke(self, account: str, *kinds: str) -> None:
        """Take back what was granted to an account: all of it, or only these (``AccessToken``, ``RefreshToken``)."""
        self._tell("revoke", account=account, **({"kinds": kinds} if kinds else {}))

    def asked(self) -> list[dict[str, Any]]:
        """Return what reached the token endpoint: grant, scope, client, status, error."""
        found: list[dict[str, Any]] = self._tell("asked")
        return found

    @property
    def introspection_url(self) -> str:
        """Where Dovecot asks what a token is worth; ``username`` in the answer is the mailbox."""
        return f"https://introspection:for%20dovecot@localhost:{self.port}/token/introspection"

    # --- the person

    def sign_in(self, url: str, login: str, allow: bool = True) -> str:
        """Open the page that an app sent us to, sign in, agree, and return where the browser is sent back to."""
        return self._walk(url, login, allow)

    def enter_code(self, url: str, login: str, allow: bool = True) -> str:
        """Open the page for device codes, with the code in its address, and return the page at the end."""
        return self._walk(url, login, allow)

    def _walk(self, url: str, login: str, allow: bool) -> str:
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=self._context),
            urllib.request.HTTPCookieProcessor(CookieJar()),
            _StopElsewhere(self.url),
        )
        answer = opener.open(url, timeout=60)
        for _ in range(8):
            page = answer.read().decode()
            if elsewhere := answer.headers.get("X-Elsewhere"):
                return str(elsewhere)
            abort = re.search(r'href="([^"]*/abort)"', page)
            forms = FORM.findall(page)
            if not forms:
                return page
            if abort and not allow:
                answer = opener.open(urllib.parse.urljoin(answer.url, html.unescape(abort[1])), timeout=60)
                continue
            fields = _fields(forms[0], login)
            target = urllib.parse.urljoin(answer.url, html.unescape(_attribute(forms[0], "action")))
            answer = opener.open(target, urllib.parse.urlencode(fields).encode(), timeout=60)
        raise AssertionError(f"no end of pages; the last one: {page[:2000]}")

    def _tell(self, door: str, **words: Any) -> Any:
        request = urllib.request.Request(f"{self.url}/test/{door}", json.dumps(words).encode(), method="POST")
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._context))
        with urllib.request.build_opener(*handlers).open(request, timeout=60) as answer:
            return json.load(answer)

    def log(self) -> str:
        """Return what the server said."""
        return self._program.output()

    def stop(self) -> None:
        """End it."""
        self._program.kill()
        remove_folder(self.folder)


class _StopElsewhere(urllib.request.HTTPRedirectHandler):
    """Follow redirects on the server itself; one that leads back to the app is the answer."""

    def __init__(self, own: str) -> None:
        self._own = own

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if newurl.startswith(self._own):
            return super().redirect_request(req, fp, code, msg, headers, newurl)
        headers["X-Elsewhere"] = newurl
        return None

    def http_error_303(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        return super().http_error_302(req, fp, code, msg, headers) or fp

    http_error_302 = http_error_303


def _attribute(tag: str, name: str) -> str:
    found = re.search(rf'\b{name}="([^"]*)"', tag)
    return found[1] if found else ""


def _fields(form: str, login: str) -> dict[str, str]:
    """Return what a person would send with a form: the log-in and any password where they are asked for."""
    fields = {}
    for tag in FIELD.findall(form):
        if name := _attribute(tag, "name"):
            fields[name] = html.unescape(_attribute(tag, "value"))
    fields.pop("abort", None)
    if "login" in fields:
        fields |= {"login": login, "password": "any"}
    return fields
