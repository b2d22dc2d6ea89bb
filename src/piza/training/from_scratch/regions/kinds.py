"""What a region shows by what people call it: one whole thing, a part of one, or nothing that a sentence would be about.

Data sets of small things want whole ones: a car, not its mirror, and not the sky beside it. Phrases tell by their head, the word
that the others say something of: "side" in "side of a dark car", "car" in "dark car beside a tree".
"""

import re
from typing import Literal, TypeAlias

from piza.training.from_scratch.regions.named import NOTHING

Kind: TypeAlias = Literal["whole", "part", "nothing"]

_NEXT = re.compile(  # with these a phrase says more of what it has named
    r"\b(in|on|of|at|with|behind|seen|from|facing|under|beside|by|and|or|to|near|against|over|above|below|for|partly|through|next"
    r"|off|as|along|between|before|after|around|across|inside|into|atop|beneath|without|walking|standing|sitting|riding|showing"
    r"|carrying|wearing|holding|hanging|leaning|parked|driving|turning|coming|approaching|crossing|pointing|covered|hidden|blocked"
    r"|half hidden|half behind|viewed|reading|like|lit|cut|close|up|down|out|that|is|side view|rear view|front view)\b|[,;(]"
)
_COLORS = frozenset(
    "red white blue yellow green black orange dark gray silver brown pink purple bright pale small large round".split()
)
_PARTS = frozenset(
    "edge front back rear side top bottom end corner middle tip rim lower upper left right half part parts section cluster base foot"
    " joint panel frame field band strip stripe line roof wheel wheels mirror mirrors headlight headlights taillight taillights"
    " window windows windscreen windshield bumper door cab hood bonnet grille emblem plate plates fender reflector wiper tire bed"
    " tank seat fork fairing handle antenna underside bracket arm leg legs trousers jeans shoe sleeve hand face head helmet strap bar"
    " lens logo badge lettering letter letters digit number character s symbol arrow".split()
)
_NOTHINGS = frozenset(
    "sky cloud clouds fog haze mist dust smoke smog drop drops raindrop raindrops water wave puddle spray snow"
    " road lane roadside asphalt ground surface verge grass lawn meadow slope hill mountain horizon forest bank sand dune cliff"
    " rock stone stones path pavement sidewalk curb kerb shoulder island dash dashes marking markings mark marks stripes lines"
    " tracks tree trees treetop treeline trunk trunks stem stump branch branches twig twigs leaf leaves foliage bush bushes shrub"
    " shrubs hedge hedges conifer palm fronds plant plants flowers ivy weeds brush vegetation clump pile log logs crown tops"
    " post posts pole poles mast pylon pillar column rail rails railing railings fence beam lattice gantry scaffolding bridge arch"
    " wall building buildings house facade gable tower chimney stack ledge sill cornice ornament balcony brick bricks tile tiles"
    " pipe drainpipe cable cables wire wires mesh net curtain row gap gaps hole slot opening crack space area bend stretch patch"
    " spot spots dot blob blur shape silhouette smudge pattern noise darkness shadow shadows reflection reflections glow glare"
    " lights streak streaks faint visible lost object thing picture traffic vertical horizontal".split()
)
_LIGHTS = frozenset("light lamp lamps lantern glowing bulb".split())
_VEHICLE = re.compile(  # whose lights are parts
    r"\b(cars?|van|minivan|truck|lorry|bus|coach|tram|taxi|suv|vehicles?|sedan|hatchback|motorcycle|scooter|bike|bicycle|pickup"
    r"|trailer|cab|jeep|rear light|tail|brake|indicator|headlights?|headlamp|fog lamp|windscreen|dashboard)\b"
)
_PART_OF = re.compile(
    r"^(dark |white |black |blurred )?(part|half|edge|end|front|back|rear|side|top|corner|underside|lower|upper|tip|foot|base"
    r"|(left|right|front|rear) half) (of|half|part|end|corner)\b"
)


def kind_of(phrase: str) -> Kind:
    """What a region with such a phrase shows; scenery (trees, posts, walls, the road) counts as nothing."""
    text = phrase.lower()
    if text == NOTHING:
        return "nothing"
    head = head_of(text)
    if _PART_OF.match(text) or head in _PARTS or (head in _LIGHTS and _VEHICLE.search(text)):
        return "part"
    return "nothing" if head in _NOTHINGS or not head else "whole"


def head_of(phrase: str) -> str:
    """The last word before a phrase goes on to say where the thing is, or how it is seen; "" where there is no such word."""
    for part in _NEXT.sub("|", phrase.lower()).split("|"):
        words: list[str] = [word for word in re.findall(r"[a-z0-9]+", part) if word not in _COLORS]
        if words:  # none before the first "and" in "red and white sign"
            return words[-1]
    return ""
