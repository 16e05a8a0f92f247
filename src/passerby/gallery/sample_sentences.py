"""Sentences to measure a gallery with: vague ones about people, detailed ones about nobody, and some about things.

The vague ones fit somebody in nearly every gallery. The detailed ones name so many clothes at random that they fit
nobody. The others are about no person at all. They are made by counting, so that every gallery is asked the same.
"""

from __future__ import annotations

_WHO = ("a man", "a woman", "a person", "someone", "a young man", "an old woman", "a boy", "a lady")
_ABOVE = (
    "a black jacket", "a white shirt", "a red coat", "a grey sweater", "a green hoodie", "a blue t-shirt",
    "a yellow vest", "a brown coat", "an orange top", "a pink blouse", "a purple sweater", "a beige jacket",
)  # fmt: skip
_BELOW = (
    "blue jeans", "black trousers", "a grey skirt", "white shorts", "brown trousers", "a red skirt", "green shorts",
    "dark jeans", "beige trousers", "a long blue skirt", "yellow shorts",
)  # fmt: skip
_SHOES = (
    "white sneakers", "black boots", "brown shoes", "red sneakers", "grey sandals", "blue shoes", "orange boots",
)  # fmt: skip
_BESIDES = (
    "with a backpack", "with a handbag", "with an umbrella", "with a suitcase", "wearing a cap", "wearing a hat",
    "with a bag", "with glasses", "with long hair", "holding a phone",
)  # fmt: skip
_HAIR = ("long black hair", "short brown hair", "blond hair in a ponytail", "grey hair", "a bald head")
_BAGS = (
    "a red backpack", "a black handbag", "a blue suitcase", "a white shopping bag", "a green umbrella",
    "a brown shoulder bag", "a yellow book",
)  # fmt: skip
_FORMS = (
    "{who} with {hair} in {above}, {below} and {shoes}, carrying {bag}",
    "{who} in {above} and {below} with {shoes}, who has {hair} and carries {bag}",
    "{shoes}, {below} and {above}: {who} with {hair} and {bag}",
    "{who} is wearing {above}, {below} and {shoes} and carries {bag}",
    "this is {who} with {hair}, dressed in {above} over {below}, {shoes} on the feet",
)
_DETAILED = 40

#: Sentences of one or two traits.
VAGUE = (
    *_WHO,
    *(f"{_WHO[number % 8]} {trait}" for number, trait in enumerate(_BESIDES)),
    *(f"{_WHO[(3 * number + 1) % 8]} in {above}" for number, above in enumerate(_ABOVE)),
    *(f"{_WHO[(5 * number + 2) % 8]} in {below}" for number, below in enumerate(_BELOW)),
)
#: Sentences of five to eight traits; the steps have nothing in common with the lengths, so that all are mixed.
DETAILED = tuple(
    _FORMS[number % len(_FORMS)].format(
        who=_WHO[number % len(_WHO)],
        above=_ABOVE[(7 * number + 1) % len(_ABOVE)],
        below=_BELOW[(5 * number + 2) % len(_BELOW)],
        shoes=_SHOES[(3 * number + number // 7) % len(_SHOES)],
        hair=_HAIR[(2 * number + 1) % len(_HAIR)],
        bag=_BAGS[(4 * number + 3) % len(_BAGS)],
    )
    for number in range(_DETAILED)
)
#: Sentences about no person.
THINGS = (
    "a bowl of tomato soup",
    "the annual report of a bank",
    "two cats asleep on a sofa",
    "a mountain lake at dawn",
    "how to repair a bicycle chain",
    "an empty parking lot",
    "a plate of spaghetti",
    "the invention of the steam engine",
    "a fire truck in front of its station",
    "leaves on a tree",
    "the sky over the sea",
    "a photograph of an old bridge",
    "a submarine under the ice",
    "snow on a roof",
    "a fruit cut in half",
    "a horse in a field",
    "a wooden chair",
    "a list of numbers",
    "a dog chasing a ball",
    "a glass of water",
    "traffic lights at night",
    "a map of the city",
    "a keyboard and a mouse",
    "a birthday cake",
    "the moon behind clouds",
    "a pair of scissors",
    "fresh bread on a table",
    "a guitar on a stage",
    "a stone church",
    "a row of books",
)
