"""An exported model: what a search asks of a model, answered by graphs. No torch is imported.

An export is a folder with `piza.json` as in every model folder, `export.json`, `tokenizer.json` and these graphs:

    text.onnx     tokens, which of them see each other, positions -> text features
    image.onnx    pixels -> the levels of the pyramid and their positions
    ground.onnx   text, pyramid, progress -> logits and boxes
    history.onnx  boxes so far -> progress, stop

and of a model that lists objects first:

    proposals.onnx  pixels -> what is known of each object, and the boxes
    regions.onnx    crops of objects, sizes, boxes -> what they look like, boxes moved (where the list has a pretrained backbone)
    matcher.onnx    tokens, objects -> log-odds that each is the one that is meant

Widths, heights and numbers of tokens are open; a batch is one window (histories: any number).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piza import config as settings
from piza.config import PizaConfig
from piza.errors import InputError, reason
from piza.files import parse_json
from piza.hub import EXPORT_NOTE, check_checksums, check_unchanged, hash_files, is_export
from piza.model.known_words import read_known_words
from piza.model.text import CLS, DOT, SEP, Prompter
from piza.runtimes.engines import PACKAGES, RUNTIMES, Graph, load_graph
from piza.search.protocols import Detections, ranked
from piza.search.region_crops import Detail, region_crops

GRAPHS = ("text", "image", "ground", "history")
LIST_GRAPHS = ("proposals", "matcher")  # of a model that lists objects first
REGION_GRAPHS = ("regions",)  # of one that also looks at each of them
FORMAT = 4


@dataclass(frozen=True)
class EncodedSentence:
    """A sentence as `ExportedModel.encode_text` gives it.

    features: (1, tokens, d_model). self_mask: (1, tokens, tokens) bool, True within a block. position_ids: (1, tokens).
    word_mask: (1, tokens) bool, False at learned context. pooling: (1, tokens, 1), see `Prompter.arrays`.
    """

    sentence: str
    features: NDArray[Any]
    self_mask: NDArray[Any]
    position_ids: NDArray[Any]
    word_mask: NDArray[Any]
    pooling: NDArray[Any]


@dataclass(frozen=True)
class ListedObjects:
    """The objects of a window.

    features: (1, k, width) what is known of each. boxes: (1, k, 4) cxcywh, normalized to the window. aspect: the window's
    height over its width.
    """

    features: NDArray[Any]
    boxes: NDArray[Any]
    aspect: float


class ExportedHistory:
    """The box-history encoder: see `piza.model.box_history.BoxHistoryEncoder.read`, which it equals."""

    def __init__(self, graph: Graph):
        self._graph = graph

    def read(
        self, histories: Sequence[NDArray[Any]], step: float | None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Histories (n, 4), xywh in frame pixels -> progress (batch,), stop probability (batch,)."""
        mask = np.zeros((len(histories), max(map(len, histories))), dtype=bool)
        boxes = np.zeros((*mask.shape, 4), dtype=np.float32)
        for row, history in enumerate(histories):
            boxes[row, : len(history)], mask[row, : len(history)] = history, True
        progress, stop = self._graph({"boxes": boxes, "mask": mask})
        if step is not None:
            progress = np.round(progress / np.float32(step)) * np.float32(step)
        return np.clip(progress, 0.0, 1.0), stop


class ExportedModel:
    """An exported model: a `ZoomModel` (piza.search.protocols), on the CPU, one window at a time.

    A pickle of it names its folder, and is read where that is, with the same files in it: the engines' graphs cannot be copied.
    """

    device = "cpu"
    max_windows = 1

    def __init__(
        self,
        config: PizaConfig,
        note: dict[str, Any],
        prompter: Prompter,
        graphs: dict[str, Graph],
        loaded_from: tuple[Path, str, int | None, str],
    ):
        self.config = config
        self._loaded_from = loaded_from
        self.prompter = prompter
        self.history = ExportedHistory(graphs["history"])
        self._plain_prompter = Prompter(prompter.tokenizer, note["max_tokens"])
        self._graphs = graphs
        self._special_tokens = np.array(note["special_tokens"])
        self._vocabulary = int(note["vocabulary"])
        self._levels = int(note["levels"])

    def __reduce__(self) -> Any:
        return _load_same, self._loaded_from

    def encode_text(self, sentences: Sequence[str]) -> list[EncodedSentence]:
        """One encoding a sentence, in order. Raises InputError for a sentence without words, or with too many."""
        return [self._encode(sentence) for sentence in sentences]

    def _encode(self, sentence: str) -> EncodedSentence:
        ids, _, pooling = self.prompter.arrays([[sentence]])
        self_mask, position_ids = block_masks(ids[0], self._special_tokens)
        given = {"input_ids": ids, "self_mask": self_mask[None], "position_ids": position_ids[None]}
        (features,) = self._graphs["text"](given)
        return EncodedSentence(
            sentence, features, self_mask[None], position_ids[None], ids < self._vocabulary, pooling
        )

    def encode_frame(
        self, image: NDArray[np.uint8], detail: Detail | None = None
    ) -> ListedObjects | list[NDArray[Any]]:
        """What all sentences share of a first window: the objects in it, if the model lists them, or its pyramid.

        image: uint8 (height, width, 3) RGB, the window resized to the model's input. detail: the window before that.
        """
        if not self.config.num_proposals:
            return self.encode_images([image])
        pixels = self._pixels([image])
        features, boxes = self._graphs["proposals"]({"pixels": pixels})
        if "regions" in self._graphs:
            crops, sizes = region_crops(image, boxes[0], detail)
            regions, moved = self._graphs["regions"](
                {"crops": self._normalized(crops), "sizes": sizes, "boxes": boxes[0]}
            )
            boxes = moved[None]
            # The graph leaves their place free, before the last column.
            features = np.concatenate(
                [features[..., : -regions.shape[-1] - 1], regions[None], features[..., -1:]], -1
            )
        return ListedObjects(features, boxes, pixels.shape[2] / pixels.shape[3])

    def first_look(
        self, texts: Sequence[EncodedSentence], frame: ListedObjects | list[NDArray[Any]], progress: float
    ) -> list[Detections]:
        """What a first window holds for each sentence, in order.

        texts: from `encode_text`. frame: from `encode_frame`. progress: how far along the search is, in [0, 1].
        """
        if isinstance(frame, ListedObjects):
            return [self._match(text.sentence, frame) for text in texts]
        return [self._ground(text, frame, progress) for text in texts]

    def refine(
        self,
        texts: Sequence[EncodedSentence],
        images: Sequence[NDArray[np.uint8]],
        progress: Sequence[float],
    ) -> list[Detections]:
        """What each later window holds for its sentence, in order.

        images: uint8 (height, width, 3) RGB windows, resized to the model's input. progress: one a window.
        """
        looks = zip(texts, images, progress, strict=True)
        return [self._ground(text, self.encode_images([image]), at) for text, image, at in looks]

    def read_history(self, histories: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Progress in [0, 1] and the probability of "stop", (n,) each, after n histories (boxes, 4) xywh in frame pixels."""
        return self.history.read(histories, self.config.progress_step)

    def unknown_words(self, expression: str) -> list[str]:
        """The words of a sentence that the model was never taught; none where that is not recorded."""
        return self.prompter.unknown_words(expression)

    def locate(self, image: Any, expression: str | Sequence[str], *args: Any, **options: Any) -> Any:
        """Finds what a sentence describes: see `piza.search.predictor.locate`, of which this is the short form."""
        from piza.search.predictor import locate

        return locate(self, image, expression, *args, **options)

    def locate_many(self, source: Any, sentences: str | Sequence[str], **options: Any) -> Any:
        """The same about many images, an iterator: see `piza.search.locate_many.locate_many`."""
        from piza.search.locate_many import locate_many

        return locate_many(self, source, sentences, **options)

    def encode_images(self, images: Iterable[NDArray[np.uint8]]) -> list[NDArray[Any]]:
        """One window, uint8 (height, width, 3) RGB -> the levels' features, then their positions: (1, rows, columns, d_model)."""
        return self._graphs["image"]({"pixels": self._pixels(images)})

    def _pixels(self, images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(1, 3, height, width), normalized."""
        pixels = np.stack(list(images))
        if len(pixels) != 1:
            raise ValueError(f"expected one window at a time, got {len(pixels)}")
        return self._normalized(pixels)

    def _normalized(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, height, width, 3) RGB -> (n, 3, height, width)."""
        mean, std = (np.array(v, dtype=np.float32) for v in (self.config.image_mean, self.config.image_std))
        normalized: NDArray[np.float32] = ((pixels.astype(np.float32) - mean) / std).transpose(0, 3, 1, 2)
        return normalized

    def _match(self, sentence: str, frame: ListedObjects) -> Detections:
        ids, _, _ = self._plain_prompter.arrays([[sentence]])
        given = {"input_ids": ids, "features": frame.features, "boxes": frame.boxes}
        (logits,) = self._graphs["matcher"]({**given, "aspect": np.array(frame.aspect, dtype=np.float32)})
        return ranked(logits, frame.boxes)[0]

    def _ground(self, text: EncodedSentence, pyramid: list[NDArray[Any]], progress: float) -> Detections:
        given = {
            "text": text.features,
            "self_mask": text.self_mask,
            "position_ids": text.position_ids,
            "word_mask": text.word_mask,
            "pooling": text.pooling,
            "progress": np.array([progress], dtype=np.float32),
            **dict(zip(level_names(self._levels), pyramid, strict=True)),
        }
        logits, boxes = self._graphs["ground"](given)
        return ranked(logits.max(-1), boxes)[0]


def load_exported(
    folder: str | Path, runtime: str | None = None, threads: int | None = None
) -> ExportedModel:
    """Reads a folder that `piza export` wrote.

    runtime: "onnx" or "openvino"; None takes the first of them that is installed. threads: of the engine; None takes
    OMP_NUM_THREADS or the engine's choice. Raises InputError for an unknown runtime, one that is not installed, a folder that
    holds no export, and a damaged one.
    """
    if runtime is None:
        runtime = next((name for name, package in PACKAGES.items() if find_spec(package)), "onnx")
    if runtime not in RUNTIMES:
        raise InputError(f"runtime: expected torch, {' or '.join(RUNTIMES)}, got {runtime!r}")
    folder = Path(folder)
    if not is_export(folder):
        raise InputError(
            f"{str(folder)!r} holds no export for the runtime {runtime!r}: "
            "expected a folder that `piza export MODEL --out FOLDER` wrote"
        )
    sums = check_checksums(folder)
    digest = hash_files(folder)
    note = _read_note(folder / EXPORT_NOTE)
    config = settings.read_whole(PizaConfig, folder / "piza.json")
    needed = GRAPHS + (LIST_GRAPHS if config.num_proposals else ())
    needed += REGION_GRAPHS if config.num_proposals and config.proposal_backbone == "nanodet" else ()
    missing = [f"{name}.onnx" for name in needed if not (folder / f"{name}.onnx").is_file()]
    if missing:
        raise InputError(f"the export {str(folder)!r} is not whole: it lacks {' and '.join(missing)}")
    prompter = Prompter(_tokenizer(folder / "tokenizer.json"), note["max_tokens"], note["prefix"])
    prompter.known_words = read_known_words(folder)
    graphs = {name: load_graph(folder / f"{name}.onnx", runtime, threads) for name in needed}
    check_unchanged(folder, sums)
    return ExportedModel(config, note, prompter, graphs, (folder.absolute(), runtime, threads, digest))


def _load_same(folder: Path, runtime: str, threads: int | None, digest: str) -> ExportedModel:
    """The model of a pickle. Raises InputError where another export has come into its folder since."""
    if is_export(folder) and hash_files(folder) != digest:
        raise InputError(
            f"the export {str(folder)!r} has other files now than when this model was read from it; read it again"
        )
    return load_exported(folder, runtime, threads)


def _read_note(path: Path) -> dict[str, Any]:
    """The content of export.json. Raises InputError, naming file and field, for a damaged one."""
    try:
        note = parse_json(path.read_bytes(), str(path))
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from None
    if not isinstance(note, dict):
        raise InputError(f"{path}: expected a JSON object, got {type(note).__name__}")
    if note.get("format") != FORMAT:
        raise InputError(
            f"{path}: format: expected {FORMAT}, got {note.get('format')!r:.60}; export the model again"
        )
    for key in ("max_tokens", "vocabulary", "levels"):
        if type(note.get(key)) is not int or not 0 < note[key] < 10**7:
            raise InputError(f"{path}: {key}: expected a positive number, got {note.get(key)!r:.60}")
    for key in ("prefix", "special_tokens"):
        numbers = note.get(key)
        if not isinstance(numbers, list) or any(type(number) is not int for number in numbers):
            raise InputError(f"{path}: {key}: expected a list of token ids, got {numbers!r:.60}")
    if not {CLS, SEP, DOT} <= set(note["special_tokens"]):
        raise InputError(f"{path}: special_tokens: expected {CLS}, {SEP} and {DOT} among them")
    return note


def level_names(levels: int) -> list[str]:
    """The names of the pyramid between image.onnx and ground.onnx, in order."""
    return [f"{kind}_{level}" for kind in ("features", "positions") for level in range(levels)]


def block_masks(ids: NDArray[Any], special: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which tokens see each other, (tokens, tokens), and positions, (tokens,), of one prompt's ids (tokens,).

    special: the ids that end a block. A block ends with a special token and its words see one another; positions are counted anew in each block. The two
    ends of the prompt see only themselves. This is the library's rule, written for arrays.
    """
    count = len(ids)
    marks = np.flatnonzero(np.isin(ids, special))
    at = np.arange(count)
    following = np.append(marks, count)[np.searchsorted(marks, at)]
    before = np.insert(marks, 0, -1)[np.searchsorted(marks, at)]
    real = (following != 0) & (following < count - 1)
    together = (following[:, None] == following) & real[:, None]
    return together | np.eye(count, dtype=bool), np.where(real, at - before - 1, 0)


def _tokenizer(path: Path) -> Any:
    """The part of a transformers tokenizer that `Prompter` calls."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # plain Exception, and panics of Rust, which are no Exception
        raise InputError(f"{path} cannot be read: {reason(error)}") from None

    tokenizer.encode_special_tokens = True

    def tokenize(text: str, add_special_tokens: bool, split_special_tokens: bool) -> dict[str, list[int]]:
        assert split_special_tokens
        return {"input_ids": tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}

    return tokenize
