"""A Django site beside the axum app of the bench: a page that does nothing, a user named in a header, and the post's
own middleware, or none. MIDDLEWARE and BACKEND say which."""

import os
import pathlib
import sys
from types import SimpleNamespace

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

# The middleware as it is in the post, which the tests run too.
sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "tests/interop/django_site"))


class UserMiddleware:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        request.user = SimpleNamespace(is_authenticated=True, username=request.headers["user"])
        return self.get_response(request)


settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    CACHES={
        "default": {
            "BACKEND": "django.core.cache.backends.memcached." + os.environ["BACKEND"],
            "LOCATION": os.environ["MEMCACHE_SERVERS"],
        }
    },
    MIDDLEWARE=[__name__ + ".UserMiddleware"] + os.environ["MIDDLEWARE"].split(),
    ROOT_URLCONF=__name__,
    USER_LASTSEEN_TIMEOUT=60 * 60 * 24 * 7,
    USE_TZ=True,
)
urlpatterns = [path("", lambda request: HttpResponse("ok"))]
application = get_wsgi_application()
