"""Where pymemcache's HashClient puts keys, asked as its own commands ask; nothing is dialled."""
import sys

from pymemcache.client.hash import HashClient

keys = open(sys.argv[1], encoding="utf-8").read().splitlines()
for line in sys.stdin:
    sharding, *servers = line.rstrip("\n").split("\t")
    if sharding != "pymemcache":
        print("-")
        continue
    specs = [
        f"[{host.strip('[]')}]:{port}" if ":" in host else f"{host}:{port}"
        for host, port, _ in (server.split(" ") for server in servers)
    ]
    client = HashClient(specs, allow_unicode_keys=True)
    order = {id(one): index for index, one in enumerate(client.clients.values())}
    print(*(order[id(client._get_client(key))] for key in keys))
