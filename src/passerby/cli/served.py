"""A gallery that a running service holds, searched through it.

The service has the index open and the model loaded, so its answer is faster than one from a process that would have to
load both, and compare every row because the index belongs to one process. What comes back is what `Gallery` answers.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from passerby.data.images import read_image_file
from passerby.errors import GalleryError
from passerby.gallery import Gallery, Hit, Hits, Picture
from passerby.gallery.announcing import TOKEN_VARIABLE, Service, service_of

#: How long an answer may take, in seconds: longer than the service itself would let a search work.
_PATIENCE_S = 60.0
_BUSY, _TRIES = (429, 503), 10
_RETRY_AFTER_S = 1.0


def gallery_or_service(address: str, rerank: str | None = None) -> Gallery | Served:
    """What answers searches of a gallery: the service that has it open, or the gallery itself.

    Args:
        address: the gallery's.
        rerank: second stage that the searches need. A service has its own ones, known by their names; with a checkpoint
            or options that the service was not asked for, the gallery itself has to answer.

    Raises:
        GalleryError: there is no gallery, or it cannot be opened.
    """
    service = service_of(address)
    if service is not None and (rerank is None or rerank in service.stages):
        served = Served(service)
        if served.is_up():
            return served
    return Gallery.open(address)


class Served:
    """A gallery behind a service of this machine."""

    def __init__(self, service: Service) -> None:
        """Remember where the service is; nothing is asked yet."""
        self._service = service

    def is_up(self) -> bool:
        """Whether connections are taken; a service that is just stopping takes none."""
        try:
            return self._once("GET", "/health", b"", {})[0] == http.client.OK
        except (ConnectionError, http.client.HTTPException):
            return False

    def search(
        self,
        text: Sequence[str] | None,
        image: Sequence[Path] | None,
        k: int = 10,
        text_weight: float = 0.5,
        *,
        like: Iterable[str] = (),
        unlike: Iterable[str] = (),
        where: str | None = None,
        min_score: float | None = None,
        group: str | None = None,
        reranker: str | None = None,
        keep_poor: bool = False,
    ) -> Hits:
        """Ask what `Gallery.search` asks; the arguments are the same.

        Raises:
            DataError: a picture's file cannot be read.
            GalleryError: the service refuses, with its reason, or does not answer.
        """
        fields = [("text", each) for each in text or ()]
        fields += [("like", each) for each in like] + [("unlike", each) for each in unlike]
        single = {"k": k, "where": where, "min_score": min_score, "group": group, "rerank": reranker}
        fields += [(name, str(value)) for name, value in single.items() if value is not None]
        fields += [("keep_poor", "true")] if keep_poor else []
        if not image:
            answer = self._asked("GET", f"/v1/search?{urlencode(fields)}")
        else:
            files = [(str(path), read_image_file(path)) for path in image]
            kind, body = _form([*fields, ("text_weight", str(text_weight))], files)
            answer = self._asked("POST", "/v1/search", body, {"Content-Type": kind})
        values = json.loads(answer)
        return Hits(map(_hit, values["hits"]), values["warnings"], values["seconds"])

    def thumbnail(self, name: str) -> bytes:
        """A small JPEG of a picture.

        Raises:
            GalleryError: the gallery does not hold the picture, or the service does not answer.
        """
        return self._asked("GET", f"/v1/pictures/{name}/thumbnail")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close: each question has a connection of its own."""

    def _asked(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
        """The body of an answer; a service that is busy is asked again."""
        token = os.environ.get(TOKEN_VARIABLE)
        headers = (headers or {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        status, answer = self._answered(method, path, body, headers)
        for _ in range(_TRIES - 1):
            if status not in _BUSY:
                break
            time.sleep(_RETRY_AFTER_S)
            status, answer = self._answered(method, path, body, headers)
        if status == http.client.UNAUTHORIZED:
            raise self._failed(f"asks for a token; set {TOKEN_VARIABLE} to the one that it was started with")
        if status != http.client.OK:
            raise GalleryError(_reason(answer) or self._failed(f"answers with status {status}"))
        return answer

    def _answered(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        try:
            return self._once(method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise self._failed(f"does not answer ({reason}); stop it and try again") from error

    def _once(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        # Not urllib: it would send the token to a proxy that the environment names.
        connection = http.client.HTTPConnection(self._service.host, self._service.port, timeout=_PATIENCE_S)
        try:
            connection.request(method, path, body or None, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _failed(self, what: str) -> GalleryError:
        host = f"[{self._service.host}]" if ":" in self._service.host else self._service.host
        return GalleryError(
            f"the gallery is served by process {self._service.pid} at http://{host}:{self._service.port}/, which {what}"
        )


def _hit(values: dict[str, Any]) -> Hit:
    known = {name: values[name] for name in ("camera", "time", "person", "track", "source", "metadata")}
    picture = Picture(values["id"], Path(values["path"]), **known)
    return Hit(picture, values["score"], values["band"], tuple(values["others"]))


def _reason(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def _form(fields: Sequence[tuple[str, str]], files: Sequence[tuple[str, bytes]]) -> tuple[str, bytes]:
    """The content type and the body of a form with pictures (multipart/form-data)."""
    boundary = secrets.token_hex(16)
    parts = [(f'name="{name}"', value.encode()) for name, value in fields]
    for name, content in files:
        quoted = name.encode(errors="replace").decode()
        for letter, code in (('"', "%22"), ("\r", "%0D"), ("\n", "%0A")):
            quoted = quoted.replace(letter, code)
        parts.append((f'name="image"; filename="{quoted}"', content))
    lines = [
        f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + value + b"\r\n"
        for head, value in parts
    ]
    return f"multipart/form-data; boundary={boundary}", b"".join(lines) + f"--{boundary}--\r\n".encode()
