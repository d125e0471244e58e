"""The commands that people type: a parser and a `main` each, and nothing else.

Options that several of them share are in options.py and *_options.py.

`python -m swwae.commands.NAME` does what tools/NAME.py does: it, too, goes on under the
project's own Python, and says in a sentence what is not installed.
"""

import sys

_PREFIX = __name__ + "."

if sys.argv[:1] == ["-m"]:  # Python looks for the module that it is to run
    _named = sys.orig_argv[sys.orig_argv.index("-m") + 1]
    if _named.startswith(_PREFIX):
        from swwae.launch import launch

        sys.argv[0] = _named.removeprefix(_PREFIX) + ".py"
        launch(_named.removeprefix(_PREFIX))
