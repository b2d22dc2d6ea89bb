"""Checks of a sentence that need no photo: its length, its language, and words about the drawn mark."""

import re
import unicodedata
from collections.abc import Iterable

from pydantic import Field

from piza.config import settings
from piza.dataset.records import Finding
from piza.errors import MAX_COUNT

SHORT, LONG, LANGUAGE, MARK = "too short", "too long", "another language", "speaks of the mark"

# A describer is shown the photo with the thing marked; the sentence is for people who see no mark. A box alone is none:
# streets are full of boxes.
_COLOR = r"(red|green|blue|yellow|orange|white|pink|purple|magenta|cyan)"
_SHAPE = r"(bounding[ -]?box(es)?|box|rectangle|outline|marker|crosshair)"
_MARK = re.compile(
    rf"""
    \bbounding[ -]?box(es)?\b
    | \b(inside|within|in)\ (of\ )?(the|a|this|that)\ ((bright|thin|small|drawn|colou?red)\ )?({_COLOR}\ )?{_SHAPE}\b
      (?!\ ?-?(truck|car|van|shape|of|on|at|next|near|that|which|junction)\b)
    | \b(the|a)\ {_COLOR}\ (box|rectangle|outline|frame|circle)
      \ (marks|indicates|surrounds|shows|highlights|encloses|outlines|contains)\b
    | \b(highlighted|boxed|circled|annotated|outlined|enclosed|marked|indicated)\ ((in|by|with|using|inside|within)\ )
      ((the|a|an)\ )?({_SHAPE}|{_COLOR}(\ {_SHAPE}|(?=\W*$|[.,;]|\ (in|near|on|at|next|is|and|to|by)\b)))
    | \b(highlighted|boxed|annotated)\ (object|thing|item|area|region|target|one|person|vehicle|car|sign)\b
    | \b(the|this)\ (cropped|enlarged|zoomed(-in)?|second|close-up)\ (image|picture|photo|view|crop)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)

# The commonest small words tell languages apart; those that English shares with another one are left out on its side or on both.
_ENGLISH = frozenset(
    "the of is with and to it its are by from at near next behind front above below under between beside over which that "
    "has wearing standing parked left right side white black red blue green yellow car sign person this there has into".split()
)
_OTHERS = frozenset(
    "der die das den dem ein eine einen einer und mit auf neben links rechts vor hinter ist im zwischen über unter von "
    "le la les un une des du et avec sur dans près de gauche droite devant derrière est entre qui "
    "el los las una y con en del al izquierda derecha junto detrás delante está entre que "
    "il lo gli uno della del nella accanto sinistra destra davanti dietro è tra che con di "
    "o os as um uma e com em na no do da ao esquerda direita ao lado atrás frente está entre "
    "het een en met op naast links rechts voor achter tussen van de "
    "och med på en ett den det vid bredvid vänster höger framför bakom är mellan av "
    "jest i na z w obok po lewej prawej przed za między".split()
) - frozenset("a in on an so".split())


@settings()
class LanguageRules:
    """What a sentence should be like. Words are what white space separates."""

    min_words: int = Field(default=4, ge=1, le=MAX_COUNT)
    max_words: int = Field(default=60, ge=1, le=MAX_COUNT)
    english: bool = True  # whether sentences are to be in English


def language_findings(text: str, rules: LanguageRules = LanguageRules()) -> list[Finding]:  # noqa: B008
    """The findings about one sentence, the gravest first."""
    findings = []
    if rules.english and not is_english(text):
        findings.append(Finding(LANGUAGE, 1.0, "does not look like English"))
    mark = spoken_mark(text)
    if mark:
        findings.append(Finding(MARK, 1.0, f"speaks of the mark that only its author saw: {mark!r}"))
    count = len(text.split())
    if count < rules.min_words:
        findings.append(Finding(SHORT, 0.8, f"has {count} words, expected {rules.min_words} at least"))
    if count > rules.max_words:
        findings.append(Finding(LONG, 0.8, f"has {count} words, expected {rules.max_words} at most"))
    return findings


def spoken_mark(text: str) -> str:
    """The words of a sentence that speak of a drawn mark or of the crop that its author was shown; "" if none do."""
    found = _MARK.search(" ".join(text.split()))
    return found[0] if found else ""


def is_english(text: str) -> bool:
    """Whether a sentence may be English. In doubt it is: short phrases without any common word are."""
    letters = [c for c in text if c.isalpha()]
    if not letters:
        return False
    latin = sum(unicodedata.name(c, "").startswith("LATIN") for c in letters)
    if latin < 0.8 * len(letters):
        return False
    found = words(text)
    english = sum(word in _ENGLISH for word in found)
    others = sum(word in _OTHERS and word not in _ENGLISH for word in found)
    return english >= others


def words(text: str) -> list[str]:
    """The words of a sentence in lower case, letters of any script."""
    return re.findall(r"[^\W\d_]+", text.lower())


def joined(findings: Iterable[Finding]) -> str:
    """The messages of some findings as one line for people."""
    return "; ".join(finding.message for finding in findings)
