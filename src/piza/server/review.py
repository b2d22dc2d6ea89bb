"""The page where people decide about sentences: `piza data verify page`.

A decision is on the disk before the page goes on to the next sentence. Several people can work at a time; each is
shown what is not settled yet and what they have not decided. There is no login: a name is what somebody types.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from piza.data.sorec import find_image
from piza.dataset.decisions import Key, Rules, agreements, check_decisions, check_kept, latest, settle
from piza.dataset.records import Checked, Decision, RecordWriter
from piza.errors import InputError
from piza.image import ImageArray, open_image
from piza.server.bodies import Form, read_body
from piza.server.errors import NotFoundError, add_handlers
from piza.server.metrics import Metrics
from piza.server.queue import WorkQueue
from piza.server.schemas import MAX_CHARACTERS, read
from piza.server.static_files import add_static_routes
from piza.server.store import MEGABYTE, Limits, crop_jpeg, preview
from piza.visualize.draw import surroundings_xyxy

CLOSE_TIMES, CLOSE_SIDE = 6.0, 900  # the enlarged part, in sides of the box; its longest side in pixels
MAX_NAME = 80  # characters of a person's name
KEPT_IMAGES = 4  # decoded photos in memory
MAX_BODY = MEGABYTE // 10  # bytes of a decision
MAX_DIGITS = 9


class DecisionRequest(BaseModel):
    """What the page sends. key: of the sentence that it shows. bbox: [x, y, width, height] in pixels of the photo."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    who: str = Field(min_length=1, max_length=MAX_NAME)
    key: str
    decision: Literal["accept", "fix", "reject"]
    text: str = Field(max_length=MAX_CHARACTERS)
    bbox: tuple[float, float, float, float]


@dataclass
class Review:
    """Sentences, what was decided about them so far, and the log that decisions are written to.

    records: the proposals, each with its sentences. images_dir: the folder of their photos. log: open for writing. rules: when
    a sentence is settled. who: the name that the page suggests.
    """

    records: Sequence[Checked]
    images_dir: Path
    log: RecordWriter[Decision]
    rules: Rules
    who: str = ""
    keys: list[Key] = field(init=False)

    def __post_init__(self) -> None:
        check_decisions(self.log.existing, self.records, repr(str(self.log.path)))
        self.by_id = {record.id: record for record in self.records}
        doubtful = sorted(self.records, key=lambda record: (-record.doubt, record.image, record.id))
        self.keys = [(record.id, place) for record in doubtful for place in range(len(record.sentences))]
        self.decided = latest(self.log.existing)
        self.decisions = list(self.log.existing)
        self._decoded = lru_cache(KEPT_IMAGES)(lambda name: open_image(find_image(self.images_dir, name)))

    def waits_for(self, place: int, who: str) -> bool:
        """Whether a person has something to decide about the sentence at this place of `keys`."""
        own = self.decided.get(self.keys[place], {})
        return who not in own and settle(own, self.rules).state in ("open", "disputed")

    def left(self, who: str) -> int:
        """How many sentences wait for a person."""
        return sum(self.waits_for(place, who) for place in range(len(self.keys)))

    def next_place(self, who: str, after: int) -> int | None:
        """The next place that waits for a person, going around; None where none does."""
        count = len(self.keys)
        order = ((after + 1 + step) % count for step in range(count))
        return next((place for place in order if self.waits_for(place, who)), None)

    def decide(self, place: int, asked: DecisionRequest) -> Decision:
        """Write a decision to the log. Raises InputError for a box or a sentence that cannot be used."""
        identity, sentence = self.keys[place]
        if asked.key != self.key(place):
            raise InputError("this page is of other sentences than the server has now; load it again")
        record = self.by_id[identity]
        original = record.sentences[sentence].text
        who = " ".join(asked.who.split())
        if not who or not who.isprintable():
            raise InputError("expected your name, so that the log says who decided")
        text, bbox = (
            (" ".join(asked.text.split()), asked.bbox) if asked.decision == "fix" else (original, record.bbox)
        )
        when = datetime.now(UTC).isoformat(timespec="milliseconds")
        decision = Decision(identity, sentence, asked.decision, text, bbox, who, when)
        if asked.decision == "fix":
            check_kept(decision, record)
            if text == " ".join(original.split()) and bbox == record.bbox:
                raise InputError("nothing was changed; accept it, or change the sentence or the box")
        self.log.write(decision)
        own = self.decided.setdefault((identity, sentence), {})
        own.pop(who, None)
        own[who] = decision
        self.decisions.append(decision)
        return decision

    def key(self, place: int) -> str:
        """The sentence at a place, whatever other sentences there are."""
        return "{}-{}".format(*self.keys[place])

    def item(self, place: int, who: str) -> dict[str, Any]:
        """What the page shows of one sentence."""
        identity, sentence = self.keys[place]
        record = self.by_id[identity]
        said = record.sentences[sentence]
        own = self.decided.get((identity, sentence), {})
        mine = own.get(who)
        return {
            "place": place,
            "total": len(self.keys),
            "left": self.left(who),
            "key": self.key(place),
            "image": record.image,
            "width": record.width,
            "height": record.height,
            "bbox": list(record.bbox),
            "text": said.text,
            "findings": [finding.message for finding in said.findings],
            "disputed": settle(own, self.rules).state == "disputed",
            "mine": mine and {"decision": mine.decision, "text": mine.text, "bbox": list(mine.bbox)},
            "frame": f"review/{place}/frame.jpg?{self.key(place)}",
            "close": f"review/{place}/close.jpg?{self.key(place)}",
            "window": list(self.window(place)),
        }

    def window(self, place: int) -> tuple[float, float, float, float]:
        """The part of the photo that is shown enlarged, xyxy in its pixels."""
        record = self.by_id[self.keys[place][0]]
        return surroundings_xyxy(record.box_xyxy, (record.width, record.height), CLOSE_TIMES)

    def photo(self, place: int) -> ImageArray:
        """The photo of the sentence at this place. Raises InputError where it is gone, or was changed since."""
        record = self.by_id[self.keys[place][0]]
        image: ImageArray = self._decoded(record.image)
        if (image.shape[1], image.shape[0]) != (record.width, record.height):
            raise InputError(
                f"{record.image!r} has {image.shape[1]} x {image.shape[0]} pixels, but its proposals are of a photo of "
                f"{record.width} x {record.height}: it was changed since"
            )
        return image


@dataclass
class ReviewState:
    """What the routes share, and what `piza.server.app.run` closes."""

    review: Review
    metrics: Metrics = field(default_factory=Metrics)
    busy: bool = False

    def __post_init__(self) -> None:
        self.image_queue = WorkQueue(16, "piza-review")
        self.parsers = ThreadPoolExecutor(1, "piza-parse")

    def close(self) -> None:
        """Drop what waits."""
        self.image_queue.cancel_all()


def create_review(review: Review, host: str, allowed_hosts: Sequence[str] = ()) -> Any:
    """The page as an application behind the same rules as `piza serve`: who may ask, how large, how slow."""
    from piza.server.access import allowed_hosts as hosts_of
    from piza.server.app import App
    from piza.server.middleware import wrap

    state = ReviewState(review)
    app = FastAPI(
        title="piza review", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    add_handlers(app)
    router = APIRouter(include_in_schema=False)
    add_static_routes(router, {"/": "review.html"})
    _review_routes(router, state)
    app.include_router(router)
    limits = Limits(max_bytes=MAX_BODY)
    return App(wrap(app, state.metrics, limits, 16, hosts_of(host, allowed_hosts)), state)


def _review_routes(router: APIRouter, state: ReviewState) -> None:
    review = state.review

    @router.get("/review/config")
    async def config() -> Response:
        return JSONResponse(
            {"who": review.who, "total": len(review.keys), "reviewers": review.rules.reviewers}
        )

    @router.get("/review/next")
    async def next_item(who: str = "", after: str = "-1") -> Response:
        start = (
            int(after)
            if after.isascii() and after.removeprefix("-").isdigit() and len(after) <= MAX_DIGITS
            else -1
        )
        place = review.next_place(who, start) if review.keys else None
        return JSONResponse(review.item(place, who) if place is not None else _done(review))

    @router.get("/review/{place}")
    async def item(place: str, who: str = "") -> Response:
        return JSONResponse(review.item(_place(review, place), who))

    @router.post("/review/{place}")
    async def decide(place: str, request: Request) -> Response:
        number = _place(review, place)
        asked = await read_body(
            request, state.parsers, _no_form, lambda values: read(DecisionRequest, values)
        )
        review.decide(number, asked)
        return JSONResponse({"left": review.left(" ".join(asked.who.split()))})

    @router.get("/review/{place}/{file}")
    async def image(place: str, file: str) -> Response:
        number = _place(review, place)
        if file not in ("frame.jpg", "close.jpg"):
            raise NotFoundError(f"there is no {file[:100]!r} of a sentence")

        def work(_: Any) -> bytes:
            pixels = review.photo(number)
            if file == "frame.jpg":
                return preview(pixels)
            return crop_jpeg(pixels, review.window(number), CLOSE_SIDE, enlarge=True)

        return Response(
            await state.image_queue.run(work),
            media_type="image/jpeg",
            headers={"Cache-Control": "private, max-age=600"},
        )


def _done(review: Review) -> dict[str, Any]:
    states = [settle(review.decided.get(key, {}), review.rules).state for key in review.keys]
    counts = {state: states.count(state) for state in ("kept", "rejected", "disputed", "open")}
    return {
        "done": True,
        "total": len(review.keys),
        "counts": counts,
        "agreement": [one.to_dict() for one in agreements(review.decisions)],
    }


def _place(review: Review, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and int(text) < len(review.keys)):
        raise NotFoundError(f"there is no sentence {text[:100]!r}; there are {len(review.keys)}, from 0")
    return int(text)


def _no_form(_: Form) -> DecisionRequest:
    raise InputError("expected application/json, got multipart/form-data")
