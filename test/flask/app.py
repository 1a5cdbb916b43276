"""A Flask app with Flask-Session 0.8, by the same variables as the example app. Prints its port."""
import os
import time
import uuid  # noqa: F401  for expressions
from datetime import date, datetime, time as clock, timedelta, timezone  # noqa: F401
from decimal import Decimal  # noqa: F401

from flask import Flask, flash, get_flashed_messages, jsonify, request, session
from flask_session import Session
from werkzeug.serving import make_server

from backends import backend_of

env = os.environ.get
app = Flask(__name__)
app.secret_key = env("SECRET_KEY", "unused")
app.config.update(
    SESSION_PERMANENT=env("SESSION_PERMANENT", "true") == "true",
    PERMANENT_SESSION_LIFETIME=timedelta(seconds=int(env("PERMANENT_SESSION_LIFETIME", "2678400"))),
    SESSION_REFRESH_EACH_REQUEST=env("SESSION_REFRESH_EACH_REQUEST", "true") == "true",
    SESSION_USE_SIGNER=env("SESSION_USE_SIGNER", "false") == "true",
    SESSION_KEY_PREFIX=env("SESSION_KEY_PREFIX", "session:"),
    SESSION_ID_LENGTH=int(env("SESSION_ID_LENGTH", "32")),
    SESSION_SERIALIZATION_FORMAT=env("SESSION_SERIALIZATION_FORMAT", "msgpack"),
)
backend = backend_of(app, env("SESSION_STORE"))
Session(app)
if env("COMPARING") == "true":
    from comparing import ComparingRedisSessionInterface

    app.session_interface = ComparingRedisSessionInterface(
        app,
        client=app.config["SESSION_REDIS"],
        key_prefix=app.config["SESSION_KEY_PREFIX"],
    )


def store_id():
    return app.config["SESSION_KEY_PREFIX"] + request.args["sid"]


@app.get("/flask/none")
def none():
    return "none"


@app.get("/flask/get")
def get():
    return jsonify(value=session.get(request.args["key"]))


@app.get("/flask/repr")
def show():
    time.sleep(int(request.args.get("ms", 0)) / 1000)
    return jsonify(value=repr({key: value for key, value in session.items() if key != "_permanent"}))


@app.post("/flask/set")
def put():
    """Stores the value of a Python expression."""
    time.sleep(int(request.json.get("delayMs", 0)) / 1000)
    session[request.json["key"]] = eval(request.json["value"])
    return jsonify(ok=True)


@app.post("/flask/delete")
def delete():
    session.pop(request.json["key"], None)
    return jsonify(ok=True)


@app.post("/flask/login")
def login():
    app.session_interface.regenerate(session)
    session["user"] = request.json["user"]
    return jsonify(ok=True)


@app.post("/flask/logout")
def logout():
    session.clear()
    return jsonify(ok=True)


@app.post("/flask/flash")
def add_flash():
    flash(request.json["message"], request.json.get("category", "message"))
    return jsonify(ok=True)


@app.get("/flask/flashed")
def flashed():
    return jsonify(messages=get_flashed_messages(with_categories=True))


@app.get("/flask/raw")
def raw():
    """A record as it is stored: its bytes in hex, and its deadline as seconds since the epoch."""
    found = backend.raw(store_id())
    return jsonify(None if found is None else {"hex": found[0].hex(), "expiry": found[1]})


@app.post("/flask/raw")
def put_raw():
    backend.put(store_id(), bytes.fromhex(request.json["hex"]), int(request.json.get("lifetime", 3600)))
    return jsonify(ok=True)


@app.post("/flask/drop")
def drop():
    """Removes the table or database of this run."""
    backend.drop()
    return jsonify(ok=True)


server = make_server("127.0.0.1", 0, app, threaded=True)
print(f"on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
