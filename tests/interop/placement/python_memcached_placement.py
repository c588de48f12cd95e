"""Where python-memcached puts keys; its servers are taken to be up, nothing is dialled."""
import sys

import memcache

memcache._Host.connect = lambda self: 1

keys = open(sys.argv[1], encoding="utf-8").read().splitlines()
for line in sys.stdin:
    sharding, *servers = line.rstrip("\n").split("\t")
    if sharding != "python-memcached":
        print("-")
        continue
    specs = [
        f"inet6:[{host.strip('[]')}]:{port}" if ":" in host else f"{host}:{port}"
        for host, port, _ in (server.split(" ") for server in servers)
    ]
    client = memcache.Client(specs)
    order = {id(server): index for index, server in enumerate(client.servers)}
    print(*(order[id(client._get_server(client._encode_key(key))[0])] for key in keys))
