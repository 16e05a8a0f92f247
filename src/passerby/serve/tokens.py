"""Who may ask: the token of a request, compared in constant time, in a header or as a browser's cookie.

A cookie holds no token but a keyed digest of it, with a key that dies with the process: whoever finds one knows
nothing that would help after a restart.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from http.cookies import CookieError, SimpleCookie

#: Name of the cookie that a browser keeps after signing in.
COOKIE = "passerby"
_SCHEME = "bearer "


class Tokens:
    """Checks requests against one token."""

    def __init__(self, token: str | None) -> None:
        """Remember the token; without one, everybody who reaches the service may ask."""
        self.wanted = token is not None
        self._token = (token or "").encode()
        self._key = secrets.token_bytes(32)

    def is_right(self, given: str) -> bool:
        """Whether a text is the token; takes as long for a wrong one as for the right one."""
        return self.wanted and hmac.compare_digest(self._digest(given.encode("utf-8", "replace")), self._own())

    def cookie(self) -> str:
        """What a browser shows instead of the token."""
        return self._own()

    def allows(self, headers: dict[str, str]) -> bool:
        """Whether a request with these headers (names in lower case) shows the token or the cookie."""
        if not self.wanted:
            return True
        given = headers.get("authorization", "")
        if given[: len(_SCHEME)].lower() == _SCHEME:
            return self.is_right(given[len(_SCHEME) :].strip())
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return morsel is not None and hmac.compare_digest(morsel.value.encode("utf-8", "replace"), self._own().encode())

    def _own(self) -> str:
        return self._digest(self._token)

    def _digest(self, text: bytes) -> str:
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()
