"""The narrators: eight people who put the same sighting into words in their own ways.

Each narrator is one function with its own grammar, order and temper: the annotator, the witness with short
sentences, the note-taker, the doubter, the chatterbox, the one who starts at the feet, the storyteller and the form
filler. `describe` lets one of them speak and ties every phrase to the attributes and the part it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from passerby.data.world.attributes import Identity
from passerby.data.world.mistakes import ERROR_RATE
from passerby.data.world.noticing import Sighting, notice
from passerby.data.world.phrasing import Phrase
from passerby.data.world.speech import Speech
from passerby.errors import ConfigError, nearest

#: Omissions are this many times rarer than a casual witness's: puts the ceiling of the standard test at 88 %.
DETAIL = 1.05

FEWEST_WORDS, MOST_WORDS = 15, 50

#: What is left out first when a text grows too long.
_LEAST_IMPORTANT = ("build", "age", "carried", "hair", "shoes", "headwear", "bag")


@dataclass(frozen=True, slots=True)
class Description:
    """One caption and what each of its phrases claims."""

    text: str
    narrator: str
    phrases: tuple[Phrase, ...]


def _annotator(speech: Speech) -> None:
    """Complete and even: what data sets pay for."""
    draft, who = speech.draft, speech.who
    draft.tell(speech.words.person())
    if head := speech.sees("hair", "headwear"):
        draft.say(" with ")
        draft.list([speech.item(thing) for thing in head])
    if clothes := speech.clothes():
        draft.say(speech.pick(" is wearing ", " wears ", " is dressed in "))
        draft.list(clothes)
    else:
        draft.say(f" is {speech.moving()}")
    draft.say(".")
    if extras := speech.sees("bag", "carried"):
        draft.say(f" {who.she} {who.verb('be')} {speech.bearing(extras[0])} ")
        draft.list([speech.item(thing) for thing in extras])
        draft.say(".")


def _witness(speech: Speech) -> None:
    """Short sentences, one thing after the other, colours as predicates."""
    draft, who = speech.draft, speech.who
    draft.say("the ")
    draft.tell(speech.words.person(), bare=True)
    if speech.sees("hair"):
        draft.say(" has ")
        speech.item("hair")()
    else:
        draft.say(f" is {speech.moving()}")
    draft.say(".")
    if upper := speech.upper():
        draft.say(f" {who.she} {speech.pick(who.verb('wear'), who.verb('be') + ' wearing')} ")
        draft.list(upper)
        draft.say(".")
    for thing in speech.sees("bottom", "shoes"):
        _predicate(speech, thing)
    places = {"headwear": f"on {who.her} head", "bag": f"with {who.him}", "carried": f"in {who.her} hand"}
    for thing in speech.sees(*places):
        draft.say(speech.pick(" there is ", " I saw "))
        speech.item(thing)()
        draft.say(f" {places[thing]}.")


def _predicate(speech: Speech, thing: str) -> None:
    """One sentence about a thing with its colour as the predicate: "Her jeans are dark blue and striped."."""
    draft, who = speech.draft, speech.who
    claims = [claim for claim in (speech.words.colour(thing), speech.words.pattern(thing)) if claim]
    if not claims:
        draft.say(f" {who.she} {who.verb('be')} in ")
        speech.item(thing)()
    else:
        noun = speech.words.noun(thing)
        draft.say(f" {who.her} ")
        draft.tell(noun, bare=True)
        draft.say(" are " if noun.plural else " is ")
        draft.list([lambda claim=claim: draft.tell(claim) for claim in claims])
    draft.say(".")


def _note_taker(speech: Speech) -> None:
    """No verbs, no articles."""
    draft = speech.draft
    draft.tell(speech.words.person(), bare=True)
    if head := speech.sees("hair", "headwear"):
        draft.say(", ")
        draft.list([speech.item(thing, bare=True) for thing in head], last=", ")
    draft.say(". ")
    if clothes := speech.clothes(bare=True):
        draft.list(clothes, last=speech.pick(", ", " and ", "; "))
        draft.say(". ")
    if extras := speech.sees("bag", "carried"):
        draft.say(speech.pick("", "with ", "plus "))
        draft.list([speech.item(thing, bare=True) for thing in extras], last=", ")
        draft.say(". ")
    speech.lack(0.3, "{}. ")
    if speech.chance(0.4):
        draft.say(f"{speech.moving()}. ")


def _doubter(speech: Speech) -> None:
    """Hedges everything."""
    draft, who = speech.draft, speech.who
    draft.say(speech.pick("what looks like ", "this seems to be ", "probably ", "it appears to be "))
    draft.tell(speech.words.person())
    if speech.sees("hair"):
        draft.say(speech.pick(", apparently with ", " with what might be ", ", it seems with "))
        speech.item("hair")()
    if upper := speech.upper():
        draft.say(speech.pick(", in what appears to be ", ", wearing something like ", ", dressed, I think, in "))
        draft.list(upper)
    draft.say(".")
    if lower := speech.sees("bottom", "shoes"):
        draft.say(f" {who.she} {who.verb('seem')} to be wearing ")
        draft.list([speech.pair(thing) for thing in lower], last=speech.pick(" and perhaps ", " and "))
        draft.say(".")
    if extras := speech.sees("headwear", "bag", "carried"):
        draft.say(speech.pick(" possibly there is also ", " I believe I can see ", " it looks as if there is "))
        draft.list([speech.item(thing) for thing in extras], last=" and maybe ")
        draft.say(".")


def _chatterbox(speech: Speech) -> None:
    """Talks to a friend."""
    draft, who = speech.draft, speech.who
    has, is_ = ("they've got ", "they're ") if who.plural else (f"{who.she}'s got ", f"{who.she}'s ")
    draft.say(speech.pick("so there's ", "look, there's ", "I just saw "))
    draft.tell(speech.words.person())
    draft.say(f" {speech.moving()}{speech.pick('', ', right?', ', you know?')}")
    draft.say(". " if draft.ends_open else " ")
    if upper := speech.upper():
        draft.say(is_ + speech.pick("in ", "wearing ", "sort of in "))
        draft.list(upper)
        draft.say(". ")
    if lower := speech.sees("bottom", "shoes"):
        draft.say(speech.pick("and then ", "plus ", "below that, "))
        draft.list([speech.pair(thing) for thing in lower])
        draft.say(". ")
    if head := speech.sees("hair", "headwear"):
        draft.say(speech.pick("oh, and ", "also, ", "") + has)
        draft.list([speech.item(thing) for thing in head])
        draft.say(". ")
    if extras := speech.sees("bag", "carried"):
        draft.say(f"{is_}{speech.bearing(extras[0])} ")
        draft.list([speech.item(thing) for thing in extras], last=" and also ")
        draft.say(speech.pick(" too. ", ". ", ", I think. "))
    speech.lack(0.25, "{} that I can see.")


def _feet_first(speech: Speech) -> None:
    """Starts at the shoes and works upwards."""
    draft, who = speech.draft, speech.who
    rising = [speech.item(thing) for thing in speech.sees("shoes", "bottom")] + speech.upper()
    if rising:
        draft.list(rising)
        draft.say(speech.pick(": that is the outfit of the ", " make up the outfit of the ", ", all worn by the "))
    else:
        draft.say(f"{speech.moving()}, there is the ")
    draft.tell(speech.words.person(), bare=True)
    draft.say(speech.pick(" in this picture.", " on this street.", " here."))
    if extras := speech.sees("bag", "carried"):
        draft.say(f" {who.she} {who.verb('be')} {speech.bearing(extras[0])} ")
        draft.list([speech.item(thing) for thing in extras])
        draft.say(".")
    if head := speech.sees("headwear", "hair"):
        draft.say(speech.pick(" further up there is ", " at the top one sees ", " on the head there is "))
        draft.list([speech.item(thing) for thing in head])
        draft.say(".")


def _storyteller(speech: Speech) -> None:
    """One long sentence that paints the scene."""
    draft, who = speech.draft, speech.who
    if upper := speech.upper():
        draft.say(speech.pick("dressed in ", "wrapped in ", "clad in "))
        lower = [speech.item("bottom")] if speech.sees("bottom") else []
        draft.list(upper + lower)
        draft.say(", ")
    draft.tell(speech.words.person())
    if head := speech.sees("hair", "headwear"):
        draft.say(speech.pick(" with ", " having "))
        draft.list([speech.item(thing) for thing in head])
    draft.say(speech.pick(" goes along the street", " passes by", f" makes {who.her} way past", " strolls past"))
    if not upper and speech.sees("bottom"):
        draft.say(" in ")
        speech.item("bottom")()
        if speech.sees("shoes"):
            draft.say(" and ")
            speech.item("shoes")()
    elif speech.sees("shoes"):
        draft.say(" in ")
        speech.pair("shoes")()
    if extras := speech.sees("bag", "carried"):
        draft.say(f", {speech.bearing(extras[0])} ")
        draft.list([speech.item(thing) for thing in extras])
    draft.say(".")
    if speech.chance(0.3):
        draft.say(f" {who.she} {who.verb('be')} {speech.moving()}.")


def _form_filler(speech: Speech) -> None:
    """Fills in a form, one heading after the other."""
    draft = speech.draft
    draft.say(speech.pick("person: ", "who: ", "description: "))
    draft.tell(speech.words.person(), bare=True)
    draft.say(".")
    headings = {
        "hair": "hair",
        "headwear": "headwear",
        "outer": "outer garment",
        "top": "upper body",
        "bottom": "lower body",
        "shoes": "footwear",
        "bag": "bag",
        "carried": "in the hand",
    }
    for thing in speech.sees(*headings):
        draft.say(f" {headings[thing]}: ")
        speech.item(thing, bare=True)()
        draft.say(".")
    speech.lack(0.3, " remarks: {}.")


#: Name -> how they speak and how fond of synonyms they are.
NARRATORS: Mapping[str, tuple[Callable[[Speech], None], float]] = MappingProxyType(
    {
        "annotator": (_annotator, 0.3),
        "witness": (_witness, 0.35),
        "note taker": (_note_taker, 0.3),
        "doubter": (_doubter, 0.45),
        "chatterbox": (_chatterbox, 0.5),
        "feet first": (_feet_first, 0.4),
        "storyteller": (_storyteller, 0.65),
        "form filler": (_form_filler, 0.25),
    }
)


def describe(
    identity: Identity,
    visible: np.ndarray,
    facing: str,
    rng: np.random.Generator,
    narrator: str | None = None,
    error_rate: float = ERROR_RATE,
    detail: float = DETAIL,
    *,
    full: np.ndarray | None = None,
) -> Description:
    """Let a narrator describe what shows of a person in one view.

    Args:
        identity: the person looked at.
        visible: (len(PARTS),) share of the crop that each part covers.
        facing: "front", "side" or "back".
        rng: the source of chance.
        narrator: a name of `NARRATORS`; None draws one.
        error_rate: share of facts stated wrongly, each as a value that is easily confused with the true one.
        detail: omissions are this many times rarer than a casual witness's; positive.
        full: (len(PARTS),) what `visible` would be if nothing hid the person; None where nothing does.

    Returns:
        A text of 15 to 50 words and its phrases.

    Raises:
        ConfigError: an unknown narrator, or a rate out of range.
    """
    if not 0 <= error_rate < 1 or not detail > 0:
        raise ConfigError(f"error rate {error_rate} must be in [0, 1) and detail {detail} above 0")
    if narrator is None:
        narrator = tuple(NARRATORS)[int(rng.integers(len(NARRATORS)))]
    if narrator not in NARRATORS:
        raise ConfigError(f"no narrator {narrator!r}; there are {', '.join(NARRATORS)}.{nearest(narrator, NARRATORS)}")
    unhidden = visible if full is None else full
    sighting = notice(identity, visible, unhidden, facing, rng, error_rate=error_rate, detail=detail)
    return _speak(sighting, narrator, rng)


def _speak(sighting: Sighting, narrator: str, rng: np.random.Generator) -> Description:
    """Say it; say less when it grows too long, and add a harmless remark when it is too short."""
    manner, fancy = NARRATORS[narrator]
    left_out = 0
    while True:
        speech = Speech(sighting, rng, fancy, _LEAST_IMPORTANT[:left_out])
        manner(speech)
        if speech.draft.words <= MOST_WORDS:
            break
        left_out += 1
    while speech.draft.words < FEWEST_WORDS:
        speech.remark()
    text, phrases = speech.draft.finish()
    return Description(text, narrator, phrases)
