"""A session interface of Flask that writes only over what it has read."""
from flask import g
from flask_session.redis import RedisSessionInterface

WRITE = """
local stored = redis.call('GET', KEYS[1]) or ''
if stored ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""


class Stale(Exception):
    """Another request has written or deleted the session since this one read it."""


class ComparingRedisSessionInterface(RedisSessionInterface):
    def _retrieve_session_data(self, store_id):
        stored = self.client.get(store_id) or b""
        g.stored_session = (store_id, stored)
        return self.serializer.decode(stored) if stored else None

    def _upsert_session(self, session_lifetime, session, store_id):
        read_id, read = g.get("stored_session", (None, b""))
        expected = read if read_id == store_id else b""  # a new id: nothing may be there
        value = self.serializer.encode(session)
        seconds = int(session_lifetime.total_seconds())
        if not self.client.eval(WRITE, 1, store_id, expected, value, seconds):
            raise Stale

    def save_session(self, app, session, response):
        try:
            super().save_session(app, session, response)
        except Stale:
            if session.modified:  # a mere refresh has lost nothing
                response.status = 409
                response.data = "The session was changed by another request."
