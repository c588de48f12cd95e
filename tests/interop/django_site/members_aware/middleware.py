from django.conf import settings
from django.core.cache import cache
from django.utils import timezone


class LastSeenMiddleware:
    """Remembers when each signed-in user made a request."""

    def __init__(self, get_response):
        self.get_response = get_response

    # --- snippet ---
    def __call__(self, request):
        if request.user.is_authenticated:
            now = timezone.now()
            cache.set("seen_%s" % request.user.username, now, settings.USER_LASTSEEN_TIMEOUT)
        return self.get_response(request)
    # --- end ---
