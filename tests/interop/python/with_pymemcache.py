# --- snippet ---
import os
import time

from pymemcache.client.base import PooledClient

cache = PooledClient(
    os.environ["MEMCACHE_SERVERS"],
    connect_timeout=1,
    timeout=1,
    allow_unicode_keys=True,
)


def seen(user, at=None):
    now = int(time.time())
    cache.set(f"seen_{user}", str(at or now), expire=604800, noreply=False)


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
        cache.replace(f"seen_{user}", str(last), expire=604800, noreply=False)


def forget(user):
    return cache.delete(f"seen_{user}", noreply=False)
# --- end ---


import datetime

import pymemcache

import commands


def naive(user, at, kind):
    value = {
        "int": at,
        "float": at + 0.25,
        "datetime": datetime.datetime.utcfromtimestamp(at),
        "aware": datetime.datetime.fromtimestamp(at, datetime.timezone.utc),
    }[kind]
    cache.set(f"seen_{user}", value, expire=604800, noreply=False)


commands.run(globals(), f"pymemcache {pymemcache.__version__}")
