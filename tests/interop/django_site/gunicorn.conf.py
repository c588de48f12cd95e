import os

# Port 0: a free one, which gunicorn prints as it starts.
bind = "127.0.0.1:" + os.environ.get("PORT", "0")
workers = 1
