"""An exported model: what `piza.search.predictor` asks of a model, answered by graphs. No torch is imported.

An export is a folder with `piza.json` as in every model folder, `export.json`, `tokenizer.json` and these graphs:

    text.onnx     tokens, which of them see each other, positions -> text features
    image.onnx  pixels -> the levels of the pyramid and their positions
    ground.onnx   text, pyramid, progress -> logits and boxes
    history.onnx  boxes so far -> progress, stop

and of a model whose first look lists things:

    proposals.onnx     pixels -> what is known of each thing, and their boxes
    matcher.onnx     tokens, things -> how surely each is the one that is meant

Widths, heights and numbers of tokens are open; a batch is one window (histories: any number).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piza.config import PizaConfig, read
from piza.errors import InputError, reason
from piza.image import ImageArray
from piza.model.text import Prompter
from piza.runtimes.engines import RUNTIMES, Graph, load_graph
from piza.search.protocols import Detections, ranked

NOTE = "export.json"
GRAPHS = ("text", "image", "ground", "history")
LISTING = ("proposals", "matcher")  # of a model whose first look lists things
FORMAT = 2


@dataclass
class Words:
    """An encoded sentence. features: (1, tokens, d_model). self_mask: (1, tokens, tokens) bool, True within a block.
    position_ids: (1, tokens). word_mask: (1, tokens) bool, False at learned context."""

    features: NDArray
    self_mask: NDArray
    position_ids: NDArray
    word_mask: NDArray


@dataclass
class Answer:
    """One look, like `piza.model.grounder.Grounding` of the last layer only: logits (1, 1, queries, blocks), boxes
    (1, 1, queries, 4) cxcywh, normalized to the window."""

    logits: NDArray
    boxes: NDArray


@dataclass
class Listed:
    """The things of a window. features: (1, k, width) what is known of each. boxes: (1, k, 4) cxcywh, normalized to the window.
    aspect: the window's height over its width."""

    features: NDArray
    boxes: NDArray
    aspect: float


class History:
    """The box-history encoder: see `piza.model.box_history.BoxHistoryEncoder.read`, which it equals."""

    def __init__(self, graph: Graph):
        self._graph = graph

    def read(self, histories: Sequence[NDArray], step: float | None) -> tuple[NDArray, NDArray]:
        """Histories (n, 4), xywh in frame pixels -> progress (batch,), stop probability (batch,)."""
        mask = np.zeros((len(histories), max(map(len, histories))), dtype=bool)
        boxes = np.zeros((*mask.shape, 4), dtype=np.float32)
        for row, history in enumerate(histories):
            boxes[row, : len(history)], mask[row, : len(history)] = history, True
        progress, stop = self._graph({"boxes": boxes, "mask": mask})
        if step is not None:
            progress = np.clip(np.round(progress / np.float32(step)) * np.float32(step), 0.0, 1.0)
        return progress, stop


class Exported:
    """An exported model, to be searched with as with `piza.model.piza.Piza`; on the CPU, one window at a time."""

    device = "cpu"

    def __init__(
        self, config: PizaConfig, note: dict[str, Any], prompter: Prompter, graphs: dict[str, Graph]
    ):
        self.config = config
        self.prompter = prompter
        self._plain_prompter = Prompter(prompter.tokenizer, note["max_tokens"])
        self.history = History(graphs["history"])
        self._graphs = graphs
        self._special = np.array(note["special_tokens"])
        self._vocabulary = int(note["vocabulary"])
        self._levels = int(note["levels"])

    def encode_prompts(self, prompts: list[list[str]]) -> tuple[Words, NDArray]:
        """One prompt -> features, and pooling (1, tokens, blocks)."""
        if len(prompts) != 1:
            raise ValueError(f"an exported model encodes one prompt at a time, got {len(prompts)}")
        ids, _, pooling = self.prompter.arrays(prompts)
        self_mask, position_ids = block_masks(ids[0], self._special)
        given = {"input_ids": ids, "self_mask": self_mask[None], "position_ids": position_ids[None]}
        (features,) = self._graphs["text"](given)
        return Words(features, self_mask[None], position_ids[None], ids < self._vocabulary), pooling

    def encode_images(self, pictures: Iterable[NDArray[np.uint8]]) -> list[NDArray]:
        """One window, uint8 (height, width, 3) RGB -> the levels' features and then their positions, each (1, rows,
        columns, d_model)."""
        return self._graphs["image"]({"pixels": self._pixels(pictures)})

    def _pixels(self, pictures: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        pixels = np.stack(list(pictures)).astype(np.float32)
        if len(pixels) != 1:
            raise ValueError(f"an exported model looks at one window at a time, got {len(pixels)}")
        mean, std = (np.array(v, dtype=np.float32) for v in (self.config.image_mean, self.config.image_std))
        return ((pixels - mean) / std).transpose(0, 3, 1, 2)

    @property
    def max_windows(self) -> int:
        """One: the graphs take one window."""
        return 1

    def encode_text(self, sentences: Sequence[str]) -> list[tuple[str, Words, NDArray]]:
        """See `ZoomModel`."""
        return [(sentence, *self.encode_prompts([[sentence]])) for sentence in sentences]

    def encode_frame(self, image: ImageArray) -> list[NDArray] | Listed:
        """See `ZoomModel`: the objects in the frame, if the model lists them, or the levels of the pyramid."""
        if not self.config.num_proposals:
            return self.encode_images([image])
        pixels = self._pixels([image])
        features, boxes = self._graphs["proposals"]({"pixels": pixels})
        return Listed(features, boxes, pixels.shape[2] / pixels.shape[3])

    def first_look(
        self, texts: Sequence[tuple[str, Words, NDArray]], frame: list[NDArray] | Listed, progress: float
    ) -> list[Detections]:
        """See `ZoomModel`."""
        if isinstance(frame, Listed):
            return _detections(self.match([sentence for sentence, _, _ in texts], frame))
        answers = [self.ground(text, pooling, frame, [progress]) for _, text, pooling in texts]
        return [one for answer in answers for one in _detections(answer)]

    def refine(
        self,
        texts: Sequence[tuple[str, Words, NDArray]],
        images: Sequence[ImageArray],
        progress: Sequence[float],
    ) -> list[Detections]:
        """See `ZoomModel`."""
        ((_, text, pooling),) = texts
        return _detections(self.ground(text, pooling, self.encode_images(images), progress))

    def read_history(self, histories: Sequence[NDArray]) -> tuple[NDArray, NDArray]:
        """See `ZoomModel`."""
        return self.history.read(histories, self.config.progress_step)

    def match(self, sentences: Sequence[str], frame: Listed) -> Answer:
        """Sentences against the objects that were listed in one frame."""
        logits = []
        for sentence in sentences:
            ids, _, _ = self._plain_prompter.arrays([[sentence]])
            given = {"input_ids": ids, "features": frame.features, "boxes": frame.boxes}
            logits += self._graphs["matcher"]({**given, "aspect": np.array(frame.aspect, dtype=np.float32)})
        return Answer(np.stack(logits, 1)[..., None], np.stack([frame.boxes] * len(sentences), 1))

    def ground(
        self, text: Words, pooling: NDArray, picture: list[NDArray], progress: Sequence[float]
    ) -> Answer:
        """One look at one window; progress is (1,) in [0, 1]."""
        given = {
            "text": text.features,
            "self_mask": text.self_mask,
            "position_ids": text.position_ids,
            "word_mask": text.word_mask,
            "pooling": pooling,
            "progress": np.asarray(progress, dtype=np.float32),
            **dict(zip(level_names(self._levels), picture, strict=True)),
        }
        logits, boxes = self._graphs["ground"](given)
        return Answer(logits[None], boxes[None])

    def locate(self, image: Any, expression: Any, **options: Any) -> Any:
        """Finds what a sentence describes: see `piza.search.predictor.locate`, of which this is the short form."""
        from piza.search.predictor import locate

        return locate(self, image, expression, **options)


def load_exported(folder: str | Path, runtime: str = "onnx", threads: int | None = None) -> Exported:
    """Reads a folder that `piza export` wrote.

    runtime: "onnx" or "openvino". threads: of the engine; None takes OMP_NUM_THREADS or the engine's choice. Raises
    InputError for an unknown runtime, one that is not installed, a folder that holds no export, and a damaged one.
    """
    if runtime not in RUNTIMES:
        raise InputError(f"there is no runtime {runtime!r}; known are torch, {', '.join(RUNTIMES)}")
    folder = Path(folder)
    if not (folder / NOTE).is_file():
        raise InputError(
            f"{str(folder)!r} holds no export for the runtime {runtime!r}: "
            "a folder is wanted that `piza export MODEL --out FOLDER` wrote"
        )
    try:
        note = json.loads((folder / NOTE).read_text())
        if note["format"] != FORMAT:
            raise ValueError(f"it is of format {note['format']}, and format {FORMAT} is read")
        config = read(PizaConfig, folder / "piza.json")
        wanted = GRAPHS + (LISTING if config.num_proposals else ())
        lacking = [f"{name}.onnx" for name in wanted if not (folder / f"{name}.onnx").is_file()]
        if lacking:
            raise InputError(f"the export {str(folder)!r} is not whole: it lacks {' and '.join(lacking)}")
        prompter = Prompter(_tokenizer(folder / "tokenizer.json"), note["max_tokens"], note["prefix"])
        graphs = {name: load_graph(folder / f"{name}.onnx", runtime, threads) for name in wanted}
        return Exported(config, note, prompter, graphs)
    except InputError:
        raise
    except Exception as error:  # damaged files; the tokenizer's library raises plain Exception
        raise InputError(f"the export {str(folder)!r} cannot be read: {reason(error)}") from None


def level_names(levels: int) -> list[str]:
    """The names of the pyramid between image.onnx and ground.onnx, in order."""
    return [f"{kind}_{level}" for kind in ("features", "positions") for level in range(levels)]


def block_masks(ids: NDArray, special: NDArray) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which tokens see each other, (tokens, tokens), and positions, (tokens,), of one prompt's ids (tokens,).

    A block ends with a special token and its words see one another; positions are counted anew in each block. The two
    ends of the prompt see only themselves. This is the library's rule, written for arrays.
    """
    count = len(ids)
    marks = np.flatnonzero(np.isin(ids, special))
    places = np.arange(count)
    following = np.append(marks, count)[np.searchsorted(marks, places)]
    before = np.insert(marks, 0, -1)[np.searchsorted(marks, places)]
    real = (following != 0) & (following < count - 1)
    see = (following[:, None] == following) & real[:, None]
    return see | np.eye(count, dtype=bool), np.where(real, places - before - 1, 0)


def _detections(answer: Answer) -> list[Detections]:
    return ranked(answer.logits[-1].max(-1), answer.boxes[-1])


def _tokenizer(path: Path) -> Any:
    """The part of a transformers tokenizer that `Prompter` calls."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    return lambda text, add_special_tokens: {
        "input_ids": tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
    }
