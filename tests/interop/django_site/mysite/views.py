from django.apps import apps
from django.conf import settings
from django.shortcuts import render


def members(request):
    profiles = apps.get_model(settings.APP, "UserProfile").objects.select_related("user").order_by("user__username")
    return render(request, "members.html", {"profiles": profiles})
