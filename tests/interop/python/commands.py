"""Answers commands, one a line: from the command line, or from standard input.

    seen USER [UNIX_SECONDS]      ok
    last_seen USER                the Unix seconds, or none
    online USER                   true, or false
    signed_out USER               ok
    forget USER                   true if there was a record
    naive USER UNIX_SECONDS KIND  ok: wrote a value of the language's own kind
    version                       the client and its version

What fails is answered with "error: " and what the client said.
"""

import sys


def answer(functions, version, line):
    verb, *words = line.split(" ")
    if verb == "version":
        return version
    if verb == "naive":
        functions["naive"](words[0], int(words[1]), words[2])
        return "ok"
    if verb == "seen":
        functions["seen"](words[0], *map(int, words[1:]))
        return "ok"
    if verb not in ("last_seen", "online", "signed_out", "forget"):
        raise ValueError(f"no command {verb}")
    result = functions[verb](*words)
    if verb == "signed_out":
        return "ok"
    if verb == "last_seen":
        return "none" if result is None else str(result)
    return "true" if result else "false"


def run(functions, version):
    sys.stdin.reconfigure(encoding="utf-8")
    sys.stdout.reconfigure(encoding="utf-8")
    for line in [" ".join(sys.argv[1:])] if sys.argv[1:] else sys.stdin:
        try:
            text = answer(functions, version, line.rstrip("\n"))
        except Exception as error:
            text = f"error: {type(error).__name__}: {error}".replace("\n", " ")
        print(text, flush=True)
