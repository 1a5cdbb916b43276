"""Answers batches of questions, one JSON line each, with Python's own msgspec and pickle."""
import datetime, decimal, json, pickle, re, struct, sys, uuid
import msgspec

MICRO = datetime.timedelta(microseconds=1)


def seconds_text(delta):
    micros = delta // MICRO
    size = abs(micros)
    fraction = f"{size % 10**6:06}".rstrip("0") or "0"
    return f"{'-' if micros < 0 else ''}{size // 10**6}.{fraction}"


def delta_of(text):
    sign = -1 if text.startswith("-") else 1
    whole, fraction = text.lstrip("-").split(".")
    return sign * (datetime.timedelta(seconds=int(whole)) + datetime.timedelta(microseconds=int(fraction.ljust(6, "0"))))


def with_zone(parse):
    """Python 3.11 drops the microseconds of an offset that is less than a second."""
    def read(text):
        match = re.search(r"([+-])00:00:00\.(\d{6})$", text)
        if match is None:
            return parse(text)
        offset = int(match[1] + match[2]) * MICRO
        return parse(text[: match.start()]).replace(tzinfo=datetime.timezone(offset))
    return read


LEAVES = {
    "str": lambda v: v,
    "int": int,
    "bytes": bytes.fromhex,
    "datetime": with_zone(datetime.datetime.fromisoformat),
    "date": datetime.date.fromisoformat,
    "time": with_zone(datetime.time.fromisoformat),
    "timedelta": delta_of,
    "decimal": decimal.Decimal,
    "uuid": uuid.UUID,
}
CONTAINERS = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


def to_python(tagged):
    if tagged is None or isinstance(tagged, bool):
        return tagged
    kind = tagged["t"]
    if kind == "float":
        return struct.unpack(">d", bytes.fromhex(tagged["hex"]))[0]
    if kind == "dict":
        return {to_python(key): to_python(value) for key, value in tagged["v"]}
    if kind == "ext":
        return msgspec.msgpack.Ext(tagged["code"], bytes.fromhex(tagged["v"]))
    if kind in CONTAINERS:
        return CONTAINERS[kind](to_python(item) for item in tagged["v"])
    return LEAVES[kind](tagged["v"])


def to_tagged(value):
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, msgspec.msgpack.Ext):
        return {"t": "ext", "code": value.code, "v": bytes(value.data).hex()}
    kind = type(value).__name__.lower()
    if kind == "float":
        return {"t": kind, "hex": struct.pack(">d", value).hex()}
    if kind == "dict":
        return {"t": kind, "v": [[to_tagged(key), to_tagged(item)] for key, item in value.items()]}
    if kind in CONTAINERS:
        return {"t": kind, "v": [to_tagged(item) for item in value]}
    if kind == "bytes":
        return {"t": kind, "v": value.hex()}
    if kind == "datetime":
        return {"t": kind, "v": value.isoformat(), "aware": value.tzinfo is not None, "fold": value.fold}
    if kind == "time":
        return {"t": kind, "v": value.isoformat(), "fold": value.fold}
    if kind == "date":
        return {"t": kind, "v": value.isoformat()}
    if kind == "timedelta":
        return {"t": kind, "v": seconds_text(value)}
    return {"t": kind, "v": str(value)}


def attempt(run):
    try:
        return {"ok": run()}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


FORMATS = {"msgpack": msgspec.msgpack, "json": msgspec.json}


def encode(tagged):
    value = to_python(tagged)
    return {name: attempt(lambda: module.encode(value).hex()) for name, module in FORMATS.items()}


def decode(item):
    return attempt(lambda: to_tagged(FORMATS[item["format"]].decode(bytes.fromhex(item["hex"]))))


def dump(tagged):
    """The pickles of a value in all protocols, and each as Flask-Session would rewrite it."""
    value = to_python(tagged)
    pickles = [pickle.dumps(value, protocol) for protocol in range(6)]
    return {
        "pickles": [data.hex() for data in pickles],
        "value": to_tagged(value),
        "msgpack": [attempt(lambda: msgspec.msgpack.encode(pickle.loads(data)).hex()) for data in pickles],
    }


def load(hexed):
    return attempt(lambda: to_tagged(pickle.loads(bytes.fromhex(hexed))))


QUESTIONS = {"encode": encode, "decode": decode, "dump": dump, "load": load}

for line in sys.stdin:
    question = json.loads(line)
    answers = [QUESTIONS[question["ask"]](item) for item in question["items"]]
    print(json.dumps(answers), flush=True)
