# --- snippet ---
import time

from django.core.cache import caches

cache = caches["last_seen"]


def seen(user, at=None):
    # Bytes are stored as they are. What Django stores for an int, other stacks cannot read.
    now = int(time.time())
    cache.set(f"seen_{user}", b"%d" % (at or now), 604800)


def last_seen(user):
    value = cache.get(f"seen_{user}")
    return None if value is None else int(value)


def online(user):
    last = last_seen(user)
    return last is not None and int(time.time()) <= last + 300


def signed_out(user):
    last = last_seen(user)
    if last is not None:
        seen(user, min(last, int(time.time()) - 305))


def forget(user):
    return cache.delete(f"seen_{user}")
# --- end ---


import pathlib
import sys

import django
from django.conf import settings
from django.utils import timezone

sys.path.append(str(pathlib.Path(__file__).parent.parent / "python"))
import commands


def naive(user, at, kind):
    if kind == "float":
        at += 0.25
    elif kind == "datetime":
        at = timezone.now() + timezone.timedelta(seconds=at - int(time.time()))
        at = at.replace(microsecond=0)
    cache.set(f"seen_{user}", at, 604800)


backend = settings.CACHES["last_seen"]["BACKEND"].rpartition(".")[2]
commands.run(globals(), f"Django {django.__version__} {backend}")
