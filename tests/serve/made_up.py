"""Requests made up from the OpenAPI document, right ones and wrong ones, against a service in this process."""

from __future__ import annotations

from collections import Counter
from unittest import SkipTest

import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

#: Longer ones are refused by the client in these tests and by the server's parser elsewhere.
LONGEST_QUERY = 10_000


def operations_of(client, headers):
    """Operations of the service's own document."""
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json", headers=headers).json())
    return [operation.ok() for operation in schema.get_all_operations()]


def fuzz(client, operations, examples, headers, known=None, number=0):
    """Send `examples` right and as many wrong requests for each operation; count the answers by route and status.

    Ids that are made up name nothing; so where a route has one, the right requests are sent for the `known` one too.
    """
    statuses = Counter()
    for operation in operations:
        ways = [(GenerationMode.POSITIVE, {}), (GenerationMode.NEGATIVE, {})]
        if known and operation.path.startswith("/v1/pictures/{name}"):
            ways.append((GenerationMode.POSITIVE, {"path_parameters": {"name": known}}))
        for mode, more in ways:
            try:
                statuses.update(
                    _answers(client, operation, operation.as_strategy(mode, **more), examples, headers, number)
                )
            except (Unsatisfiable, SkipTest):
                # There is nothing wrong that could be said of a route which takes nothing.
                if mode is GenerationMode.POSITIVE:
                    raise
    return statuses


def _answers(client, operation, cases, examples, headers, number):
    route, seen = f"{operation.method.upper()} {operation.path}", []

    @seed(number)
    @settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(cases)
    def send(case):
        assume(len(str(case.query)) < LONGEST_QUERY)
        answer = _send(client, case, headers)
        seen.append((route, answer.status_code))
        assert answer.status_code < 500, f"{case.as_curl_command()}\n{answer.text}"
        if answer.status_code >= 400 and "text/html" not in answer.headers["content-type"]:
            assert answer.json()["error"].keys() == {"code", "message"}, route

    send()
    return seen


def _send(client, case, headers):
    given = case.as_transport_kwargs(base_url="http://localhost")
    for name in ("cookies", "timeout", "verify"):
        given.pop(name, None)
    files = given.pop("files", None)
    named = {
        name: value.encode("latin-1", "replace") for name, value in {**(given.pop("headers") or {}), **headers}.items()
    }
    return client.request(headers=named, files=files or None, **given)
