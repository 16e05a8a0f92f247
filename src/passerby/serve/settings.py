"""What a service is allowed to do and to whom it talks, checked before it starts.

Without a token it listens to this machine alone; whoever wants others to reach it has to give one.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from passerby.errors import ConfigError
from passerby.gallery.announcing import TOKEN_VARIABLE
from passerby.gallery.reranking import offered_stages

_SHORTEST_TOKEN = 16


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one service.

    Attributes:
        host: address to listen at.
        port: TCP port, 0 to 65535; 0 takes a free one.
        token: what every request has to show, or None where only this machine may ask.
        uploads: folder for pictures that clients add, or None where nobody may add.
        may_delete: whether clients may delete.
        workers: requests that are worked on at once, 1 to 64.
        waiting: requests that may wait for a worker, 0 to 10,000; one more is told to come back later.
        timeout_s: longest wait for a worker, and longest work, in seconds.
        audit: file to which one line is written for each request, or None.
        audit_queries: whether those lines hold what was asked for.
        stages: second stages that clients may ask for by name, as `--rerank` is written; k-reciprocal is always there.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    uploads: Path | None = None
    may_delete: bool = False
    workers: int = 2
    waiting: int = 8
    timeout_s: float = 20.0
    audit: Path | None = None
    audit_queries: bool = False
    stages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is out of range or unsafe."""
        for name, lowest, highest in (
            ("port", 0, 65_535), ("workers", 1, 64), ("waiting", 0, 10_000), ("timeout_s", 0.01, 3_600),
        ):  # fmt: skip
            if not lowest <= getattr(self, name) <= highest:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected {lowest} to {highest}")
        if self.token is not None:
            _check_token(self.token)
        elif not is_loopback(self.host):
            raise ConfigError(
                f"others could reach {self.host!r}, and no token is given; set {TOKEN_VARIABLE} to a secret of "
                f"at least {_SHORTEST_TOKEN} characters (python -c 'import secrets; print(secrets.token_urlsafe())'), "
                "or listen at 127.0.0.1"
            )
        if self.audit_queries and self.audit is None:
            raise ConfigError("queries can only be kept in an audit log; name its file too")
        offered_stages(self.stages)


def token_from_environment() -> str | None:
    """The token that the environment holds, or None."""
    return os.environ.get(TOKEN_VARIABLE) or None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address; a name other than localhost might be anybody's."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_token(token: str) -> None:
    # The message must not show the token.
    if len(token) < _SHORTEST_TOKEN or not all("!" <= letter <= "~" for letter in token):
        raise ConfigError(
            f"the token has {len(token)} characters; expected at least {_SHORTEST_TOKEN} printable ASCII characters "
            "without spaces; python -c 'import secrets; print(secrets.token_urlsafe())' makes a good one"
        )
