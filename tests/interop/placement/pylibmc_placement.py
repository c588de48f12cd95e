"""Where pylibmc puts keys. `hash` is libmemcached's own choice of a server; nothing is dialled."""
import sys

import pylibmc

BEHAVIORS = {"libmemcached": {}, "ketama": {"ketama_weighted": True}}

keys = open(sys.argv[1], encoding="utf-8").read().splitlines()
for line in sys.stdin:
    sharding, *servers = line.rstrip("\n").split("\t")
    if sharding not in BEHAVIORS:
        print("-")
        continue
    # Without brackets a host of several colons cannot be told from its port.
    specs = [
        f"[{host.strip('[]')}]:{port}:{weight}" if ":" in host else f"{host}:{port}:{weight}"
        for host, port, weight in (server.split(" ") for server in servers)
    ]
    client = pylibmc.Client(specs, behaviors=BEHAVIORS[sharding])
    print(*(client.hash(key) for key in keys))
