# --- snippet ---
import pymemcache
from django.conf import settings
from django.core.cache.backends.memcached import PyMemcacheCache


class LoginClient(pymemcache.Client):
    def _connect(self):
        super()._connect()
        login = settings.MEMCACHE_LOGIN.encode()  # "user password"
        self.sock.sendall(b"set login 0 0 %d\r\n%s\r\n" % (len(login), login))
        answer = self.sock.recv(1024)
        if answer != b"STORED\r\n":
            raise pymemcache.MemcacheServerError(answer)


class LoginHashClient(pymemcache.HashClient):
    client_class = LoginClient


class LoginCache(PyMemcacheCache):
    def __init__(self, server, params):
        super().__init__(server, params)
        self._class = LoginHashClient
# --- end ---
