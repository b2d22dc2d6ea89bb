"""YAML of plain values, as others may have written it."""

import re
from collections import Counter
from typing import Any

# What is no text, as YAML 1.2 has it, but for octal and hexadecimal numbers; and the characters it begins with.
PLAIN = {
    "bool": ("true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    "float": (
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "null": ("~|null|Null|NULL|", ["~", "n", "N", ""]),
}


def parse_yaml(text: str) -> Any:
    """Plain values of a YAML file: numbers as JSON writes them, true and false, null, and all else as text.

    So 2e-4 is a number, which YAML 1.1 takes for a text; 010, 1:30 and "no" are none, which it takes for 8, 90 and false, nor are
    0x10 and 10_000; "<<" is a name like others.
    Raises ValueError, in one line, for anything else and for a name that is given twice, and RecursionError for very deep
    nesting; ImportError without PyYAML. Takes about ten seconds a megabyte.
    """
    import yaml

    def compose_node(self: Any, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):  # a few of them inside each other make billions of values
            raise ValueError("expected plain values, got an alias (*name)")
        return yaml.SafeLoader.compose_node(self, parent, index)

    def construct_mapping(self: Any, node: Any, deep: bool = False) -> Any:
        names = Counter((key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for (_, name), count in names.most_common(1):
            if count > 1:
                raise ValueError(f"the field {name!r:.60} is given twice")
        return yaml.SafeLoader.construct_mapping(self, node, deep)

    own = {
        "compose_node": compose_node,
        "construct_mapping": construct_mapping,
        "yaml_implicit_resolvers": {},
    }
    loader: Any = type("Loader", (yaml.SafeLoader,), own)
    for kind, (pattern, beginnings) in PLAIN.items():
        loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"(?:{pattern})$"), beginnings)
    try:
        return yaml.load(text, loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split()).replace('in "<unicode string>", ', "")) from None
