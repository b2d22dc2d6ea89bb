"""Makes the reference read our docstrings as they are written.

A class of ours says what its fields are in a paragraph ("score: ... path: ...") of its docstring, or in comments behind
or above them; a function may say so of its arguments. Here such text becomes a section of the docstring, which
mkdocstrings shows as a table. Nothing is imported or run: griffe reads the source.
"""

import re
from typing import Any

from griffe import Attribute, Class, Docstring, Extension, Function

SENTENCE_ENDS = r"(?:^|(?<=[.;)] ))"


class Fields(Extension):
    def on_class(self, *, cls: Class, **_: Any) -> None:
        names = [name for name, member in cls.members.items() if isinstance(member, Attribute)]
        text, told = _taken_out(cls.docstring.value if cls.docstring else "", names)
        source = cls.filepath.read_text(encoding="utf-8").splitlines() if names else []
        for name in names:
            member = cls.members[name]
            if name not in told and not name.startswith("_") and not member.docstring:
                told[name] = _comment(source, member.lineno or 0, member.endlineno or 0)
        found = {name: told[name] for name in names if told.get(name)}
        if found:
            _put(cls, text, "Attributes", found)

    def on_function(self, *, func: Function, **_: Any) -> None:
        text = func.docstring.value if func.docstring else ""
        if re.search(r"^(Args|Returns|Raises):$", text, re.MULTILINE):
            return
        text, told = _taken_out(text, [parameter.name for parameter in func.parameters])
        if told:
            _put(func, text, "Args", told)


def _taken_out(text: str, names: list[str]) -> tuple[str, dict[str, str]]:
    """A docstring without the paragraphs that explain `names`, and what they say of each."""
    if not names:
        return text, {}
    name = "(?:" + "|".join(map(re.escape, names)) + ")"
    marks = re.compile(rf"{SENTENCE_ENDS}({name}(?:, {name})*): ")
    kept, told = [], {}
    for paragraph in text.split("\n\n"):
        line = " ".join(paragraph.split())
        if not marks.match(line):
            kept.append(paragraph)
            continue
        line, *further = re.split(rf"{SENTENCE_ENDS}(?=(?:Raises|Returns) )", line)
        parts = marks.split(line)
        for heard, said in zip(parts[1::2], parts[2::2], strict=True):
            told.update(dict.fromkeys(heard.split(", "), said.strip()))
        kept += [part.strip() for part in further]
    return "\n\n".join(kept), told


def _comment(source: list[str], first: int, last: int) -> str:
    """What comments behind a field say, and those on lines of their own above it. Lines count from 1."""
    above: list[str] = []
    line = first - 2
    while line >= 0 and source[line].strip().startswith("#"):
        above.insert(0, source[line].strip())
        line -= 1
    behind = [text[text.index("  # ") :].strip() for text in source[first - 1 : last] if "  # " in text]
    behind += [text.strip() for text in source[first - 1 : last] if text.strip().startswith("# ")]
    return " ".join(text.removeprefix("#").strip() for text in above + behind)


def _put(of: Class | Function, text: str, section: str, told: dict[str, str]) -> None:
    lines = "\n".join(f"    {name}: {said}" for name, said in told.items())
    value = f"{text.strip()}\n\n{section}:\n{lines}\n"
    of.docstring = Docstring(
        value,
        parent=of,
        lineno=of.docstring.lineno if of.docstring else of.lineno,
        endlineno=of.docstring.endlineno if of.docstring else of.lineno,
        parser=of.docstring.parser if of.docstring else "google",
        parser_options=of.docstring.parser_options if of.docstring else None,
    )
