import datetime

from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import models
from django.utils import timezone


class UserProfile(models.Model):
    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True)

    def last_seen(self):
        return cache.get("seen_%s" % self.user.username)

    # --- snippet ---
    def online(self):
        last_seen = self.last_seen()
        if not last_seen:
            return False
        now = timezone.now()
        if now > last_seen + datetime.timedelta(seconds=settings.USER_ONLINE_TIMEOUT):
            return False
        return True
    # --- end ---
