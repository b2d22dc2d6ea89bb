"""Extend `mini`'s vocabulary: new words after the old ones, whose ids and embeddings stay as they are.

    python -m piza.training.from_scratch.words.vocabulary MODEL --texts rows.json [lines.jsonl ...] --vectors words.npz --out FOLDER

A word met at least `MIN_COUNT` times in the texts becomes a token; so does a rarer one that is close in meaning to
such a word. All other words of the letters a to z are read as pieces, in the end letter by letter, never as [UNK].
A new embedding starts as the mean of the known words that are nearest to it by pretrained word vectors
(paraphrase-MiniLM-L3-v2, Apache-2.0), weighted by their similarity; only where there is none does it start at random.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from piza.data.sorec import read_list
from piza.errors import InputError
from piza.files import atomic_write, replaced_files
from piza.hub import CHECKSUMS, write_checksums
from piza.model.known_words import WORDS_FILE, read_known_words, split_words, write_known_words
from piza.model.object_words import OBJECT_WORDS_FILE

MIN_COUNT = 3  # a word met so often in the texts is a token
NEIGHBORS = 3  # known words that a new word's embedding starts from
MIN_SIMILARITY = 0.5  # of word vectors (cosine) for being such a neighbor
# Endings, and punctuation that the first vocabulary lacks.
PIECES = (
    "\u2014", "\u2013", "\u2019", "\u2018", "\u201c", "\u201d",
    "##s", "##es", "##ed", "##ing", "##er", "##ers", "##ly", "##y", "##man", "##way", "##light", "##board",
)  # fmt: skip

# Words that neither SOREC nor the generator has (often) enough, with words of similar meaning to start from. For colors
# and kinds of vehicles this is better than word vectors, which know in what company a word is met.
SIMILAR: dict[str, tuple[str, ...]] = {
    "automobile": ("car",), "sedan": ("car",), "minivan": ("van",), "lorry": ("truck",), "lorries": ("truck",),
    "pickup": ("truck",), "coach": ("bus",), "minibus": ("bus", "van"), "taxi": ("car",), "cab": ("car",),
    "tram": ("bus",), "train": ("bus",), "trailer": ("truck",), "tanker": ("truck",), "ambulance": ("van",),
    "tractor": ("truck",), "scooter": ("motorcycle",), "moped": ("motorcycle",), "motorbike": ("motorcycle",),
    "rickshaw": ("motorcycle", "car"), "tricycle": ("bicycle",), "biker": ("motorcyclist",), "rider": ("cyclist",),
    "lady": ("woman",), "guy": ("man",), "gentleman": ("man",), "girl": ("child", "woman"), "boy": ("child", "man"),
    "kid": ("child",), "kids": ("child",), "toddler": ("child",), "worker": ("person",), "policeman": ("man",),
    "crowd": ("people",), "passerby": ("pedestrian",), "walker": ("pedestrian",), "jogger": ("pedestrian",),
    "crimson": ("red",), "scarlet": ("red",), "maroon": ("red",), "burgundy": ("red",), "azure": ("blue",),
    "navy": ("blue",), "turquoise": ("blue", "green"), "teal": ("blue", "green"), "cyan": ("blue",),
    "golden": ("yellow",), "tan": ("beige",), "cream": ("beige", "white"), "olive": ("green",), "lime": ("green",),
    "violet": ("purple",), "magenta": ("pink",), "metallic": ("silver",), "ivory": ("white",), "amber": ("yellow",),
    "stoplight": ("light",), "semaphore": ("light",), "signpost": ("sign",), "plate": ("sign",), "board": ("sign",),
    "billboard": ("sign",), "crosswalk": ("street",), "zebra": ("street",), "awning": ("roof",), "kerb": ("street",),
    "curb": ("street",), "pavement": ("street",), "bakery": ("stall",), "shop": ("stall",), "store": ("stall",),
    "kiosk": ("stall",), "manhole": ("street",), "underpass": ("street",), "tunnel": ("street",),
    "leftmost": ("left",), "rightmost": ("right",), "topmost": ("highest",), "uppermost": ("highest",),
    "bottommost": ("lowest",), "sixth": ("fifth",), "seventh": ("fifth",), "eighth": ("fifth",), "last": ("rightmost",),
    "beside": ("near",), "alongside": ("near",), "nearby": ("near",), "underneath": ("below",), "beneath": ("below",),
    "atop": ("above",), "hanging": ("mounted",), "overhanging": ("mounted", "above"), "suspended": ("mounted",),
    "hidden": ("behind",), "occluded": ("behind",), "covered": ("behind",), "blocked": ("behind",),
    "closer": ("nearest",), "further": ("farthest",), "farther": ("farthest",), "furthest": ("farthest",),
    "distant": ("farthest",), "tiny": ("smallest",), "huge": ("largest",), "big": ("large",), "bigger": ("larger",),
    "rear": ("behind",), "heading": ("driving",), "approaching": ("coming",), "oncoming": ("coming",),
    "stopped": ("standing",), "parking": ("standing",), "waiting": ("standing",), "crossing": ("walking",),
    "corner": ("side",), "edge": ("side",), "border": ("side",), "photo": ("picture",), "photograph": ("picture",),
    "frame": ("picture",), "view": ("picture",), "shot": ("picture",), "viewer": ("camera",), "photographer": ("camera",),
}  # fmt: skip


def count_words(sentences: Iterable[str]) -> Counter[str]:
    """How often each word, in lower case, is met."""
    counts: Counter[str] = Counter()
    for sentence in sentences:
        counts.update(split_words(sentence))
    return counts


def sentences_in(path: Path) -> list[str]:
    """The sentences of rows in SOREC's format (.json), or of lines {"sentence", "reworded"} or {"regions"} (.jsonl)."""
    if path.suffix == ".jsonl":
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        named = [region[-1] for line in lines for region in line.get("regions", ())]
        told = [line["sentence"] for line in lines if "sentence" in line]
        return told + [text for line in lines for text in line.get("reworded", ())] + named
    return [row["ref"] for row in read_list(path)]


def new_words(
    known: Mapping[str, int], counts: Mapping[str, int], vectors: Mapping[str, NDArray[np.float32]]
) -> list[str]:
    """The words to append to the tokens `known`, most frequent first: `PIECES`, then whole words."""
    frequent = {word for word, count in counts.items() if count >= MIN_COUNT}
    base = sorted((frequent | set(known)) & set(vectors))
    matrix = np.stack([vectors[word] for word in base])
    rare = [word for word in vectors if word not in frequent and word not in known]
    close = [word for word in rare if (matrix @ vectors[word]).max() >= MIN_SIMILARITY]
    words = sorted(
        (frequent | set(close) | set(SIMILAR)) - set(known), key=lambda word: (-counts.get(word, 0), word)
    )
    return [piece for piece in PIECES if piece not in known] + words


def read_vectors(path: str | Path) -> dict[str, NDArray[np.float32]]:
    """Word vectors of unit length from an .npz file with `words` (n,) and `vectors` (n, width)."""
    with np.load(path) as file:
        words, vectors = file["words"], file["vectors"].astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return {str(word): vector for word, vector in zip(words, vectors, strict=True)}


def extend_tokenizer(folder: str | Path, words: Iterable[str], out: str | Path) -> dict[str, int]:
    """Write a model folder's tokenizer with `words` appended to its vocabulary; the whole vocabulary."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = json.loads((Path(folder) / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    for word in words:
        vocabulary.setdefault(word, len(vocabulary))
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise InputError(f"the vocabulary of {str(folder)!r} has gaps; expected ids from 0 without any")
    with atomic_write(out / "tokenizer.json") as part:
        part.write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    with atomic_write(out / "tokenizer_config.json") as part:
        part.write_text((Path(folder) / "tokenizer_config.json").read_text())
    return vocabulary


def extend_embedding(
    weight: Tensor,
    vocabulary: Mapping[str, int],
    vectors: Mapping[str, NDArray[np.float32]],
    seed: int = 0,
) -> Tensor:
    """An embedding table for a vocabulary that was extended.

    Args:
        weight: (old, width) the table for the ids below `old`.
        vocabulary: word -> id; ids from `old` on are new.
        vectors: word vectors of unit length.

    Returns:
        (len(vocabulary), width), its first rows being `weight`.
    """
    old = len(weight)
    trained = {w: i for w, i in vocabulary.items() if i < old and w.isalpha() and len(w) > 1}
    base = sorted(word for word in trained if word in vectors)
    matrix = np.stack([vectors[word] for word in base])
    rows = weight[[trained[word] for word in base]].float()
    mean, spread = rows.mean(0), rows.std(0)
    noise = torch.Generator().manual_seed(seed)
    table = torch.cat([weight.float(), torch.empty(len(vocabulary) - old, weight.shape[1])])
    for word, number in vocabulary.items():
        if number < old:
            continue
        similar = [trained[other] for other in SIMILAR.get(word, ()) if other in trained]
        start = mean + 0.1 * spread * torch.randn(mean.shape, generator=noise)
        if similar:
            start = weight[similar].float().mean(0)
        elif word in vectors:
            cosine = matrix @ vectors[word]
            best = [int(i) for i in np.argsort(-cosine)[:NEIGHBORS] if cosine[i] > MIN_SIMILARITY]
            if best:
                share = torch.tensor(cosine[best] / cosine[best].sum(), dtype=torch.float32)
                start = share @ rows[best]
        # Words with the same neighbors must be able to grow apart.
        table[number] = start + 0.05 * spread * torch.randn(mean.shape, generator=noise)
    return table.to(weight.dtype)


EMBEDDINGS = re.compile(
    r"(detector\.model\.text_backbone\.embeddings\.word_embeddings|(reader|matcher)\.words|matcher\.lexicon)\.weight"
)


def extend_weights(
    weights: Mapping[str, Tensor], vocabulary: Mapping[str, int], vectors: Mapping[str, NDArray[np.float32]]
) -> dict[str, Tensor]:
    """The weights of a model with its tables of words, the detector's and the matcher's, extended."""
    return {
        name: extend_embedding(tensor, vocabulary, vectors) if EMBEDDINGS.fullmatch(name) else tensor
        for name, tensor in weights.items()
    }


def extend_folder(folder: str | Path, tokenizer: str | Path, vectors: str | Path, out: str | Path) -> None:
    """Write a model folder with the extended tokenizer (a folder that `extend_tokenizer` wrote) and embeddings for it."""
    from safetensors.torch import load_file, save_file

    folder, tokenizer, out = Path(folder), Path(tokenizer), Path(out)
    vocabulary = json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    weights = extend_weights(load_file(folder / "model.safetensors"), vocabulary, read_vectors(vectors))
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["vocab_size"] = len(vocabulary)
    kept = {"piza.json": folder, OBJECT_WORDS_FILE: folder} | dict.fromkeys(
        ("tokenizer.json", "tokenizer_config.json", WORDS_FILE), tokenizer
    )
    with replaced_files(out, (CHECKSUMS, "model.safetensors", "config.json", *kept)) as made:
        save_file(weights, made / "model.safetensors", metadata={"format": "pt"})
        (made / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        for name, source in kept.items():
            if (source / name).is_file():
                (made / name).write_bytes((source / name).read_bytes())
        write_checksums(made)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="the model folder whose vocabulary is extended")
    parser.add_argument(
        "--texts",
        type=Path,
        nargs="+",
        required=True,
        help="rows in SOREC's format, or lines {sentence} or {regions}",
    )
    parser.add_argument("--vectors", type=Path, required=True, help="word vectors (.npz)")
    parser.add_argument("--out", type=Path, required=True, help="where the tokenizer is written")
    parser.add_argument("--model-out", type=Path, help="also write the model with extended embeddings there")
    args = parser.parse_args()
    counts = count_words(sentence for path in args.texts for sentence in sentences_in(path))
    known = json.loads((args.model / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    vectors = read_vectors(args.vectors)
    vocabulary = extend_tokenizer(args.model, new_words(known, counts, vectors), args.out)
    taught = Counter(read_known_words(args.model) or {})  # what the model knew already
    taught.update({word: n for word, n in counts.items() if word in vocabulary})
    write_known_words(args.out, taught)
    met = sum(counts.values())
    unknown = sum(n for word, n in counts.items() if word not in vocabulary)
    print(f"{len(vocabulary)} tokens, {len(vocabulary) - len(known)} new")
    print(f"of {met} words in the texts {unknown} are read in pieces ({100 * unknown / max(1, met):.2f} %)")
    if args.model_out:
        extend_folder(args.model, args.out, args.vectors, args.model_out)


if __name__ == "__main__":
    main()
