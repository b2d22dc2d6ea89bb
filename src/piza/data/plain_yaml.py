"""YAML of plain values, as others may have written it."""

import re
from typing import Any


def parse_yaml(text: str) -> Any:
    """Plain values of a YAML file, with numbers such as 2e-4, which YAML 1.1 takes for texts, as they have no dot.

    Raises ValueError, in one line, for anything else, and RecursionError for very deep nesting; ImportError without PyYAML.
    Takes about ten seconds a megabyte.
    """
    import yaml

    def compose_node(self: Any, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):  # a few of them inside each other make billions of values
            raise ValueError("expected plain values, got an alias (*name)")
        return yaml.SafeLoader.compose_node(self, parent, index)

    loader: Any = type("Loader", (yaml.SafeLoader,), {"compose_node": compose_node})
    number = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
    loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789"))
    try:
        return yaml.load(text, loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
