"""Where Flask keeps its sessions, by the example app's URLs; and how a test looks at a record there."""
import calendar
import os
import socket
import struct
import time
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs, urlsplit


class Redis:
    def __init__(self, app, url):
        import redis

        self.client = redis.Redis.from_url(url)
        app.config.update(SESSION_TYPE="redis", SESSION_REDIS=self.client)

    def raw(self, key):
        value = self.client.get(key)
        return None if value is None else (value, time.time() + self.client.pttl(key) / 1000)

    def put(self, key, value, lifetime):
        self.client.set(key, value, ex=lifetime)


class Memcached:
    def __init__(self, app, url):
        from pymemcache.client.base import Client

        parts = urlsplit(url)
        self.address = (parts.hostname, parts.port)
        # one connection a thread: without noreply, Flask's answer comes after its write
        self.make = lambda: Client(self.address, default_noreply=False)
        app.config.update(SESSION_TYPE="memcached", SESSION_MEMCACHED=PerCall(self.make))

    def raw(self, key):
        client = self.make()
        value = client.get(key)
        # pymemcache has no meta commands
        reply = meta(self.address, f"mg {key} t\r\n")
        return None if value is None else (value, time.time() + int(reply.split("t")[1]))

    def put(self, key, value, lifetime):
        self.make().set(key, value, expire=lifetime if lifetime <= 2592000 else lifetime + int(time.time()))


class PerCall:
    """pymemcache's client is for one thread: each call takes one of its own."""

    def __init__(self, make):
        self.make = make

    def __getattr__(self, name):
        return getattr(self.make(), name)


def meta(address, command):
    with socket.create_connection(address) as connection:
        connection.sendall(command.encode())
        return connection.recv(1000).decode().strip()


kinds = {"redis": Redis, "memcached": Memcached}


def backend_of(app, url):
    return kinds[urlsplit(url).scheme](app, url)
