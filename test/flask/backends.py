"""Where Flask keeps its sessions, by the example app's URLs; and how a test looks at a record there."""
import os
import socket
import struct
import time
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs, urlsplit


class Backend:
    def drop(self):
        """Nothing: the records of this run expire, or are in a directory of its own."""


class Redis(Backend):
    def __init__(self, app, url):
        import redis

        self.client = redis.Redis.from_url(url)
        app.config.update(SESSION_TYPE="redis", SESSION_REDIS=self.client)

    def raw(self, key):
        value = self.client.get(key)
        return None if value is None else (value, time.time() + self.client.pttl(key) / 1000)

    def put(self, key, value, lifetime):
        self.client.set(key, value, ex=lifetime)


class Memcached(Backend):
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


class Sql:
    drivers = {"postgres": "postgresql+psycopg", "mysql": "mysql+pymysql", "sqlite": "sqlite"}

    def __init__(self, app, url):
        from flask_sqlalchemy import SQLAlchemy
        from sqlalchemy import text

        parts = urlsplit(url)
        self.text = text
        self.app = app
        self.table = parse_qs(parts.query).get("table", ["sessions"])[0]
        scheme = self.drivers[parts.scheme]
        place = "//" + parts.path if scheme == "sqlite" else parts.netloc + parts.path
        app.config.update(
            SQLALCHEMY_DATABASE_URI=f"{scheme}:{'/' if scheme == 'sqlite' else '//'}{place}",
            SESSION_TYPE="sqlalchemy",
            SESSION_SQLALCHEMY_TABLE=self.table,
        )
        self.db = app.config["SESSION_SQLALCHEMY"] = SQLAlchemy(app)

    def run(self, statement, **values):
        with self.app.app_context(), self.db.engine.begin() as connection:
            result = connection.execute(self.text(statement), values)
            return result.fetchone() if result.returns_rows else None

    def drop(self):
        self.run(f"DROP TABLE {self.table}")

    def raw(self, key):
        row = self.run(f"SELECT data, expiry FROM {self.table} WHERE session_id = :key", key=key)
        if row is None:
            return None
        expiry = datetime.fromisoformat(row[1]) if isinstance(row[1], str) else row[1]
        return bytes(row[0]), expiry.replace(tzinfo=timezone.utc).timestamp()

    def put(self, key, value, lifetime):
        expiry = datetime.now(timezone.utc).replace(tzinfo=None) + timedelta(seconds=lifetime)
        text = expiry.strftime("%Y-%m-%d %H:%M:%S.%f")
        self.run(f"DELETE FROM {self.table} WHERE session_id = :key", key=key)
        self.run(
            f"INSERT INTO {self.table} (session_id, data, expiry) VALUES (:key, :value, :text)",
            key=key,
            value=value,
            text=text if self.app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite") else expiry,
        )


class Mongo:
    def __init__(self, app, url):
        from pymongo import MongoClient

        database = urlsplit(url).path[1:]
        client = MongoClient(url, serverSelectionTimeoutMS=5000)
        self.collection = client[database]["sessions"]
        app.config.update(SESSION_TYPE="mongodb", SESSION_MONGODB=client, SESSION_MONGODB_DB=database)

    def drop(self):
        self.collection.drop()

    def raw(self, key):
        found = self.collection.find_one({"id": key})
        if found is None:
            return None
        assert sorted(found) == ["_id", "expiration", "id", "val"], found
        return bytes(found["val"]), found["expiration"].replace(tzinfo=timezone.utc).timestamp()

    def put(self, key, value, lifetime):
        expiration = datetime.now(timezone.utc) + timedelta(seconds=lifetime)
        self.collection.update_one(
            {"id": key}, {"$set": {"id": key, "val": value, "expiration": expiration}}, upsert=True
        )


class Dynamo:
    def __init__(self, app, url):
        import boto3

        parts = urlsplit(url)
        resource = boto3.resource(
            "dynamodb",
            region_name=parts.hostname,
            endpoint_url=parse_qs(parts.query)["endpoint"][0],
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        name = parts.path[1:]
        self.table = resource.Table(name)
        app.config.update(SESSION_TYPE="dynamodb", SESSION_DYNAMODB=resource, SESSION_DYNAMODB_TABLE=name)

    def drop(self):
        self.table.delete()

    def raw(self, key):
        found = self.table.get_item(Key={"id": key}, ConsistentRead=True).get("Item")
        if found is None:
            return None
        assert sorted(found) == ["expiration", "id", "val"], found
        return bytes(found["val"].value), float(found["expiration"])

    def put(self, key, value, lifetime):
        self.table.put_item(Item={"id": key, "val": value, "expiration": int(time.time()) + lifetime})


class Files(Backend):
    def __init__(self, app, url):
        import hashlib

        from cachelib.file import FileSystemCache

        hash_method = getattr(hashlib, os.environ.get("SESSION_FILE_HASH", "sha256"))
        self.cache = FileSystemCache(urlsplit(url).path, threshold=500, hash_method=hash_method)
        app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=self.cache)

    def raw(self, key):
        try:
            with open(self.cache._get_filename(key), "rb") as file:
                content = file.read()
        except FileNotFoundError:
            return None
        return content[4:], struct.unpack("I", content[:4])[0]

    def put(self, key, value, lifetime):
        with open(self.cache._get_filename(key), "wb") as file:
            file.write(struct.pack("I", int(time.time()) + lifetime) + value)


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


kinds = {"redis": Redis, "dynamodb": Dynamo, "file": Files, "memcached": Memcached, "mongodb": Mongo, "postgres": Sql, "mysql": Sql, "sqlite": Sql}


def backend_of(app, url):
    return kinds[urlsplit(url).scheme](app, url)
