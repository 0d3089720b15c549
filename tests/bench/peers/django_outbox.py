"""django-post_office: mails queued as rows in PostgreSQL, then sent over one connection.

Arguments: database URL, SMTP port, mails. Prints the seconds that sending took.
"""
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

import logging
import sys
import time
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core.management import call_command

url, port, count = urlsplit(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url.path[1:],
            "USER": url.username,
            "PASSWORD": url.password,
            "HOST": url.hostname,
            "PORT": url.port,
        }
    },
    EMAIL_BACKEND="post_office.EmailBackend",
    EMAIL_HOST="127.0.0.1",
    EMAIL_PORT=port,
    POST_OFFICE={
        "BACKENDS": {"default": "django.core.mail.backends.smtp.EmailBackend"},
        "THREADS_PER_PROCESS": 1,
        "BATCH_SIZE": count,
    },
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()
logging.disable(logging.CRITICAL)
call_command("migrate", verbosity=0)

from post_office import mail  # noqa: E402 - Django is set up now.
from post_office.models import STATUS, Email  # noqa: E402 - Django is set up now.

for number in range(count):
    mail.send(
        [f"p{number}@acme.example"],
        "plant@acme.example",
        subject="Order {{ number }}",
        message="Order {{ number }} is late.\n",
        context={"number": number},
    )
began = time.perf_counter()
mail.send_queued()
seconds = time.perf_counter() - began
assert Email.objects.filter(status=STATUS.sent).count() == count
print(seconds, flush=True)
