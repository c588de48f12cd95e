"""Settings for Django 3.2 and 5.2 alike. The environment says what differs."""

import os
import ssl

# --- snippet ---
USER_ONLINE_TIMEOUT = 300
USER_LASTSEEN_TIMEOUT = 60 * 60 * 24 * 7

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "members.middleware.LastSeenMiddleware",
]
# --- end ---

# The site that stores timezone.now() differs in its middleware and its model.
APP = os.environ.get("APP", "members")
MIDDLEWARE[-1] = MIDDLEWARE[-1].replace("members", APP)

BACKEND = os.environ.get("BACKEND", "PyMemcacheCache")  # PyLibMCCache, or MemcachedCache in 3.2

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.memcached." + BACKEND,
        "LOCATION": os.environ["MEMCACHE_SERVERS"],
        "KEY_PREFIX": os.environ.get("CACHE_KEY_PREFIX", ""),
        "VERSION": int(os.environ.get("CACHE_VERSION", "1")),
    },
}

# How a memcached with a password or with TLS is reached.
if MEMCACHE_LOGIN := os.environ.get("MEMCACHE_LOGIN"):
    CACHES["default"]["BACKEND"] = "mysite.login.LoginCache"
if ca := os.environ.get("MEMCACHE_CA"):
    CACHES["default"]["OPTIONS"] = {"tls_context": ssl.create_default_context(cafile=ca)}

TIME_ZONE = os.environ.get("TIME_ZONE", "UTC")
USE_TZ = True

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["DATABASE"],
    },
}

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    APP,
    "mysite",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    },
]

ROOT_URLCONF = "mysite.urls"
WSGI_APPLICATION = "mysite.wsgi.application"
ALLOWED_HOSTS = ["127.0.0.1"]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "members"
LOGOUT_REDIRECT_URL = "members"
SECRET_KEY = "only for tests on this computer"
