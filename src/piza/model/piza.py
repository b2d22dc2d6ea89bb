"""The network: a detector with its adapters, the zoom embedding, the box-history encoder, and the list of objects.

`Piza` is a `ZoomModel` (piza.search.protocols): `piza.search.predictor` searches with it. Its other methods are what training
is made of. Folders are read and written in io.py and adapter_io.py.
"""

import math
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from piza.config import PizaConfig, check, to_dict
from piza.devices import check_default_device
from piza.errors import InputError
from piza.methods import METHODS
from piza.methods.context import zoom_embedding
from piza.model import grounder
from piza.model.box_history import BoxHistoryEncoder
from piza.model.grounder import Grounding, ImageFeatures, TextFeatures
from piza.model.matcher import ExpressionMatcher, log_odds_of_things
from piza.model.nanodet_proposals import CellProposals, NanoDetProposals
from piza.model.object_words import ObjectWords
from piza.model.proposals import ProposalNetwork, Proposals
from piza.model.region_encoder import STATE as REGION_STATE
from piza.model.relations import Relations
from piza.model.text import Prompter
from piza.model.zoom_embedding import ZoomEmbedding
from piza.search.protocols import Detections, ranked
from piza.search.region_crops import Detail, region_crops

MAX_WINDOWS = 4  # in one batch; larger ones are no faster on a CPU, and need more memory
MAX_FIRST_PIXELS = 250_000  # of the inputs of a batch of first looks that ground each sentence
MAX_MATCHED = 8  # sentences matched at once with the objects of an image

T = TypeVar("T")

if hasattr(os, "register_at_fork"):
    # A forked process has torch's pool of threads without the threads, and would wait for them forever.
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


@dataclass(frozen=True)
class EncodedSentence:
    """A sentence as `Piza.encode_text` gives it. text: a batch of one prompt. pooling: (1, tokens, 1), see `Prompter.arrays`."""

    sentence: str
    text: TextFeatures
    pooling: Tensor


class Piza(nn.Module):
    """A detector that zooms. `piza.load` reads one.

    Around a detector without adapters it puts fresh ones, which leave the answers nearly unchanged.

    Args:
        detector: a GroundingDINO or MM-GroundingDINO of transformers; it is changed in place.
        tokenizer: the detector's.
        config: all other settings. Raises InputError for an unknown method or wrong options of it.
    """

    def __init__(self, detector: Any, tokenizer: Any, config: PizaConfig):
        super().__init__()
        if config.method not in METHODS:
            raise InputError(f"method: expected one of {', '.join(sorted(METHODS))}, got {config.method!r}")
        method = METHODS[config.method]
        options: Any = check(method.config, config.method_options, "method_options")
        # With the defaults written out: a file of it shall not depend on them.
        self.config = config = replace(config, method_options=to_dict(options))
        method.apply(detector, options)
        self.detector = detector
        self.zoom = ZoomEmbedding(getattr(options, "embedding_dim", 256), config.zoom_scale)
        self.history = BoxHistoryEncoder()
        base = detector.config
        self.relations = (
            Relations(base.d_model, base.decoder_attention_heads, base.decoder_layers, config.object_queries)
            if config.relations
            else None
        )
        self.proposals: ProposalNetwork | NanoDetProposals | None = None
        told = base.d_model + config.num_attributes + 1  # of each object
        if config.num_proposals and config.proposal_backbone == "nanodet":
            self.proposals = NanoDetProposals(
                detector, config.num_attributes, config.num_categories, config.num_proposals
            )
            told += REGION_STATE
        elif config.num_proposals:
            self.proposals = ProposalNetwork(detector, config.num_attributes, config.num_proposals)
        self.matcher = ExpressionMatcher(base.text_config.vocab_size, told) if config.num_proposals else None
        self.object_words: ObjectWords | None = (
            None  # names of what the list says of objects, where it is known
        )
        self.tokenizer = tokenizer
        self.prompter = Prompter(tokenizer, base.max_text_len, method.prefix_ids(detector))
        self.plain_prompter = Prompter(tokenizer, base.max_text_len)  # of words alone

    def __getstate__(self) -> dict[str, Any]:
        return _without_hooks(self, {}).__dict__

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.zoom.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return next(self.zoom.parameters()).dtype

    # What a search asks: piza.search.protocols.ZoomModel.

    @property
    def max_windows(self) -> int:
        """How many windows `refine` takes at once."""
        return MAX_WINDOWS

    @torch.inference_mode()
    def encode_text(self, sentences: Sequence[str]) -> list[EncodedSentence]:
        """One encoding a sentence, in order. Raises InputError for a sentence without words, or with too many."""
        text, pooling = self.encode_prompts([[sentence] for sentence in sentences])
        encoded = []
        for row, sentence in enumerate(sentences):
            own = text[[row]].shortened()
            encoded.append(EncodedSentence(sentence, own, pooling[[row], : own.features.shape[1]]))
        return encoded

    @torch.inference_mode()
    def encode_frame(
        self, image: NDArray[np.uint8], detail: Detail | None = None
    ) -> Proposals | ImageFeatures:
        """What all sentences share of a first window: the objects in it, if the model lists them, or its features.

        image: uint8 (height, width, 3) RGB, the window resized to the model's input. detail: the window before that, where
        small objects are seen better.
        """
        check_default_device(str(self.device))  # what a search asks first
        if self.proposals is None:
            return self.encode_images([image])
        return self.with_regions(self.proposals(self.pixels([image])), [image], [detail])

    @torch.inference_mode()
    def first_look(
        self, texts: Sequence[EncodedSentence], frame: Proposals | ImageFeatures, progress: float
    ) -> list[Detections]:
        """What a first window holds for each sentence, in order.

        texts: from `encode_text`. frame: from `encode_frame`. progress: how far along the search is, in [0, 1].
        """
        if isinstance(frame, Proposals):
            return detections(self.match([text.sentence for text in texts], frame))
        cells = frame.shapes[0][0] * frame.shapes[0][1]
        found: list[Detections] = []
        for part in _evenly(texts, max(1, min(MAX_WINDOWS, MAX_FIRST_PIXELS // (64 * cells)))):
            text, pooling = _joined(part)
            found += detections(self.ground(text, pooling, frame[[0] * len(part)], [progress] * len(part)))
        return found

    @torch.inference_mode()
    def refine(
        self,
        texts: Sequence[EncodedSentence],
        images: Sequence[NDArray[np.uint8]],
        progress: Sequence[float],
    ) -> list[Detections]:
        """What each later window holds for its sentence, in order; at most `max_windows` of them.

        images: uint8 (height, width, 3) RGB windows of one size, resized to the model's input. progress: one a window.
        """
        return detections(self.ground(*_joined(texts), self.encode_images(images), progress))

    @torch.inference_mode()
    def read_history(self, histories: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Progress in [0, 1] and the probability of "stop", (n,) each, after n histories.

        histories: each (boxes, 4) xywh in frame pixels, the frame first.
        """
        progress, stop = self.history.read(histories, self.config.progress_step)
        return _array(progress), _array(stop)

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

    # What training is made of; with gradients.

    def encode_prompts(self, prompts: Sequence[Sequence[str]]) -> tuple[TextFeatures, Tensor]:
        """Prompts of one or more sentences each -> features and pooling (batch, tokens, blocks)."""
        ids, mask, pooling = (tensor.to(self.device) for tensor in self.prompter(prompts))
        return grounder.encode_text(self.detector, ids, mask), pooling.to(self.dtype)

    def encode_images(self, images: Iterable[NDArray[np.uint8]]) -> ImageFeatures:
        """Windows of one size, uint8 (height, width, 3) RGB -> features."""
        return grounder.encode_image(self.detector, self.pixels(images))

    def with_regions(
        self,
        found: Proposals,
        images: Sequence[NDArray[np.uint8]],
        details: Sequence[Detail | None] | None = None,
    ) -> Proposals:
        """The proposals of some images with what each looks like, enlarged; as they are for a model that does not look.

        images, details: as in `encode_frame`, one of each an image of `found`.
        """
        if not isinstance(self.proposals, NanoDetProposals) or not isinstance(found, CellProposals):
            return found
        boxes = found.boxes[-1].detach().float().cpu().numpy()
        looks = zip(images, boxes, details or [None] * len(images), strict=True)
        crops, sizes = map(np.concatenate, zip(*(region_crops(*look) for look in looks), strict=True))
        return self.proposals.with_regions(found, self.pixels(crops), torch.from_numpy(sizes).to(self.device))

    def pixels(self, images: Iterable[NDArray[np.uint8]]) -> Tensor:
        """uint8 RGB windows of one size -> (batch, 3, height, width), normalized, channels last in memory."""
        stacked = torch.from_numpy(np.stack(list(images))).to(self.device)
        mean, std = (
            torch.tensor(v, dtype=torch.float32, device=self.device)
            for v in (self.config.image_mean, self.config.image_std)
        )
        return ((stacked.float() - mean) / std).permute(0, 3, 1, 2).to(self.dtype)

    def ground(
        self,
        text: TextFeatures,
        pooling: Tensor,
        image: ImageFeatures,
        progress: Tensor | Sequence[float],
        per_sentence_queries: bool = False,
        training: bool = False,
    ) -> Grounding:
        """One look at a batch of windows, with the sentences in mind.

        progress: (batch,) in [0, 1]. per_sentence_queries: see `grounder.ground`. training: with all that a loss reads, not the
        answer alone.
        """
        with zoom_embedding(self.zoom(torch.as_tensor(progress, dtype=torch.float32, device=self.device))):
            return grounder.ground(
                self.detector,
                text,
                image,
                pooling if self.config.token_pooling == "mean" else None,
                self.config.local_maxima,
                self.relations,
                per_sentence_queries,
                answer_only=not training,
            )

    def match(self, sentences: Sequence[str], proposals: Proposals) -> Grounding:
        """Sentences matched with the objects of one window.

        Returns logits (1, sentences, k, 1) and boxes (1, sentences, k, 4), as a look at the window once a sentence would.
        Raises InputError for a model that lists no objects.
        """
        boxes = proposals.boxes[-1]
        odds = log_odds_of_things(self.choose(sentences, proposals), boxes[0])
        none = odds.new_zeros(())  # no cells were scored
        return Grounding(odds[None, ..., None], boxes.expand(len(sentences), -1, -1)[None], none, none)

    def choose(self, sentences: Sequence[str], proposals: Proposals) -> Tensor:
        """Which object of one window each sentence means: logits (sentences, k), where 0 stands for none of them.

        Raises InputError for a model that lists no objects.
        """
        if self.matcher is None:
            raise InputError("the model lists no objects to match sentences with (num_proposals is 0)")
        chosen = []
        for part in _evenly(sentences, MAX_MATCHED):
            ids, mask, _ = (tensor.to(self.device) for tensor in self.plain_prompter([[s] for s in part]))
            chosen.append(self.matcher(ids[None], mask[None].bool(), proposals)[0][-1, 0])
        return torch.cat(chosen)


def merge_method(model: Piza) -> None:
    """Folds the method into the weights, in place: the same answers up to rounding, no slower than the base.

    What is left is a plain model to save with `save_folder`. Raises InputError, and changes nothing, if that cannot be done:
    only plain LoRA can.
    """
    merge = METHODS[model.config.method].merge
    if merge is None:
        raise InputError(
            f"expected plain LoRA to merge into the weights, got the method {model.config.method!r}"
        )
    merge(model)
    options = METHODS["full"].config(condition=False, embedding_dim=model.zoom.dim)
    model.config = replace(model.config, method="full", method_options=to_dict(options))


def detections(grounding: Grounding) -> list[Detections]:
    """The boxes of each window (or sentence) of a look's last layer, best first."""
    return ranked(_array(grounding.logits[-1].max(-1)[0]), _array(grounding.boxes[-1]))


def _without_hooks(module: nn.Module, memo: dict[int, nn.Module]) -> nn.Module:
    """A copy of a tree of modules that shares all weights but has no forward hooks.

    transformers leaves some on a model that ran. They are local functions, which cannot be pickled; the library puts them
    there again when the copy first runs.
    """
    if id(module) not in memo:
        copied = memo[id(module)] = module.__class__.__new__(module.__class__)
        copied.__dict__.update(module.__dict__, _forward_hooks=OrderedDict())
        copied.__dict__.pop("_output_capturing_hooks_installed", None)
        copied.__dict__["_modules"] = {
            name: child if child is None else _without_hooks(child, memo)
            for name, child in module._modules.items()
        }
    return memo[id(module)]


def _joined(texts: Sequence[EncodedSentence]) -> tuple[TextFeatures, Tensor]:
    """One batch of several sentences, padded to the longest."""
    text = TextFeatures.joined([one.text for one in texts])
    longest = text.features.shape[1]
    return text, torch.cat(
        [nn.functional.pad(one.pooling, (0, 0, 0, longest - one.pooling.shape[1])) for one in texts]
    )


def _evenly(some: Sequence[T], most: int) -> list[Sequence[T]]:
    """Parts of at most this many, as even as can be: less memory."""
    count = max(1, math.ceil(len(some) / most))
    cuts = [len(some) * part // count for part in range(count + 1)]
    return [some[first:last] for first, last in zip(cuts, cuts[1:], strict=False)]


def _array(values: Tensor) -> NDArray[Any]:
    return values.detach().float().cpu().numpy()
