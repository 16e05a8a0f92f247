"""The words for what is seen: every value of every attribute with the synonyms that people use for it.

The first word of each list is the plain one. A word stands for one value only ("pants" for trousers, "jeans" for
jeans), so that whoever reads a caption knows exactly what it claims.
"""

from __future__ import annotations

from collections.abc import Mapping

COLOUR_WORDS: Mapping[str, tuple[str, ...]] = {
    "black": ("black", "jet-black", "deep black"),
    "white": ("white", "bright white", "snow-white"),
    "grey": ("grey", "gray", "ash-grey", "mid-gray"),
    "red": ("red", "bright red", "crimson", "scarlet"),
    "maroon": ("maroon", "burgundy", "dark red", "wine-red"),
    "orange": ("orange", "bright orange", "tangerine"),
    "yellow": ("yellow", "bright yellow", "golden yellow"),
    "green": ("green", "grass-green", "emerald"),
    "olive": ("olive", "olive green", "army green", "khaki green"),
    "teal": ("teal", "turquoise", "blue-green"),
    "light blue": ("light blue", "sky blue", "pale blue", "baby blue"),
    "blue": ("blue", "royal blue", "bright blue", "cobalt"),
    "navy": ("navy", "navy blue", "dark blue", "midnight blue"),
    "purple": ("purple", "violet", "plum"),
    "pink": ("pink", "light pink", "rose-pink"),
    "brown": ("brown", "chocolate brown", "dark brown"),
    "beige": ("beige", "tan", "cream-coloured", "sand-coloured"),
}

HAIR_COLOUR_WORDS: Mapping[str, tuple[str, ...]] = {
    "black": ("black", "jet-black", "dark"),
    "brown": ("brown", "chestnut", "brunette"),
    "blond": ("blond", "blonde", "fair", "golden"),
    "grey": ("grey", "gray", "silver", "greying"),
    "red": ("red", "ginger", "auburn"),
}

#: Attribute -> value -> nouns. Bags and tops also have a noun for when the kind was not noticed (`GENERIC`).
NOUNS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "headwear": {
        "cap": ("cap", "baseball cap", "peaked cap"),
        "beanie": ("beanie", "woollen beanie", "knitted beanie"),
        "hat": ("hat", "brimmed hat", "wide-brimmed hat"),
    },
    "top": {
        "t-shirt": ("t-shirt", "tee", "short-sleeved t-shirt", "tee shirt"),
        "shirt": ("shirt", "button-up shirt", "collared shirt", "long-sleeved shirt"),
        "sweater": ("sweater", "pullover", "jumper", "knitted sweater"),
        "tank top": ("tank top", "sleeveless top", "singlet"),
    },
    "outer": {
        "jacket": ("jacket", "short jacket", "zip-up jacket", "bomber jacket"),
        "coat": ("coat", "overcoat", "long coat", "parka"),
        "hoodie": ("hoodie", "hooded sweatshirt", "hooded top"),
        "vest": ("vest", "gilet", "body warmer", "padded vest"),
    },
    "bottom": {
        "trousers": ("trousers", "pants", "slacks", "long trousers"),
        "jeans": ("jeans", "denim jeans", "denims"),
        "shorts": ("shorts", "short pants", "knee-length shorts"),
        "skirt": ("skirt", "short skirt", "knee-length skirt"),
        "long skirt": ("long skirt", "ankle-length skirt", "maxi skirt"),
    },
    "shoes": {
        "sneakers": ("sneakers", "trainers", "running shoes", "sports shoes"),
        "boots": ("boots", "ankle boots", "high boots"),
        "sandals": ("sandals", "open sandals"),
        "dress shoes": ("dress shoes", "leather shoes", "formal shoes"),
    },
    "bag": {
        "backpack": ("backpack", "rucksack", "knapsack"),
        "handbag": ("handbag", "purse", "hand bag"),
        "shoulder bag": ("shoulder bag", "messenger bag", "crossbody bag"),
        "suitcase": ("suitcase", "rolling suitcase", "trolley case"),
    },
    "carried": {
        "umbrella": ("umbrella",),
        "phone": ("phone", "mobile phone", "smartphone"),
        "bottle": ("bottle", "water bottle", "drink bottle"),
        "shopping bag": ("shopping bag", "carrier bag", "paper bag"),
        "book": ("book", "paperback"),
    },
}

#: What a thing is called when its kind was not noticed.
GENERIC: Mapping[str, str] = {"top": "top", "shoes": "shoes", "bag": "bag"}

#: Values whose nouns are plural.
PLURAL = frozenset({"trousers", "jeans", "shorts", "sneakers", "boots", "sandals", "dress shoes"})

#: Pattern -> words before the noun.
PATTERN_WORDS: Mapping[str, tuple[str, ...]] = {
    "plain": ("plain", "solid"),
    "striped": ("striped", "stripy"),
    "checked": ("checked", "plaid", "checkered"),
    "dotted": ("dotted", "polka-dot", "spotted"),
    "two-tone": ("two-tone", "colour-block"),
}

#: Pattern -> words after the noun.
PATTERN_TAILS: Mapping[str, tuple[str, ...]] = {
    "striped": ("with stripes",),
    "checked": ("with a check pattern",),
    "dotted": ("with dots on it", "with polka dots"),
    "logo": ("with a logo on it", "with a print on the front", "with a logo on the chest"),
}

PERSON_WORDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "gender": {"woman": ("woman", "lady", "female"), "man": ("man", "guy", "male")},
    "age": {
        "young": ("young", "youngish"),
        "adult": ("middle-aged", "grown-up"),
        "elderly": ("elderly", "old", "senior"),
    },
    "build": {
        "slim": ("slim", "thin", "slender"),
        "average": ("average-built", "medium-built"),
        "heavy": ("heavyset", "stout", "large"),
    },
}

#: Hair style -> phrases; {colour} stands for the colour word with a blank after it, or for nothing.
HAIR_PHRASES: Mapping[str, tuple[str, ...]] = {
    "bald": ("a bald head", "a shaved head", "no hair"),
    "short": ("short {colour}hair", "{colour}hair cut short", "short-cropped {colour}hair"),
    "medium": ("shoulder-length {colour}hair", "medium-length {colour}hair", "{colour}hair down to the shoulders"),
    "long": ("long {colour}hair", "long flowing {colour}hair", "{colour}hair worn long"),
    "ponytail": ("{colour}hair in a ponytail", "{colour}hair tied back in a ponytail", "a {colour}ponytail"),
    "bun": ("{colour}hair in a bun", "{colour}hair pinned up in a bun", "{colour}hair tied into a bun"),
}

#: Which side is seen -> what a narrator may add about it.
FACING_WORDS: Mapping[str, tuple[str, ...]] = {
    "front": ("walking towards the camera", "coming towards us", "facing the camera"),
    "side": ("walking past in profile", "seen from the side", "crossing in front of the camera"),
    "back": ("walking away from the camera", "seen from behind", "heading away from us"),
}


def article(words: str) -> str:
    """The indefinite article that fits in front of some words: "an" before a vowel, else "a"."""
    return "an" if words[0].lower() in "aeiou" else "a"
