"""Reads events, one a line, with the types of quicktype (event.py) and of Modelina
(package guestflow), and writes each back as JSON, with either, one after another."""
import enum, importlib, json, sys

import event


def plain(value):
    if isinstance(value, enum.Enum):
        return value.value
    if hasattr(value, "__dict__"):
        return {name[1:]: plain(v) for name, v in vars(value).items()}
    return value


for line in sys.stdin:
    body = json.loads(line)
    kind = body["type"].split(".")[2]
    print(json.dumps(event.event_to_dict(event.event_from_dict(body))))
    module = importlib.import_module(f"guestflow.{kind}_event")
    print(json.dumps(plain(getattr(module, kind.capitalize() + "Event")(body))))
