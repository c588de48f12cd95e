# --- snippet ---
import os

CACHES = {
    # ... your "default" stays as it is, and beside it:
    "last_seen": {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": os.environ["MEMCACHE_SERVERS"],
        # So that an unavailable server is an error, not the same answer as "no record".
        "OPTIONS": {"connect_timeout": 1, "timeout": 1, "retry_attempts": 0, "dead_timeout": 1},
        # The key as it is: without Django's ":1:", which other stacks do not write.
        "KEY_FUNCTION": lambda key, prefix, version: key,
    },
}
# --- end ---

# The tests run the same with each of Django's memcached backends.
import json

CACHES["last_seen"]["BACKEND"] = "django.core.cache.backends.memcached." + os.environ["BACKEND"]
CACHES["default"] = CACHES["last_seen"]
if os.environ["BACKEND"] != "PyMemcacheCache":
    del CACHES["last_seen"]["OPTIONS"]
if "OPTIONS" in os.environ:
    CACHES["last_seen"]["OPTIONS"] = json.loads(os.environ["OPTIONS"])
USE_TZ = True
