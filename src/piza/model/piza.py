"""The whole: a grounder, its adapters, the zoom embedding and the box-history encoder, and how they are saved.

A model folder holds `piza.json` (PizaConfig), `config.json` (the grounder's, as transformers writes it),
`model.safetensors` (all weights) and the tokenizer's files. Adapter folders are in adapter_io.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from piza.config import PizaConfig, SearchConfig, read, write
from piza.errors import InputError, reason
from piza.files import atomic_write
from piza.image import ImageArray, ImageSource
from piza.methods import METHODS
from piza.model import adapter_io, grounder
from piza.model.box_history import BoxHistoryEncoder
from piza.model.grounder import Grounding, ImageFeatures, TextFeatures
from piza.model.matcher import ExpressionMatcher, log_odds
from piza.model.proposals import ProposalNetwork, Proposals
from piza.model.relations import Relations
from piza.model.text import Prompter
from piza.model.zoom_embedding import ZoomEmbedding
from piza.result import Result
from piza.search.protocols import Detections, ranked

FAMILIES = ("mm-grounding-dino", "grounding-dino")

# How the base models are used by their authors: one look, the shorter side about 800 pixels, a box's score its best token's.
PLAIN = PizaConfig(
    method="full",
    method_options={"condition": False},
    first_pixels=923,
    later_pixels=923,
    pooling="max",
    search=SearchConfig(budget=1, max_looks=1),
)


MATCHED_AT_ONCE = 8  # sentences, against the objects of a frame


@dataclass
class EncodedSentence:
    """One sentence. text, pooling: of a prompt that holds it alone."""

    sentence: str
    text: TextFeatures
    pooling: Tensor


class Piza(nn.Module):
    """A grounder that zooms. `piza.load` and `load_folder` read one; around a detector without adapters it puts fresh
    ones, which leave the answers nearly unchanged. `piza.search.predictor` searches with it."""

    def __init__(self, detector: Any, tokenizer: Any, config: PizaConfig):
        super().__init__()
        if config.method not in METHODS:
            raise InputError(f"There is no method {config.method!r}; known are {', '.join(sorted(METHODS))}.")
        method = METHODS[config.method]
        options = method.config(**config.method_options)
        self.config = config
        self.zoom_context = method.apply(detector, options)
        self.detector = detector
        self.zoom = ZoomEmbedding(getattr(options, "embedding_dim", 256), config.zoom_scale)
        self.history = BoxHistoryEncoder()
        base = detector.config
        self.relations = (
            Relations(base.d_model, base.decoder_attention_heads, base.decoder_layers, config.object_queries)
            if config.relations
            else None
        )
        self.proposals = (
            ProposalNetwork(detector, config.num_attributes, config.num_proposals)
            if config.num_proposals
            else None
        )
        self.matcher = (
            ExpressionMatcher(base.text_config.vocab_size, base.d_model + config.num_attributes + 1)
            if config.num_proposals
            else None
        )
        self.tokenizer = tokenizer
        self.prompter = Prompter(tokenizer, detector.config.max_text_len, method.prefix_ids(detector))
        self.plain_prompter = Prompter(tokenizer, detector.config.max_text_len)  # of words alone

    @property
    def device(self) -> torch.device:
        return next(self.zoom.parameters()).device

    def encode_prompts(self, prompts: list[list[str]]) -> tuple[TextFeatures, Tensor]:
        """Prompts of one or more sentences each -> features and pooling (batch, tokens, blocks)."""
        ids, mask, pooling = (tensor.to(self.device) for tensor in self.prompter(prompts))
        return grounder.encode_text(self.detector, ids, mask), pooling

    def encode_images(self, pictures: Iterable[np.ndarray]) -> ImageFeatures:
        """Windows of one size, uint8 (height, width, 3) RGB -> features."""
        return grounder.encode_image(self.detector, self.pixels(pictures))

    def pixels(self, pictures: Iterable[np.ndarray]) -> Tensor:
        """uint8 RGB windows of one size -> (batch, 3, height, width), normalized, channels last in memory."""
        stacked = torch.from_numpy(np.stack(list(pictures))).to(self.device)
        mean, std = (
            torch.tensor(v, device=self.device) for v in (self.config.image_mean, self.config.image_std)
        )
        return ((stacked.float() - mean) / std).permute(0, 3, 1, 2)

    def ground(
        self,
        text: TextFeatures,
        pooling: Tensor,
        picture: ImageFeatures,
        progress: Tensor | Sequence[float],
        per_sentence_queries: bool = False,
        training: bool = False,
    ) -> Grounding:
        """One look at a batch of windows; progress is (batch,) in [0, 1]. `training`: with all that a loss reads, not the
        answer alone; `per_sentence_queries`: see `grounder.ground`."""
        with self.zoom_context.use(self.zoom(torch.as_tensor(progress, device=self.device))):
            mean = pooling if self.config.pooling == "mean" else None
            return grounder.ground(
                self.detector,
                text,
                picture,
                mean,
                self.config.local_maxima,
                self.relations,
                per_sentence_queries,
                answer_only=not training,
            )

    @property
    def max_windows(self) -> int:
        """See `ZoomModel`; larger batches are no faster on a CPU and need more memory."""
        return 4

    def encode_text(self, sentences: Sequence[str]) -> list[EncodedSentence]:
        """See `ZoomModel`; all are padded to the longest."""
        text, pooling = self.encode_prompts([[sentence] for sentence in sentences])
        return [
            EncodedSentence(sentence, text[[row]], pooling[[row]]) for row, sentence in enumerate(sentences)
        ]

    def encode_frame(self, image: ImageArray) -> Proposals | ImageFeatures:
        """See `ZoomModel`: the objects in the frame, if the model lists them, or its features."""
        if self.proposals is None:
            return self.encode_images([image])
        found: Proposals = self.proposals(self.pixels([image]))
        return found

    def first_look(
        self, texts: Sequence[EncodedSentence], frame: Proposals | ImageFeatures, progress: float
    ) -> list[Detections]:
        """See `ZoomModel`: sentences are matched against the list, or grounded in the frame."""
        found: list[Detections] = []
        most = self.max_windows if isinstance(frame, ImageFeatures) else MATCHED_AT_ONCE
        for part in np.array_split(np.arange(len(texts)), -(-len(texts) // most)):
            some = [texts[number] for number in part]
            if isinstance(frame, ImageFeatures):
                text, pooling = _stacked(some)
                windows = frame[[0] * len(some)] if len(some) > 1 else frame
                found += detections(self.ground(text, pooling, windows, [progress] * len(some)))
            else:
                found += detections(self.match([text.sentence for text in some], frame))
        return found

    def refine(
        self, texts: Sequence[EncodedSentence], images: Sequence[ImageArray], progress: Sequence[float]
    ) -> list[Detections]:
        """See `ZoomModel`."""
        text, pooling = _stacked(texts)
        return detections(self.ground(text, pooling, self.encode_images(images), progress))

    def read_history(self, histories: Sequence[NDArray]) -> tuple[NDArray, NDArray]:
        """See `ZoomModel`."""
        progress, stop = self.history.read(histories, self.config.progress_step)
        return progress.cpu().numpy(), stop.cpu().numpy()

    def match(self, sentences: Sequence[str], frame: Proposals) -> Grounding:
        """Sentences against the objects that were listed in one frame.

        Returns logits (1, sentences, k, 1) and boxes (1, sentences, k, 4) cxcywh, normalized to the frame.
        """
        assert self.matcher is not None
        ids, mask, _ = (tensor.to(self.device) for tensor in self.plain_prompter([[s] for s in sentences]))
        answers = self.matcher.read(
            ids[None],
            mask[None].bool(),
            frame.features,
            frame.boxes[-1].detach(),
            frame.size[1] / frame.size[0],
        )[0][-1, 0]
        boxes = frame.boxes[-1].expand(len(sentences), -1, -1)
        nothing = answers.new_zeros(())
        return Grounding(log_odds(answers)[None, ..., None], boxes[None], nothing, nothing)

    def locate(
        self,
        image: ImageSource,
        expression: str | Sequence[str],
        search: SearchConfig | None = None,
        **options: Any,
    ) -> Result | list[Result]:
        """Finds what a sentence describes: see `piza.search.predictor.locate`, of which this is the short form."""
        from piza.search.predictor import locate

        return locate(self, image, expression, search, **options)


def save_folder(model: Piza, folder: str | Path, half: bool = False) -> None:
    """Writes a model folder. `half` stores weights as float16; they are read back as float32."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[int] = set()
    weights = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) in seen:  # heads shared between decoder layers are stored once
            continue
        seen.add(id(tensor))
        tensor = tensor.detach().cpu().contiguous()
        weights[name] = tensor.half() if half and tensor.is_floating_point() else tensor
    with atomic_write(folder / "model.safetensors") as part:
        save_file(weights, part, metadata={"format": "pt"})
    with atomic_write(folder / "config.json") as part:
        Path(part).write_text(model.detector.config.to_json_string())
    write(model.config, folder / "piza.json")
    model.tokenizer.save_pretrained(folder)


def load_folder(folder: str | Path, device: str = "cpu") -> Piza:
    """Reads a model folder: piza's own, an adapter's, or a plain GroundingDINO's as transformers writes it.

    A plain one has not been taught to zoom: it answers from one look at the whole frame, as its authors use it.
    Raises InputError for a folder that is no model or whose weights are broken.
    """
    from transformers import AutoConfig, AutoModelForZeroShotObjectDetection, AutoTokenizer

    folder = Path(folder)
    if adapter_io.is_adapter(folder):
        return adapter_io.load_adapter(folder, device)
    missing = [name for name in ("config.json", "model.safetensors") if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder} is no model: it lacks {' and '.join(missing)}.")
    try:
        base = AutoConfig.from_pretrained(folder)
        if base.model_type not in FAMILIES:
            raise InputError(
                f"{folder} holds a {base.model_type!r} model; wanted is one of {', '.join(FAMILIES)}."
            )
        config = read(PizaConfig, folder / "piza.json") if (folder / "piza.json").is_file() else PLAIN
        tokenizer = AutoTokenizer.from_pretrained(folder)
        weights = load_file(folder / "model.safetensors")
        if config is PLAIN:
            detector = AutoModelForZeroShotObjectDetection.from_pretrained(folder, use_safetensors=True)
            return Piza(detector, tokenizer, config).to(device).eval()
        model = Piza(AutoModelForZeroShotObjectDetection.from_config(base), tokenizer, config)
    except InputError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{folder} is no model that can be read: {reason(error)}.") from None
    load_weights(model, weights, str(folder))
    return model.to(device).eval()


def merge_method(model: Piza) -> None:
    """Folds the method into the weights, in place: the same answers up to rounding, no slower than the base, and a
    plain model to save with `save_folder`. Raises InputError, and changes nothing, if that cannot be done: only plain
    LoRA can.
    """
    merge = METHODS[model.config.method].merge
    if merge is None:
        raise InputError(
            f"The method {model.config.method!r} cannot be merged into the weights; plain LoRA can."
        )
    merge(model)
    options = {"condition": False, "embedding_dim": model.zoom.dim}
    model.config = replace(model.config, method="full", method_options=options)


def detections(grounding: Grounding) -> list[Detections]:
    """The boxes that a batch of looks proposes, best first, for each window or sentence."""
    return ranked(
        grounding.logits[-1].max(-1)[0].float().cpu().numpy(), grounding.boxes[-1].float().cpu().numpy()
    )


def _stacked(texts: Sequence[EncodedSentence]) -> tuple[TextFeatures, Tensor]:
    """The encodings of several sentences as one batch."""
    if len(texts) == 1:
        return texts[0].text, texts[0].pooling
    return (
        TextFeatures(
            *(torch.cat([getattr(one.text, field.name) for one in texts]) for field in fields(TextFeatures))
        ),
        torch.cat([one.pooling for one in texts]),
    )


def load_weights(model: Piza, weights: dict[str, Tensor], source: str) -> None:
    """Copies weights into a model; every weight of the model must be there, in its shape, and no other."""
    wanted = model.state_dict(keep_vars=True)
    given_ids = {id(wanted[name]) for name in weights if name in wanted}
    lacking = [name for name, tensor in wanted.items() if id(tensor) not in given_ids]
    unknown = [name for name in weights if name not in wanted]
    misshapen = [name for name in weights if name in wanted and weights[name].shape != wanted[name].shape]
    for what, names in (("lacks", lacking), ("has unknown", unknown), ("has a wrong shape for", misshapen)):
        if names:
            raise InputError(
                f"The weights of {source} do not fit: the file {what} {names[0]} ({len(names)} in all)."
            )
    with torch.no_grad():
        for name, tensor in weights.items():
            wanted[name].copy_(tensor)
