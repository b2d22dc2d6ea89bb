"""The documentation holds together: links lead somewhere, commands can be given, pages are all reached, notebooks are fit to run.

That the site builds without a warning is seen by `make docs`, that the notebooks run by `make notebooks`.
"""

import ast
import json
import re
import shlex
from pathlib import Path

import pytest

from piza.cli.main import _parser

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
FENCED = re.compile(r"^```(?:sh)?\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^ {4}(piza .+)$", re.MULTILINE)


def links(page: Path) -> list[str]:
    """Relative links of a page, without those into other sites and those to a place on the page itself."""
    found = LINK.findall(CODE.sub("", page.read_text(encoding="utf-8")))
    return [link for link in found if not re.match(r"[a-z]+:|#", link)]


def commands(page: Path) -> list[str]:
    """The lines of a page that call piza, without comments and what stands for something else."""
    text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))  # lines that go on
    fenced = [
        line for block in FENCED.findall(text) for line in block.splitlines() if line.startswith("piza ")
    ]
    lines = fenced + COMMAND.findall(text)
    return [line for line in lines if not re.search(r"\.\.\.|[\[|]|COMMAND\b", line)]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_links_lead_to_files(page):
    missing = [link for link in links(page) if not (page.parent / link.partition("#")[0]).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_is_in_the_navigation(page):
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    assert re.search(rf"\s{re.escape(page.relative_to(DOCS).as_posix())}$", navigation, re.MULTILINE)


@pytest.mark.parametrize(
    "page",
    [DOCS / f"{name}.md" for name in ("start", "faq", "sorec_full_scale", "data", "evaluation")],
    ids=lambda page: page.name,
)
def test_commands_can_be_given(page):
    given = commands(page)
    for line in given:
        try:
            _parser().parse_args(shlex.split(line, comments=True)[1:])
        except ValueError as error:  # InputError too: the parser refuses what it does not know
            pytest.fail(f"{line}: {error}")
    assert given


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
            ast.parse("".join(cell["source"]))
            assert cell["outputs"] == [] and cell["execution_count"] is None


def test_the_site_asks_the_network_for_nothing():
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in settings and "http" not in settings.partition("\nnav:\n")[0]
    own = [*DOCS.rglob("*.css"), *DOCS.rglob("*.js"), *DOCS.rglob("*.svg")]
    for file in own:
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text, file.name
