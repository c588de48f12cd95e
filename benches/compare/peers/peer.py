"""The Python sides of the comparison: answers each line of work with the seconds it took; measure.py lists them."""

import datetime
import importlib.metadata
import os
import sys
import time

SERVER = os.environ["MEMCACHE_SERVERS"]
USERS = ["user%d" % nth for nth in range(1000)]
WEEK = 60 * 60 * 24 * 7


def django(backend, library):
    """What the post's middleware and model do, with Django's own cache."""
    import django
    from django.conf import settings

    backend = "django.core.cache.backends.memcached." + backend
    settings.configure(CACHES={"default": {"BACKEND": backend, "LOCATION": SERVER}}, USE_TZ=True)
    from django.core.cache import cache

    def set_(user):
        now = datetime.datetime.now()
        cache.set("seen_%s" % user, now, WEEK)

    def get(user):
        return cache.get("seen_%s" % user)

    def many(users):
        return cache.get_many(["seen_%s" % user for user in users])

    name = backend.rpartition(".")[2]
    return f"Django {django.__version__} {name} ({library} {importlib.metadata.version(library)})", set_, get, many


def pymemcache():
    import pymemcache
    from pymemcache.client.base import PooledClient

    cache = PooledClient(SERVER, connect_timeout=1, timeout=1, allow_unicode_keys=True)

    def set_(user):
        cache.set(f"seen_{user}", str(int(time.time())), expire=WEEK, noreply=False)

    def get(user):
        return int(cache.get(f"seen_{user}"))

    def many(users):
        found = cache.get_many([f"seen_{user}" for user in users])
        return {key: int(value) for key, value in found.items()}

    return f"pymemcache {pymemcache.__version__}", set_, get, many


def pylibmc():
    import pylibmc

    cache = pylibmc.Client([SERVER], behaviors={"connect_timeout": 1000, "receive_timeout": 1_000_000})

    def set_(user):
        cache.set(f"seen_{user}", b"%d" % int(time.time()), time=WEEK)

    def get(user):
        return int(cache.get(f"seen_{user}"))

    def many(users):
        found = cache.get_multi([f"seen_{user}" for user in users])
        return {key: int(value) for key, value in found.items()}

    return f"pylibmc {pylibmc.__version__}", set_, get, many


CLIENTS = {
    "django-pymemcache": lambda: django("PyMemcacheCache", "pymemcache"),
    "django-pylibmc": lambda: django("PyLibMCCache", "pylibmc"),
    "pymemcache": pymemcache,
    "pylibmc": pylibmc,
}
name, set_, get, many = CLIENTS[sys.argv[1]]()


def answer(verb, *numbers):
    if verb == "name":
        return name
    *page, calls = map(int, numbers)
    started = time.perf_counter()
    if verb == "many":
        users = USERS[: page[0]]
        for _ in range(calls):
            assert len(many(users)) == len(users)
    else:
        call = {"set": set_, "get": get}[verb]
        for nth in range(calls):
            call(USERS[nth % len(USERS)])
    return time.perf_counter() - started


for line in sys.stdin:
    print(answer(*line.split()), flush=True)
