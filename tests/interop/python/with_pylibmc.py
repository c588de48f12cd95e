# --- snippet ---
import os
import time

import pylibmc

cache = pylibmc.Client(
    [os.environ["MEMCACHE_SERVERS"]],
    behaviors={"connect_timeout": 1000, "receive_timeout": 1_000_000},
)


def seen(user, at=None):
    # Bytes are stored as they are. What is stored for a str or an int, PHP cannot read.
    now = int(time.time())
    cache.set(f"seen_{user}", b"%d" % (at or now), time=604800)


def last_seen(user):
    value = cache.get(f"seen_{user}")
    return None if value is None else int(value)


def online(user):
    last = last_seen(user)
    return last is not None and int(time.time()) <= last + 300


def signed_out(user):
    last = last_seen(user)
    if last is not None:
        last = min(last, int(time.time()) - 305)
        cache.replace(f"seen_{user}", b"%d" % last, time=604800)


def forget(user):
    return cache.delete(f"seen_{user}")
# --- end ---


import datetime

import commands


def naive(user, at, kind):
    value = {
        "int": at,
        "float": at + 0.25,
        "str": str(at),
        "isoformat": datetime.datetime.fromtimestamp(at).astimezone().isoformat(),
        "datetime": datetime.datetime.fromtimestamp(at, datetime.timezone.utc),
    }[kind]
    cache.set(f"seen_{user}", value, time=604800)


commands.run(globals(), f"pylibmc {pylibmc.__version__}")
