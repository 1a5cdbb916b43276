"""Where Flask keeps its sessions, by the example app's URLs; and how a test looks at a record there."""
import calendar
import os
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


kinds = {"redis": Redis}


def backend_of(app, url):
    return kinds[urlsplit(url).scheme](app, url)
