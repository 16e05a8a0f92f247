"""Which colours a sentence gives to which height of the body, read with a word list and no understanding.

"a woman in a dark red coat and jeans" says maroon at the upper body and nothing about the legs. That is all that the
colour baseline knows of language; what a trained model knows beyond it is what the baseline is there to show.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from passerby.data.world.attributes import COLOURS

#: Stripes of an upright crop, from the top, as fractions of its height.
STRIPES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"head": (0.02, 0.17), "upper": (0.18, 0.48), "lower": (0.50, 0.84), "feet": (0.87, 0.98)}
)

_SYNONYMS: dict[str, str] = {
    "black": "jet-black ebony raven",
    "white": "snow-white ivory off-white",
    "grey": "gray silver slate ash charcoal",
    "red": "scarlet crimson cherry ruby",
    "maroon": "burgundy wine wine-red dark-red deep-red oxblood",
    "orange": "tangerine amber",
    "yellow": "golden gold lemon mustard blond blonde",
    "green": "emerald grass-green lime",
    "olive": "olive-green army-green khaki-green dark-green",
    "teal": "turquoise cyan aqua blue-green",
    "light blue": "light-blue sky-blue pale-blue baby-blue powder-blue sky",
    "blue": "royal-blue cobalt azure",
    "navy": "navy-blue dark-blue midnight-blue",
    "purple": "violet lilac lavender plum mauve",
    "pink": "rose rosy salmon magenta fuchsia",
    "brown": "chocolate chestnut coffee brunette",
    "beige": "tan cream sand sandy camel khaki fawn",
}

_GARMENTS: dict[str, str] = {
    "head": "hair haired ponytail bun cap hat beanie headwear sunhat",
    "upper": (
        "t-shirt tee tee-shirt shirt blouse button-up sweater jumper pullover sweatshirt tank top camisole singlet "
        "jacket windbreaker coat overcoat parka raincoat hoodie vest gilet waistcoat blazer cardigan tunic"
    ),
    "lower": "trousers pants slacks chinos jeans denims shorts skirt miniskirt leggings",
    "feet": "shoes shoe sneakers trainers boots sandals heels loafers footwear",
}

#: What carries a colour of its own but no height: its colour must not be given to the garment that comes next.
_CARRIED = (
    "backpack rucksack knapsack handbag purse bag satchel suitcase luggage trolley umbrella phone bottle book tote "
    "stripes checks dots logo print"
)

_COLOUR_OF: dict[str, str] = {
    word: colour for colour in COLOURS for word in (colour.replace(" ", "-"), *_SYNONYMS[colour].split())
}
_STRIPE_OF: dict[str, str | None] = {
    **{word: stripe for stripe, words in _GARMENTS.items() for word in words.split()},
    **dict.fromkeys(_CARRIED.split()),
}

#: How many words may lie between a colour and what it colours.
_REACH = 4
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*|[.;!?]")


def colour_mentions(text: str) -> list[tuple[str, str]]:
    """The (stripe, colour) pairs that a sentence states, in its order.

    A colour belongs to the next garment within a few words ("a red striped coat"), or else to the last one before it
    ("shoes that are white"); never across the end of a sentence. Colours of bags and patterns are dropped.

    Args:
        text: any text; only English words are known.
    """
    mentions: list[tuple[str, str]] = []
    for sentence in _sentences(text):
        for place, word in enumerate(sentence):
            if word not in _COLOUR_OF:
                continue
            after = sentence[place + 1 : place + 2 + _REACH]
            before = sentence[max(0, place - 1 - _REACH) : place]
            thing = next((near for near in (*after, *reversed(before)) if near in _STRIPE_OF), None)
            stripe = None if thing is None else _STRIPE_OF[thing]
            if stripe is not None:
                mentions.append((stripe, _COLOUR_OF[word]))
    return mentions


def _sentences(text: str) -> Iterator[list[str]]:
    """Lower-case words by sentence, with "dark blue" joined to one word and "cream-coloured" cut down to its colour."""
    sentence: list[str] = []
    for word in _WORD.findall(text.lower()):
        if not word[0].isalpha():
            yield sentence
            sentence = []
            continue
        known = word in _COLOUR_OF or word in _STRIPE_OF
        colour = word if known else next((part for part in reversed(word.split("-")) if part in _COLOUR_OF), word)
        if sentence and f"{sentence[-1]}-{colour}" in _COLOUR_OF:
            sentence[-1] = f"{sentence[-1]}-{colour}"
        else:
            sentence.append(colour)
    yield sentence
