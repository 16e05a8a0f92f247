"""From what a user types after ``--where`` to a `Filter`: a small grammar with errors that point at the character.

    camera == "c2" and time >= "2026-11-20 08:00" and not (person in [3, 4] or colour != "red")

Comparisons are ``==  !=  <  <=  >  >=  in [...]  not in [...]``; they combine with ``and``, ``or``, ``not`` and
parentheses. Times are seconds since the epoch or ISO 8601 in quotes, UTC where no offset is given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from passerby.errors import ConfigError
from passerby.gallery.filters import FIELDS, Between, Every, Filter, Not, OneOf, Some, Value, checked_value, known_field

_TOKEN = re.compile(
    r"\s*(?:(?P<text>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')"
    r"|(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<mark>==|!=|<=|>=|<|>|\(|\)|\[|\]|,))"
)
_WORDS = frozenset({"and", "or", "not", "in", "true", "false"})
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=", "in", "not in")
_LONGEST = 10_000
_DEEPEST = 50


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def parse_where(text: str) -> Filter:
    """Read a filter.

    Raises:
        ConfigError: the text is no filter; the message shows it with a caret under the wrong character.
    """
    if len(text) > _LONGEST:
        raise ConfigError(f"the filter has {len(text):,} characters; at most {_LONGEST:,} are read")
    parser = _Parser(text)
    found = parser.either(0)
    if parser.here.kind != "end":
        raise parser.wrong("expected 'and', 'or' or the end")
    return found


class _Parser:
    """Recursive descent over the tokens of one filter."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._split())
        self._next = 0

    @property
    def here(self) -> _Token:
        return self._tokens[self._next]

    def wrong(self, expected: str, at: int | None = None) -> ConfigError:
        place = self.here.at if at is None else at
        shown = re.sub(r"\s", " ", self._text)
        return ConfigError(f"the filter is wrong at character {place + 1}: {expected}\n  {shown}\n  {' ' * place}^")

    def either(self, depth: int) -> Filter:
        parts = [self._both(depth)]
        while self._take("name", "or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def _both(self, depth: int) -> Filter:
        parts = [self._single(depth)]
        while self._take("name", "and"):
            parts.append(self._single(depth))
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _single(self, depth: int) -> Filter:
        if depth > _DEEPEST:
            raise self.wrong(f"more than {_DEEPEST} parentheses or negations inside each other")
        if self._take("name", "not"):
            return Not(self._single(depth + 1))
        if self._take("mark", "("):
            inner = self.either(depth + 1)
            if not self._take("mark", ")"):
                raise self.wrong("expected a closing parenthesis")
            return inner
        return self._comparison()

    def _comparison(self) -> Filter:
        name = self.here
        if name.kind != "name" or name.text in _WORDS:
            raise self.wrong(f"expected a field, such as {', '.join(FIELDS)} or a name from your metadata")
        self._next += 1
        field = known_field(name.text)
        sign = self.here
        if self._take("name", "not"):
            if not self._take("name", "in"):
                raise self.wrong("expected 'in' after 'not'")
            return Not(OneOf(field, self._list(field)))
        if self._take("name", "in"):
            return OneOf(field, self._list(field))
        if sign.kind != "mark" or sign.text not in _COMPARISONS:
            raise self.wrong(f"expected a comparison: {', '.join(_COMPARISONS)}")
        self._next += 1
        at = self.here.at
        value = self._value(field)
        if sign.text in ("==", "!="):
            equal = OneOf(field, (value,))
            return equal if sign.text == "==" else Not(equal)
        if FIELDS.get(field) is str:
            raise self.wrong(f"{field} is text, which is neither larger nor smaller; use ==, != or in", sign.at)
        if isinstance(value, str):
            raise self.wrong("expected a number: only numbers and times are larger or smaller", at)
        strict = len(sign.text) == 1
        if sign.text[0] == "<":
            return Between(field, high=value, high_open=strict)
        return Between(field, low=value, low_open=strict)

    def _list(self, field: str) -> tuple[Value, ...]:
        if not self._take("mark", "["):
            raise self.wrong("expected a list: [ value, value ]")
        values: list[Value] = []
        while not self._take("mark", "]"):
            if values and not self._take("mark", ","):
                raise self.wrong("expected ',' or ']'")
            values.append(self._value(field))
        return tuple(values)

    def _value(self, field: str) -> Value:
        token = self.here
        if token.kind == "number":
            value: Value = float(token.text)
        elif token.kind == "text":
            value = re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL)
            value = self._time(value, token.at) if field == "time" else value
        elif token.kind == "name" and token.text in ("true", "false"):
            value = token.text
        elif token.kind == "name" and token.text not in _WORDS:
            raise self.wrong(f'expected a value; text stands in quotes: "{token.text}"')
        else:
            raise self.wrong("expected a value: a number, or text in quotes")
        try:
            value = checked_value(value, field)
        except ConfigError as error:
            raise self.wrong(str(error)) from error
        self._next += 1
        return value

    def _time(self, text: str, at: int) -> float:
        try:
            return seconds_of(text)
        except ValueError as error:
            raise self.wrong('expected a time such as "2026-11-20 08:00", or seconds since the epoch', at) from error

    def _take(self, kind: str, text: str) -> bool:
        if (self.here.kind, self.here.text) != (kind, text):
            return False
        self._next += 1
        return True

    def _split(self) -> list[_Token]:
        tokens, at = [], 0
        while self._text[at:].strip():
            found = _TOKEN.match(self._text, at)
            if found is None:
                at += len(self._text[at:]) - len(self._text[at:].lstrip())
                opened = self._text[at] in "\"'"
                self._tokens, self._next = [_Token("wrong", "", at)], 0
                hint = "; write == to compare" if self._text[at] == "=" else ""
                nothing = f"{self._text[at]!r} means nothing here{hint}"
                raise self.wrong("this quote is never closed" if opened else nothing)
            kind = str(found.lastgroup)
            tokens.append(_Token(kind, found[kind], found.start(kind)))
            at = found.end()
        return [*tokens, _Token("end", "", len(self._text.rstrip()))]


def seconds_of(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 time; without an offset it is UTC.

    Raises:
        ValueError: the text is no time.
    """
    moment = datetime.fromisoformat(text.strip())
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
