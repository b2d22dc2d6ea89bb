"""An exported model answers as the model it was made from, without torch, and says what it cannot do."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import tiny_detector
from tests.processes import in_child

import piza
from piza.boxes import xyxy_to_xywh
from piza.cli import main as cli
from piza.config import PizaConfig
from piza.errors import InputError
from piza.files import atomic_write, one_writer
from piza.hub import CHECKSUMS, EXPORT_NOTE
from piza.model.io import save_folder
from piza.model.piza import Piza
from piza.runtimes import compare, load_exported
from piza.runtimes.export import FILES, UNFINISHED, export_model
from piza.runtimes.exported import ExportedModel, block_masks
from piza.runtimes.int8 import to_int8
from piza.search.predictor import locate

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(piza.__file__).parents[1])}
SENTENCES = [
    "the round sign with a red border and the number 70",
    "car",
    "the small yellow sign left of the truck, nearest to the man in the blue coat on the right of the road",
]
SIZES = [(672, 512), (768, 448), (416, 800), (224, 224), (224, 160), (64, 64)]  # width, height


def picture(size, seed=0):
    rng = np.random.default_rng(seed)
    width, height = size
    coarse = rng.integers(0, 255, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(16, 0).repeat(16, 1)[:height, :width])


@pytest.fixture(scope="module")
def mini():
    model = piza.load("mini")
    model.proposals.half_precision = False  # as graphs compute; where a CPU can, torch takes bfloat16
    return model


@pytest.fixture(scope="module")
def folder(mini, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "mini"
    export_model(mini, out)
    return out


@pytest.fixture(scope="module", params=["onnx", "openvino"])
def exported(folder, request):
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}[request.param])
    return load_exported(folder, request.param, threads=1)


@pytest.fixture(scope="module")
def other(tiny_tokenizer):
    """What mini is not: learned context in front of the words, a box's score its best token's, four levels, and queries
    that are local maxima and know where they lie. It lists objects first, too."""
    from transformers import RTDetrResNetConfig

    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = PizaConfig(
        method="coop",
        method_options={"embedding_dim": 32, "tokens": 3},
        token_pooling="max",
        local_maxima=True,
        relations=True,
        object_queries=3,
        num_proposals=9,
        num_attributes=4,
        first_pixels=160,
        later_pixels=96,
    )
    model = Piza(tiny_detector(backbone_config=backbone), tiny_tokenizer, config).eval()
    with torch.no_grad():
        for fresh, much in ((model.relations, 0.2), (model.proposals.refinement, 0.05), (model.matcher, 0.2)):
            for parameter in fresh.parameters():  # fresh ones change little or nothing
                parameter.add_(much * torch.randn_like(parameter))
    return model


def look(model, window, sentence, progress):
    """Boxes (queries, 4) xyxy, normalized, and scores (queries,) of a later look."""
    (found,) = model.refine(model.encode_text([sentence]), [window], [progress])
    return found.boxes, found.scores


def check_equal(model, exported, size, sentence, progress):
    window = picture(size, seed=size[0])
    (boxes, scores), (want_boxes, want_scores) = (
        look(one, window, sentence, progress) for one in (exported, model)
    )
    # Of two cells that score alike, rounding may choose another one for a query. That moves the queries after it by a place,
    # and all boxes a little, as queries see each other. No answer comes from such a cell.
    distances = (np.abs(boxes[:, None] - want_boxes) * np.tile(size, 2)).max(-1)
    best, far = np.argsort(-want_scores)[:10], distances.min(0)
    elsewhere = int((far > 5).sum())
    assert elsewhere <= 2 and far[best].max() < 0.5
    assert np.median(far) < (0.5 if elsewhere else 0.01)
    # Several queries may answer with one box, and scores of their own.
    differences = np.where(distances <= 0.5, np.abs(scores[:, None] - want_scores), np.inf).min(0)
    assert differences[far <= 0.5].max() < 1e-3 and want_scores[far > 0.5].max(initial=0.0) < 1e-2


@pytest.mark.parametrize(("number", "size"), list(enumerate(SIZES)))
def test_a_look_equals_the_models(mini, exported, number, size):
    check_equal(mini, exported, size, SENTENCES[number % 3], progress=(0.0, 0.35, 1.0)[number // 2])


def check_equal_first(model, exported, size, sentences):
    window = picture(size, seed=size[0])
    want, got = (
        one.first_look(one.encode_text(sentences), one.encode_frame(window), 0.0) for one in (model, exported)
    )
    for expected, found in zip(want, got, strict=True):
        distances = (np.abs(found.boxes[:, None] - expected.boxes) * np.tile(size, 2)).max(-1)
        assert found.boxes.shape == expected.boxes.shape
        assert distances.min(1).max() < 0.5 and np.median(distances.min(1)) < 0.01
        assert np.abs(found.scores - expected.scores).max() < 1e-3


@pytest.mark.parametrize("size", SIZES[:-1])  # a frame is never resized to fewer cells than are compared
def test_a_first_look_equals_the_models(mini, exported, size):
    check_equal_first(mini, exported, size, SENTENCES)


def test_all_that_mini_does_not_use(other, tmp_path):
    export_model(other, tmp_path / "out")
    exported = load_exported(tmp_path / "out", "onnx", threads=1)
    for size, sentence in (((160, 160), "the red car"), ((96, 224), "a round sign with a number")):
        check_equal(other, exported, size, sentence, progress=0.5)
        check_equal_first(other, exported, size, [sentence])


def test_a_swin_backbone(tiny_piza, tmp_path):
    export_model(tiny_piza, tmp_path / "out")
    exported = load_exported(tmp_path / "out", "onnx", threads=1)
    for size in ((96, 96), (128, 96), (224, 352)):  # its windows of 4 fit some of its stages and not others
        check_equal(tiny_piza, exported, size, "the red car", progress=0.5)


def test_what_is_compared_has_cells_for_the_queries_of_the_base_models():
    for width, height in compare.SIZES:
        assert sum(-(-width // stride) * -(-height // stride) for stride in (8, 16, 32)) >= 900


def test_the_box_history(mini, exported):
    frame = np.array([0.0, 0.0, 2560.0, 1920.0])
    paths = [
        [frame],
        [frame, [745.0, 1220, 1149, 1622]],
        [frame, [100.0, 80, 900, 900], [300.0, 300, 330, 360]],
    ]
    histories = [xyxy_to_xywh(np.array(path)) for path in paths]
    for step in (0.05, None):
        want, got = mini.history.read(histories, step), exported.history.read(histories, step)
        np.testing.assert_allclose(got[0], want[0].numpy(), atol=1e-5)
        np.testing.assert_allclose(got[1], want[1].numpy(), atol=1e-5)
    alone = exported.history.read(histories[2:], 0.05)
    np.testing.assert_allclose(alone[1], want[1][2:].numpy(), atol=1e-5)


def test_it_is_what_a_search_asks_of_a_model(mini, exported):
    texts = exported.encode_text(SENTENCES)
    window = picture((224, 224))
    several = exported.refine(texts, [window] * 3, [0.0, 0.5, 1.0])
    assert len(several) == 3 and exported.max_windows == 1
    for found, text, progress in zip(several, texts, [0.0, 0.5, 1.0], strict=True):
        (alone,) = exported.refine([text], [window], [progress])
        np.testing.assert_array_equal(found.boxes, alone.boxes)
        assert (np.diff(found.scores) <= 0).all()
    frame = np.array([[0.0, 0.0, 640.0, 480.0]])
    got, want = exported.read_history([frame]), mini.read_history([frame])
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_it_may_be_used_from_threads(exported):
    texts, windows = exported.encode_text(SENTENCES), [picture((96, 96), seed) for seed in range(4)]
    tasks = [(text, window) for text in texts for window in windows]
    want = [exported.refine([text], [window], [0.5])[0] for text, window in tasks]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda task: exported.refine([task[0]], [task[1]], [0.5])[0], tasks))
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)


def test_an_export_is_known_for_one_without_a_runtime(folder, tmp_path):
    model = piza.load(str(folder))
    assert isinstance(model, ExportedModel)
    with pytest.raises(InputError, match="cpu"):
        piza.load(str(folder), device="cuda")


@pytest.mark.parametrize(
    "ids", [[101, 7, 8, 1012, 102], [101, 7, 1012, 9, 9, 1012, 102], [101, 1012, 102], [101, 7, 102]]
)
def test_blocks_are_cut_as_the_library_cuts_them(ids):
    from transformers.models.mm_grounding_dino import modeling_mm_grounding_dino as library

    given, marks = torch.tensor([ids]), torch.tensor([101, 102, 1012, 1029])
    masks, places = library.generate_masks_with_special_tokens_and_transfer_map(given, marks)
    got_masks, got_places = block_masks(np.array(ids), marks.numpy())
    np.testing.assert_array_equal(got_masks, masks[0].numpy())
    np.testing.assert_array_equal(got_places, places[0].numpy())


@pytest.mark.parametrize("options", [{}, {"greedy": True}, {"whole_frame": True}])
def test_a_search_is_the_same_search(mini, exported, options):
    scene = picture((1280, 736), seed=4)
    ours, theirs = (locate(model, scene, SENTENCES[:2], **options) for model in (exported, mini))
    for got, want in zip(ours, theirs, strict=True):
        assert (got.num_looks, got.stopped) == (want.num_looks, want.stopped)
        np.testing.assert_allclose(got.windows, want.windows, atol=0.5)
        np.testing.assert_allclose(got.box_xyxy, want.box_xyxy, atol=0.5)
        # A window that differs in its last digit is cut with other roundings of its pixels.
        assert got.score == pytest.approx(want.score, abs=0.01)
        assert [step.progress for step in got.path] == pytest.approx([step.progress for step in want.path])


def test_a_pickle_names_the_folder_and_answers_the_same(folder, monkeypatch, tmp_path):
    model, image = load_exported(folder, "onnx", threads=1), picture((224, 160))
    pickled = pickle.dumps(model)
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(pickled)
    assert len(pickled) < 1000 and again.prompter.known_words == model.prompter.known_words
    assert again.locate(image, "car").box_xyxy == model.locate(image, "car").box_xyxy


def test_a_pickle_is_not_read_as_another_export(folder, tmp_path):
    copy = tmp_path / "export"
    shutil.copytree(folder, copy)
    pickled = pickle.dumps(load_exported(copy, "onnx", threads=1))
    values = json.loads((copy / "piza.json").read_text())
    (copy / "piza.json").write_text(json.dumps({**values, "progress_step": 0.5}))
    load_exported(copy, "onnx", threads=1)
    with pytest.raises(InputError, match="other files now than when this model was read"):
        pickle.loads(pickled)
    shutil.rmtree(copy)
    with pytest.raises(InputError, match="holds no export"):
        pickle.loads(pickled)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_a_process_that_is_forked_while_a_thread_searches_does_not_wait_for_it(exported):
    image, end = picture((320, 240)), threading.Event()
    box = exported.locate(image, "car", max_looks=2).box_xyxy

    def search():
        while not end.is_set():
            exported.locate(image, "car", max_looks=2)

    def search_again():
        try:
            assert exported.locate(image, "car", max_looks=2).box_xyxy == box
        except InputError as error:
            assert "forked while another thread used OpenVINO" in str(error)

    thread = threading.Thread(target=search)
    thread.start()
    try:
        for _ in range(4):
            assert in_child(search_again, seconds=60) == 0
    finally:
        end.set()
        thread.join()
    assert in_child(lambda: exported.locate(image, "car", max_looks=2).box_xyxy == box or 1 / 0) == 0


@pytest.mark.parametrize("runtime", [[], ["--runtime", "onnx"]])
def test_torch_is_not_imported(runtime, folder, tmp_path):
    Image.fromarray(picture((320, 240))).save(tmp_path / "photo.png")
    command = ["locate", str(tmp_path / "photo.png"), "the red car", "--json", "--model", str(folder)]
    code = (
        "import sys; from piza.cli.main import main; code = main(sys.argv[1:]); "
        "print([m for m in ('torch', 'transformers') if m in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *command, *runtime], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.strip() == "[]"
    assert json.loads(ran.stdout)["num_looks"] >= 1


def test_evaluate_takes_a_runtime(folder, tmp_path, capsys):
    Image.fromarray(picture((320, 240))).save(tmp_path / "photo.png")
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([{"image": "photo.png", "bbox": [9, 9, 30, 30], "ref": "the car", "id": 1}]))
    given = ["evaluate", str(rows), "--images", str(tmp_path), "--model", str(folder), "--runtime", "onnx"]
    assert cli.main([*given, "--json", "--budget", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 1
    assert (
        cli.main([*given, "--json", "--baseline", "tiles"]) == 0
    )  # a baseline asks of a model what a search asks
    assert json.loads(capsys.readouterr().out)["rows"] == 1


def test_integers_are_smaller_and_near(folder, tmp_path, mini):
    copy = tmp_path / "int8"
    shutil.copytree(folder, copy)
    (copy / CHECKSUMS).unlink()
    # The table of words is no matrix of a product: it stays as it is.
    table = mini.detector.model.text_backbone.embeddings.word_embeddings.weight
    for name, kept in (("text", 4 * table.numel()), ("ground", 0)):
        to_int8(copy / f"{name}.onnx")
        small, large = ((at / f"{name}.onnx").stat().st_size - kept for at in (copy, folder))
        assert small < 0.7 * large
    scores = [
        look(load_exported(at, "onnx", threads=1), picture((224, 224)), SENTENCES[0], 0.5)[1]
        for at in (folder, copy)
    ]
    difference = np.abs(np.sort(scores[0]) - np.sort(scores[1])).max()
    assert 0 < difference < 0.1  # it is another model, a little


def test_the_command_exports_a_model_folder(other, tmp_path, capsys):
    save_folder(other, tmp_path / "model")
    assert cli.main(["export", str(tmp_path / "model"), "--out", str(tmp_path / "out"), "--int8"]) == 0
    assert f"wrote {tmp_path / 'out'}" in capsys.readouterr().err
    boxes, scores = look(
        load_exported(tmp_path / "out", "onnx", threads=1), picture((96, 96)), "the red car", 0.5
    )
    assert len(boxes) == len(scores) == other.detector.config.num_queries


def refused(arguments, capsys):
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Traceback" not in said
    return said


def test_bad_runtimes_are_refused_in_one_sentence(folder, tmp_path, capsys, monkeypatch):
    photo = tmp_path / "photo.png"
    Image.fromarray(picture((64, 64))).save(photo)
    ask = ["locate", str(photo), "the car", "--model"]
    assert "'fast'" in refused([*ask, str(folder), "--runtime", "fast"], capsys)
    assert "piza export" in refused([*ask, str(tmp_path), "--runtime", "onnx"], capsys)
    assert "cpu" in refused([*ask, str(folder), "--runtime", "onnx", "--device", "cuda"], capsys)
    assert "--grounder" in refused([*ask, str(folder), "--runtime", "onnx", "--grounder", "x/y"], capsys)
    for runtime, package in (("onnx", "onnxruntime"), ("openvino", "openvino")):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, package, None)
            assert f"piza[{runtime}]" in refused([*ask, str(folder), "--runtime", runtime], capsys)


@pytest.mark.parametrize(
    "damage",
    ["lacking", "broken graph", "broken note", "no tokenizer", "other format", "lost token", "lost field"],
)
def test_damaged_exports_are_refused(folder, tmp_path, capsys, damage):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    if damage == "lacking":
        (copy / "ground.onnx").unlink()
    elif damage == "broken graph":
        (copy / "text.onnx").write_bytes(b"no graph")
    elif damage == "broken note":
        (copy / "export.json").write_text("{")
    elif damage == "no tokenizer":
        (copy / "tokenizer.json").write_text("{}")
    elif damage == "lost token":
        note = json.loads((copy / "export.json").read_text())
        (copy / "export.json").write_text(json.dumps({**note, "special_tokens": note["special_tokens"][1:]}))
    elif damage == "lost field":
        config = json.loads((copy / "piza.json").read_text())
        del config["search"]["evidence"]
        (copy / "piza.json").write_text(json.dumps(config))
    else:
        note = json.loads((copy / "export.json").read_text())
        (copy / "export.json").write_text(json.dumps({**note, "format": 99}))
    with pytest.raises(InputError, match="copy"):
        load_exported(copy, "onnx")


def test_an_export_is_whole_or_not_there(other, tmp_path, capsys, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    assert "new or empty" in refused(["export", "mini", "--out", str(tmp_path / "full")], capsys)
    monkeypatch.setattr(compare, "SAME_BOX", -1.0)  # as if the graphs gave other answers
    with pytest.raises(InputError, match="do not give its answers"):
        export_model(other, tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


def test_two_exports_at_once_do_not_take_each_others_files(other, tmp_path):
    out = tmp_path / "export"
    (out / UNFINISHED).mkdir(parents=True)
    (out / UNFINISHED / "text.onnx").write_bytes(b"being written")
    with one_writer(out), pytest.raises(InputError, match="another process is writing"):
        export_model(other, out)
    assert (out / UNFINISHED / "text.onnx").read_bytes() == b"being written"


def test_an_export_starts_clean_where_one_was_killed(other, tmp_path):
    out = tmp_path / "out"
    (out / UNFINISHED).mkdir(parents=True)
    (out / UNFINISHED / "ground.onnx").write_bytes(b"half a gra")
    (out / "text.onnx").write_bytes(b"of another model")
    (out / "words.txt").write_text("of 7")
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with atomic_write(out / "image.onnx") as temporary:
        left = temporary.with_name(temporary.name.replace(f"-{os.getpid()}-", f"-{child.pid}-"))
        temporary.write_bytes(b"of another model")
    left.write_bytes(b"half a copy")
    export_model(other, out)
    found = {entry.name for entry in out.iterdir()}
    assert found <= set(FILES) and EXPORT_NOTE in found and (out / "text.onnx").stat().st_size > 100
    with pytest.raises(InputError, match="new or empty"):  # a finished one is kept
        export_model(other, out)


def test_files_that_no_export_left_are_kept(other, tmp_path):
    (tmp_path / UNFINISHED).mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "text.onnx").write_text("of what is unfinished")
    with pytest.raises(InputError, match="new or empty"):
        export_model(other, tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [UNFINISHED, "notes.txt", "text.onnx"]
