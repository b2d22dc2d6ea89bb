"""The documentation agrees with the code: links, commands, options, code blocks and module names; pages are all reached.

That the site builds without a warning is seen by `make docs`, that the notebooks run by `make notebooks`.
"""

import argparse
import ast
import importlib
import inspect
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import piza
from piza import config
from piza.cli.main import _parser
from piza.result import Result

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "piza"
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
GUIDES = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
GENERATED = re.compile(r"<!-- (?:bench|table) -->.*?<!-- end of \w+ -->", re.DOTALL)
PLACEHOLDER = re.compile(r"\.\.\.|[\[|]|COMMAND\b")
FOREIGN_OPTIONS = {
    "--multi_gpu",
    "--cpu",
    "--use_fsdp",
    "--fsdp_auto_wrap_policy",
    "--num_processes",
    "--nproc_per_node",
    "--array",
    "--cpus-per-task",
    "--mem",
    "--requeue",
    "--time",
    "--no-deps",
    "--strict",
    "--help",
    "--version",
}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


every_page = pytest.mark.parametrize("page", GUIDES, ids=name_of)


def links(page: Path) -> list[str]:
    """Links of a page that do not lead to other sites."""
    found = LINK.findall(CODE.sub("", page.read_text(encoding="utf-8")))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """The places on a page that a link can lead to: its headings, as the site and GitHub name them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def shell_lines(page: Path) -> list[str]:
    """The lines of indented and shell blocks, continued lines joined."""
    text = page.read_text(encoding="utf-8")
    blocks = [code for language, code in FENCED.findall(text) if language in ("", "sh")]
    indented = re.findall(r"^ {4}(.+\n?(?:(?<=\\\n).+\n?)*)", FENCED.sub("", text), re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", "\n".join([*blocks, *indented]))
    return [line.strip() for line in joined.splitlines()]


def parsers() -> Iterator[argparse.ArgumentParser]:
    """The parser of piza, and those of its commands."""
    waiting: list[argparse.ArgumentParser] = [_parser()]
    while waiting:
        parser = waiting.pop()
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                waiting += action.choices.values()


@every_page
def test_links_lead_somewhere(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor and not anchor.startswith(
            "piza."
        ):  # those are made from docstrings; `make docs` checks them
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_page_is_in_the_navigation(page):
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    assert re.search(rf"\s{re.escape(page.relative_to(DOCS).as_posix())}$", navigation, re.MULTILINE)


@every_page
def test_commands_can_be_given(page):
    for line in shell_lines(page):
        if not line.startswith("piza ") or PLACEHOLDER.search(line):
            continue
        try:
            _parser().parse_args(shlex.split(line, comments=True)[1:])
        except ValueError as error:  # InputError too: the parser refuses what it does not know
            pytest.fail(f"{line}: {error}")


def test_commands_are_found_on_the_pages():
    lines = [line for page in GUIDES for line in shell_lines(page) if line.startswith("piza ")]
    assert len(lines) > 60
    assert any("--extract" in line for line in lines) and any("adapter_plus-piza-0" in line for line in lines)


@every_page
def test_scripts_and_targets_that_are_named_exist(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    for line in [*shell_lines(page), *re.findall(r"`([^`\n]+)`", text)]:
        for script in re.findall(r"\b((?:recipes|benchmarks|docs|tests)/[\w/]+\.(?:py|sh))", line):
            path = ROOT / script
            assert path.exists(), line
            for option in re.findall(r"\s(--[a-z][\w-]*)", line.partition(script)[2].partition("#")[0]):
                assert option in path.read_text(encoding="utf-8"), line
        for target in re.findall(r"^make ([\w-]+)", line):
            assert target in targets, line


@every_page
def test_options_that_are_named_exist(page):
    known = {option for parser in parsers() for action in parser._actions for option in action.option_strings}
    scripts = [*(ROOT / "recipes").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
    known |= {
        option for path in scripts for option in re.findall(r'"(--[\w-]+)"', path.read_text(encoding="utf-8"))
    }
    named = re.findall(r"(?<![\w-])--[a-z][\w-]+", "\n".join(CODE.findall(page.read_text(encoding="utf-8"))))
    assert set(named) - known <= FOREIGN_OPTIONS


@every_page
def test_settings_that_are_named_exist(page):
    for owner, name in re.findall(r"`(\w+Config)\.(\w+)", page.read_text(encoding="utf-8")):
        assert name in getattr(config, owner).__dataclass_fields__, f"{owner}.{name}"


@every_page
def test_modules_that_are_named_exist(page):
    text = GENERATED.sub("", page.read_text(encoding="utf-8"))
    rooms = "|".join(path.name for path in PACKAGE.iterdir() if path.is_dir())
    for name in re.findall(rf"`((?:{rooms})/[\w/.]+\.\w+)`", text):
        assert (PACKAGE / name).exists(), name


@every_page
def test_python_blocks_use_what_there_is(page):
    for language, code in FENCED.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            check_code(ast.parse(code))


def check_code(tree: ast.Module) -> None:
    """Imports from piza resolve, calls of what they give use its parameters, and results have what is read from them."""
    names: dict[str, Any] = {"piza": piza}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "piza":
            for alias in node.names:
                names[alias.asname or alias.name] = member(node.module or "", alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in ("result", "r"):
                assert node.attr in Result.__dataclass_fields__ or hasattr(Result, node.attr), node.attr
            elif node.value.id == "piza":
                member("piza", node.attr)
        elif isinstance(node, ast.Call):
            called = function_of(node.func, names)
            if called is not None:
                parameters = inspect.signature(called).parameters
                if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                    assert {word.arg for word in node.keywords} <= parameters.keys(), ast.unparse(node)


def function_of(function: ast.expr, names: dict[str, Any]) -> Any:
    """What is called, if it is imported from piza, `piza.something` or `model.locate`; else None."""
    if isinstance(function, ast.Name) and function.id in names:
        return names[function.id]
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        if function.value.id == "piza":
            return member("piza", function.attr)
        if (function.value.id, function.attr) == ("model", "locate"):
            return member("piza.search.predictor", "locate")
        if function.value.id in ("result", "r"):
            return getattr(Result, function.attr)
    return None


def member(module: str, name: str) -> Any:
    """A function, class or module by its full name."""
    found = importlib.import_module(module)
    return getattr(found, name) if hasattr(found, name) else importlib.import_module(f"{module}.{name}")


def test_the_architecture_names_every_room():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    for path in PACKAGE.iterdir():
        name = f"{path.name}/" if path.is_dir() else path.name
        if path.suffix == ".py" or (path / "__init__.py").exists():
            assert f"`{name}`" in text, name


@every_page
def test_lines_of_text_are_below_120_columns(page):
    text = GENERATED.sub("", FENCED.sub("", page.read_text(encoding="utf-8")))
    free = ("|", "![", "<", "    ")  # tables, pictures and commands cannot be broken
    long = [line for line in text.splitlines() if len(line) > 120 and not line.startswith(free)]
    assert not long


def test_every_command_of_the_start_shows_its_output():
    text = (DOCS / "start.md").read_text(encoding="utf-8")
    shown = re.findall(r"```sh\n.*?```\n\n```text\n(.*?)```", text, re.DOTALL)
    assert len(shown) >= 5 and all(output.strip() for output in shown)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_kept_without_outputs_and_can_be_read(notebook):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    for cell in cells:
        if cell["cell_type"] == "code":
            check_code(ast.parse("".join(cell["source"])))
            assert cell["outputs"] == [] and cell["execution_count"] is None


def test_the_citation_names_this_version_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == piza.__version__ and citation["license"] == "MIT"
    assert citation["preferred-citation"]["title"].startswith("Referring Expression Comprehension")


def test_the_site_asks_the_network_for_nothing():
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in settings and "http" not in settings.partition("\nnav:\n")[0]
    own = [*DOCS.rglob("*.css"), *DOCS.rglob("*.js"), *DOCS.rglob("*.svg")]
    for file in own:
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text, file.name


def test_the_limits_of_the_security_page_are_those_of_the_code() -> None:
    rows = re.findall(
        r"^\| [^|]+ \| ([\d, ]+) \| (`.+`) \|$", (ROOT / "SECURITY.md").read_text("utf-8"), re.M
    )
    assert len(rows) > 20
    for numbers, names in rows:
        values = [float(number.replace(",", "")) for number in numbers.split(", ")]
        assert values == [float(limit(name)) for name in re.findall(r"`([^`]+)`", names)], names


def limit(name: str) -> Any:
    """The value of a constant, or of a field of a class, by its name within the package."""
    parts = name.split(".")
    depth = next(n for n in range(1, len(parts) + 1) if not parts[n][0].islower() or n == len(parts) - 1)
    value: Any = importlib.import_module(".".join(["piza", *parts[:depth]]))
    for part in parts[depth:]:
        value = getattr(value, part)
    return value
