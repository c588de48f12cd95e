from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from mysite.views import members

urlpatterns = [
    path("", members, name="members"),
    path("login/", LoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
