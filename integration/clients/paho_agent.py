#!/usr/bin/python3
"""Paho for Python, driven by JSON lines on standard input; what it receives it prints as JSON lines.

    paho_agent.py '{"host":"127.0.0.1","port":1883,"client":"phone","version":"5.0","clean":false}'
    {"id":1,"do":"publish","topic":"a/b","payload":"6869","qos":1}   ->   {"event":"result","id":1,"ok":true}

Payloads are hexadecimal. A publish is answered when the hub has acknowledged it.
"""
import json
import ssl
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

VERSIONS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5.0": mqtt.MQTTv5}
waiting = {}  # (kind, packet id) -> the command's id
early = set()  # acknowledgements that came before the call returned


speaking = threading.Lock()  # Paho calls back on a thread of its own


def say(event, **fields):
    with speaking:
        print(json.dumps({"event": event, **fields}), flush=True)


def done(kind, mid):
    if (kind, mid) in waiting:
        say("result", id=waiting.pop((kind, mid)), ok=True)
    else:
        early.add((kind, mid))


def expect(kind, mid, command):
    waiting[(kind, mid)] = command
    if (kind, mid) in early:
        early.discard((kind, mid))
        done(kind, mid)


def dial(o):
    version = VERSIONS[o.get("version", "3.1.1")]
    five = version == mqtt.MQTTv5
    c = mqtt.Client(o["client"], protocol=version, transport=o.get("transport", "tcp"),
                    **({} if five else {"clean_session": o.get("clean", True)}))
    if "user" in o:
        c.username_pw_set(o["user"], o["password"])
    if "ca" in o:
        c.tls_set(ca_certs=o["ca"], tls_version=ssl.PROTOCOL_TLS_CLIENT)
    if "will" in o:
        c.will_set(o["will"], bytes.fromhex(o["will_payload"]), o.get("will_qos", 0), o.get("will_retain", False))
    c.on_connect = lambda c, u, flags, rc, *_: say(
        "ready" if rc == 0 else "refused", present=bool(flags["session present"]), error=str(rc))
    c.on_disconnect = lambda c, u, rc, *_: say("disconnected", error=str(rc))
    c.on_publish = lambda c, u, mid: done("publish", mid)
    c.on_unsubscribe = lambda c, u, mid, *_: done("unsubscribe", mid)
    c.on_message = lambda c, u, m: say(
        "message", topic=m.topic, payload=m.payload.hex(), qos=m.qos, retain=bool(m.retain), dup=bool(m.dup))

    def on_subscribe(c, u, mid, codes, *_):
        say("granted", codes=[getattr(code, "value", code) for code in codes])
        done("subscribe", mid)

    c.on_subscribe = on_subscribe
    extra = {}
    if five:
        extra["clean_start"] = o.get("clean", True)
        extra["properties"] = Properties(PacketTypes.CONNECT)
        extra["properties"].SessionExpiryInterval = 0 if o.get("clean", True) else 3600
    c.connect(o["host"], o["port"], keepalive=60, **extra)
    return c


def obey(client, c):
    match c["do"]:
        case "publish":
            info = client.publish(c["topic"], bytes.fromhex(c["payload"]), c.get("qos", 0), c.get("retain", False))
            expect("publish", info.mid, c["id"])
        case "subscribe":
            expect("subscribe", client.subscribe(c["topic"], c.get("qos", 0))[1], c["id"])
        case "unsubscribe":
            expect("unsubscribe", client.unsubscribe(c["topic"])[1], c["id"])
        case "quit":
            client.disconnect()
            say("result", id=c["id"], ok=True)


def main():
    client = dial(json.loads(sys.argv[1]))
    client.loop_start()
    for line in sys.stdin:
        obey(client, json.loads(line))
    client.disconnect()
    client.loop_stop()


main()
