"""Network files that mix Caffe's two syntaxes: `layers { type: "Convolution" }`.

Caffe refuses them; what is meant is plain, as a name in quotation marks is today's
syntax (`layer`), one in capital letters the older one (`layers`).
"""

import re

TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*) | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    | (?P<word>[A-Za-z_]\w*) | (?P<open>[{<]) | (?P<close>[}>]) | .""",
    re.VERBOSE | re.DOTALL,
)


def respelled(text: str) -> str:
    """Returns a network's text with every layer under the name that its type is of."""
    depth = 0
    block = wanted = None
    changes: list[tuple[re.Match[str], str]] = []
    last_word = ""
    for token in TOKEN.finditer(text):
        if token["open"]:
            depth += 1
        elif token["close"]:
            depth -= 1
            if depth == 0 and block is not None and wanted is not None:
                changes.append((block, wanted))
                block = wanted = None
        elif token["word"] and depth == 0:
            block = token if token["word"] in ("layer", "layers") else None
            wanted = None
        elif depth == 1 and block is not None and last_word == "type":
            if token["string"] or token["word"]:
                wanted = "layer" if token["string"] else "layers"
        if token["word"] or token["string"] or token["open"] or token["close"]:
            last_word = token["word"] or ""
    for block, name in reversed(changes):
        text = text[: block.start()] + name + text[block.end() :]
    return text
