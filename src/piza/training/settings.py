"""The settings of a training: made of a file and options, checked, and kept beside its checkpoints."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from piza.config import FREE_TO_CHANGE, MAX_BYTES, TrainConfig, check, read_whole, settings, to_dict, write
from piza.data.plain_yaml import parse_yaml
from piza.data.sorec import Row
from piza.errors import InputError, reason
from piza.files import is_temporary, parse_json
from piza.methods import METHODS

TRAINING_FOLDER = "training"  # in the folder of the result: checkpoint, log, plot, settings
SETTINGS_FILE, RUN_FILE = "train.json", "run.json"
MAX_YAML_BYTES = 100_000  # a settings file has some thousand; reading 100 kB of YAML takes a second
_REQUIRED = {"rows": "-", "images": "-", "base": "-", "out": "-"}


@settings()
class RunRecord:
    """What a training was begun with, besides its settings: digests of its rows and of the files of its base."""

    rows_digest: str
    base_digest: str
    processes: int


def train_config(options: Mapping[str, Any], file: str | Path | None = None) -> TrainConfig:
    """The settings of a file (JSON or YAML, as `train.json` is written) and of options, which win.

    Raises InputError naming the file and the field, or the option, for a setting that is unknown or out of range, and for
    one that is needed and given nowhere.
    """
    content: dict[str, Any] = {}
    if file is not None:
        content = _read_mapping(Path(file))
        check(TrainConfig, {**_REQUIRED, **content}, str(file))
    merged = {**content, **options}
    for name in _REQUIRED:
        if name not in merged:
            what = "the file of rows" if name == "rows" else option_name(name)
            raise InputError(f"{what} is needed, as an argument or in a file given with --config")
    return check(TrainConfig, merged)


def _read_mapping(path: Path) -> dict[str, Any]:
    """The named values of a JSON or YAML file."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: expected a settings file of at most {MAX_BYTES // 10**6} MB")
        is_json = path.suffix == ".json"
        if not is_json and path.stat().st_size > MAX_YAML_BYTES:
            raise InputError(f"{path}: expected a YAML file of at most {MAX_YAML_BYTES // 1000} kB")
        text = path.read_text(encoding="utf-8-sig")
        content = parse_json(text, str(path)) if is_json else parse_yaml(text)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON or YAML: {reason(error)}") from None
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        got = "names that are no texts" if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{path}: expected names and values of settings, got {got}")
    return content


def check_config(config: TrainConfig) -> None:
    """Raise InputError for settings that do not go together, whatever the rows and the base are."""
    if config.method not in METHODS:
        raise InputError(f"--method: expected one of {', '.join(sorted(METHODS))}, got {config.method!r}")
    if config.validate is None and (config.validate_every or config.validate_images or config.validate_limit):
        raise InputError(
            "--validate-every, --validate-images and --validate-limit need rows to validate on: --validate ROWS.json"
        )
    if config.merge:
        if METHODS[config.method].merge is None:
            raise InputError(
                f"the method {config.method!r} cannot be merged into the weights; plain LoRA can"
            )
        if not config.plain:
            raise InputError("a conditioned method cannot be merged into the weights; add --plain")
    known = {f.name for f in fields(METHODS[config.method].config)} - {"condition"}
    for name in config.options:
        if name not in known:
            raise InputError(
                f"the method {config.method!r} has no option {name!r}; known are {', '.join(sorted(known))}"
            )


def option_name(field: str) -> str:
    """The option of the command line for a field: "backbone_lr" -> "--backbone-lr"."""
    return "--" + field.replace("_", "-")


def rows_digest(rows: Sequence[Row]) -> str:
    """Sixteen hex digits of what rows say, in their order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps([row.image, row.box_xyxy, row.expression]).encode())
    return digest.hexdigest()[:16]


def check_folder(config: TrainConfig, record: RunRecord) -> bool:
    """Whether the folder of the result holds this training already, to go on with.

    Raises InputError when it holds something else, or the same with other settings, or cannot be written to.
    """
    if not config.out or "\0" in config.out:
        raise InputError(f"cannot write to {config.out!r}: expected the name of a folder")
    out = Path(config.out)
    if out.exists() and not out.is_dir():
        raise InputError(f"cannot write to {config.out!r}: expected a folder, got a file")
    folder = out / TRAINING_FOLDER
    lost = next((name for name in (SETTINGS_FILE, RUN_FILE) if not (folder / name).is_file()), None)
    if lost is not None:
        _check_new_folder(out)
        if any(_is_begun(path) for path in (folder.iterdir() if folder.is_dir() else ())):
            raise InputError(
                f"{str(folder / lost)!r} is missing, which says how the training there was begun; put it back, or give another --out"
            )
        return False
    try:
        before = read_whole(TrainConfig, folder / SETTINGS_FILE)
        began_with = read_whole(RunRecord, folder / RUN_FILE)
    except InputError as error:
        raise InputError(f"{error}; give another folder with --out") from None
    _require_same(config, before)
    if began_with.rows_digest != record.rows_digest:
        raise InputError(
            f"the training in {config.out!r} was begun with other rows; give the same to go on, or another --out"
        )
    if began_with.base_digest != record.base_digest:
        raise InputError(
            f"the training in {config.out!r} was begun with other files of the base {config.base!r}; give the same to go on, or "
            "another --out"
        )
    if began_with.processes != record.processes:
        raise InputError(
            f"the training in {config.out!r} was begun with {began_with.processes} processes, now there are "
            f"{record.processes}; give the same to go on, or another --out"
        )
    return True


def _is_begun(path: Path) -> bool:
    """Whether a file in the folder of a training stands there only after its settings were written."""
    return path.name not in (SETTINGS_FILE, RUN_FILE) and not is_temporary(path.name)


def _check_new_folder(out: Path) -> None:
    if out.is_dir() and any(
        path.name != TRAINING_FOLDER and not is_temporary(path.name) for path in out.iterdir()
    ):
        raise InputError(
            f"cannot write to {str(out)!r}: expected a new or empty folder, or that of a training to go on with"
        )
    above = out
    while not above.exists():
        above = above.parent
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to {str(out)!r}: no permission to write in {str(above)!r}")


def _require_same(config: TrainConfig, before: TrainConfig) -> None:
    earlier = to_dict(before)
    for name, value in to_dict(config).items():
        if name not in FREE_TO_CHANGE and earlier[name] != value:
            raise InputError(
                f"the training in {config.out!r} was begun with {option_name(name)} {earlier[name]}, now it is {value}; give "
                "the same settings to go on, or another --out"
            )


def write_settings(config: TrainConfig, record: RunRecord) -> None:
    """Keep the settings in the folder of the result."""
    folder = Path(config.out) / TRAINING_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    write(config, folder / SETTINGS_FILE)
    write(record, folder / RUN_FILE)
