"""Holds our placement of keys against the real clients', key by key.

    check.py OURS..    where OURS.. FILE-OF-KEYS prints placements, as the other scripts of this folder do:
                     for each line `sharding<TAB>host port weight<TAB>..` of its input a line of indices

Runs with the Python that has pylibmc, pymemcache and python-memcached; needs `php` with memcached, `ruby` with dalli, and
in GOMEMCACHE the compiled gomemcache_placement.go.
Prints a line for each client and ends with 1 if any key differs. MOST=8 stops at eight servers.
"""
import os
import random
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS = {
    "pylibmc": [sys.executable, f"{HERE}/pylibmc_placement.py"],
    "php memcached": ["php", f"{HERE}/php_placement.php"],
    "pymemcache": [sys.executable, f"{HERE}/pymemcache_placement.py"],
    "python-memcached": [sys.executable, f"{HERE}/python_memcached_placement.py"],
    "dalli": ["ruby", f"{HERE}/dalli_placement.rb"],
    "gomemcache": [os.environ["GOMEMCACHE"]],
}
KEYS = 2000
MOST = int(os.environ.get("MOST", 30))
PORTS = [
    lambda i: 11211,
    lambda i: 31801 + i,
    lambda i: 11211 if i % 3 else 11300 + i,
]
HOSTS = [
    lambda i: f"cache-{i}.example.com",
    lambda i: f"192.0.2.{i + 1}",
    lambda i: f"2001:db8::{i + 1:x}",
    lambda i: f"[2001:db8::{i + 1:x}]",
]
EQUAL = lambda i: 1
WEIGHTS = [EQUAL, lambda i: 1 + i % 3, lambda i: 1 + i * 37 % 100]


def keys():
    """Plain users, any printable ASCII of any length, and letters beyond it; the same each time. All begin with an s."""
    draw = random.Random(20161006)
    ascii_ = [chr(c) for c in range(0x21, 0x7F)]
    wide = [c for c in "éüñßçøåæłşжйλω張伟あ안אعก€\u0101\u0141\u01ff\U0001f600\U00020000"]
    for i in range(KEYS):
        if i % 3 == 0:
            yield f"seen_user{i}"
        elif i % 3 == 1:
            yield "s" + "".join(draw.choices(ascii_, k=draw.randint(1, 249)))
        else:
            yield "seen_" + "".join(draw.choices(wide + ascii_[32:58], k=draw.randint(1, 60)))


def lists():
    for n in range(1, MOST + 1):
        for host in HOSTS:
            for port in PORTS:
                yield [(host(i), port(i)) for i in range(n)]
        yield [("127.0.0.1", 31801 + i) for i in range(n)]


def cases(sharding):
    for i, servers in enumerate(lists()):
        for weight in WEIGHTS if sharding in ("ketama", "dalli") else [EQUAL]:
            # Its hash is pure Python and slow: of the long lists each third, all kinds in turn.
            if sharding == "pymemcache" and len(servers) > 8 and i % 3:
                continue
            yield "\t".join(
                [sharding, *(f"{host} {port} {weight(j)}" for j, (host, port) in enumerate(servers))]
            )


def main():
    ours = sys.argv[1:]
    asked = [case for s in ("ketama", "libmemcached", "pymemcache", "python-memcached", "dalli", "gomemcache") for case in cases(s)]
    text = "\n".join(asked) + "\n"
    wrong = 0
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write("\n".join(keys()) + "\n")
        file.flush()

        def places(command):
            run = subprocess.run([*command, file.name], input=text, capture_output=True, encoding="utf-8", check=True)
            return [line.split(" ") for line in run.stdout.splitlines()]

        expected = places(ours)
        for client, command in CLIENTS.items():
            count = {}
            for case, mine, theirs in zip(asked, expected, places(command), strict=True):
                if theirs == ["-"]:
                    continue
                assert len(mine) == len(theirs) == KEYS, (client, case, len(mine), len(theirs))
                differ = sum(a != b for a, b in zip(mine, theirs))
                if differ:
                    print(f"{client}: {differ} of {KEYS} keys differ: {case!r}", file=sys.stderr)
                sharding = case.split("\t")[0]
                lists_, keys_, differ_ = count.get(sharding, (0, 0, 0))
                count[sharding] = (lists_ + 1, keys_ + KEYS, differ_ + differ)
            for sharding, (lists_, keys_, differ) in count.items():
                print(f"{client}, {sharding}: {lists_} lists of servers, {keys_} placements, {differ} differ")
                wrong += differ
            assert count, client
    sys.exit(1 if wrong else 0)


main()
