from django.shortcuts import render

from members.models import UserProfile


def members(request):
    profiles = UserProfile.objects.select_related("user").order_by("user__username")
    return render(request, "members.html", {"profiles": profiles})
