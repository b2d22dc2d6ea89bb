"""No module of piza imports itself through others, imports inside functions included, those for type checking not.

That rooms import from below only is held by `lint-imports` (`[tool.importlinter]` in pyproject.toml), which `make lint` runs.
"""

from graphlib import CycleError, TopologicalSorter

import grimp


def test_no_import_cycles():
    graph = grimp.build_graph("piza", exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 100  # it was the package that was read
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        raise AssertionError("import cycle: " + " -> ".join(error.args[1][::-1])) from None
