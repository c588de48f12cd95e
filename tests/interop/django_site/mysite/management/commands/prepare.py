from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Makes the database, and in it the users given as NAME:PASSWORD."

    def add_arguments(self, parser):
        parser.add_argument("users", nargs="*", metavar="NAME:PASSWORD")

    def handle(self, *args, **options):
        call_command("migrate", run_syncdb=True, verbosity=0)
        profiles = apps.get_model(settings.APP, "UserProfile").objects
        for user in options["users"]:
            name, _, password = user.partition(":")
            profiles.create(user=User.objects.create_user(name, password=password))
