"""Runs commands' `main` in one process, as often as it is asked for: to be started in
a copy of the project, which they may change.

Reads a line of JSON for each, {"command", "arguments"}, and answers with one: "code",
"said" (what was written on stderr), and "fault", a traceback where anything but an exit
code came of it. Without "arguments" it tells the command's options.

No program is started: what would start one ends there, with the code "started".
"""

import argparse
import contextlib
import json
import os
import signal
import socketserver
import subprocess
import sys
import tempfile
import traceback
from importlib import import_module

REFUSED = ("nvidia-smi", "git")
"""Programs that are looked for, and need not be there."""

SECONDS = 60


class StartedError(BaseException):
    """A program was to be started, or a server."""


class SlowError(BaseException):
    """It took too long."""


class ParserError(BaseException):
    """A command has made its parser."""


def main() -> None:
    sys.path[:0] = [os.getcwd()]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    programs = _without_programs()
    for line in sys.stdin:
        request = json.loads(line)
        answer = programs(request["command"], request.get("arguments"))
        print(json.dumps(answer), file=answers, flush=True)


def _without_programs():
    from swwae.datasets import debian
    from swwae.engine import devices

    def start(self: object, command: object, *_: object, **__: object) -> None:
        name = command if isinstance(command, str) else os.fspath(command[0])
        if os.path.basename(name) in REFUSED:
            raise FileNotFoundError(2, "No such file or directory", name)
        raise StartedError

    def serve(*_: object) -> None:
        raise StartedError

    def slow(*_: object) -> None:
        raise SlowError

    subprocess.Popen.__init__ = start
    subprocess.Popen.__del__ = lambda self: None
    socketserver.TCPServer.server_bind = serve
    debian.package_folder = serve
    devices._query = lambda caffe, gpus: devices.Found([], {}, devices.CPU_BUILD)
    signal.signal(signal.SIGALRM, slow)
    return _answer


def _answer(command: str, arguments: list[str] | None) -> dict:
    name = (
        "generator.__main__" if command == "generator" else f"swwae.commands.{command}"
    )
    module = import_module(name)
    if arguments is None:
        return {"options": _options(module)}
    from swwae.base import program

    sys.argv = [getattr(module, "PROGRAM", f"{command}.py"), *arguments]
    fault, code = None, None
    with tempfile.TemporaryFile("w+", errors="backslashreplace") as said:
        before = sys.stdout, sys.stderr
        try:
            with tempfile.TemporaryFile("w", errors="backslashreplace") as out:
                sys.stdout, sys.stderr = out, said
                signal.alarm(SECONDS)
                if command == "generator":
                    sys.exit(module.main())
                program.run(module.main)
        except SystemExit as ended:
            code = ended.code
        except StartedError:
            code = "started"
        except BaseException:
            fault = traceback.format_exc()
        finally:
            signal.alarm(0)
            sys.stdout, sys.stderr = before
        said.seek(0)
        return {"code": code, "said": said.read(), "fault": fault}


def _options(module: object) -> list[dict]:
    """Of a command's parser, what a command line may have."""
    found: list[argparse.ArgumentParser] = []

    def caught(parser: argparse.ArgumentParser, *_: object) -> None:
        found.append(parser)
        raise ParserError

    parse, argparse.ArgumentParser.parse_args = (
        argparse.ArgumentParser.parse_args,
        caught,
    )
    sys.argv = ["x"]
    with contextlib.suppress(ParserError):
        module.main()
    argparse.ArgumentParser.parse_args = parse
    return [
        {
            "options": list(action.option_strings),
            "name": action.dest,
            "choices": [str(choice) for choice in action.choices or ()],
            "flag": action.nargs == 0,
            "many": action.nargs in ("+", "*"),
        }
        for action in found[0]._actions
        if not isinstance(action, argparse._HelpAction)
    ]


if __name__ == "__main__":
    main()
