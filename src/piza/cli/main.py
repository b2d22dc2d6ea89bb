"""The command line: the parser of all commands. Each command is a module here, which reads options and calls the library."""

from collections.abc import Sequence

from piza import __version__
from piza.cli.batch import add_batch
from piza.cli.common import Parser, guard
from piza.cli.convert import add_convert
from piza.cli.data import add_data_commands
from piza.cli.evaluate import add_evaluate, add_report
from piza.cli.export import add_export
from piza.cli.locate import add_locate
from piza.cli.serve import add_serve
from piza.cli.train import add_train


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0, 1 when `data check` found errors or all images of `locate` or `batch` failed,
    2 for bad input, 130 for Ctrl-C."""

    def run() -> int | None:
        options = _parser().parse_args(arguments)
        code: int | None = options.run(options)
        return code

    return guard(run)


def _parser() -> Parser:
    parser = Parser(prog="piza", description="Find tiny objects in large images by a sentence.")
    parser.add_argument("--version", action="version", version=f"piza {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    add_locate(commands)
    add_batch(commands)
    add_evaluate(commands)
    add_report(commands)
    add_train(commands)
    add_export(commands)
    add_serve(commands)
    add_data_commands(commands)
    add_convert(commands)
    return parser
