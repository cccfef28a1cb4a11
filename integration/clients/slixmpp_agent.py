#!/usr/bin/python3
"""Slixmpp, driven by JSON lines on standard input; what it receives it prints as JSON lines.

    slixmpp_agent.py JID PASSWORD HOST PORT [plain|starttls|tls]
    {"id":1,"do":"subscribe","node":"a/b"}   ->   {"event":"result","id":1,"ok":true}

The hub's certificate is checked against $SSL_CERT_FILE.
"""
import asyncio
import json
import sys
import xml.etree.ElementTree as ET

import slixmpp
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

EVENT = "{http://jabber.org/protocol/pubsub#event}"


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def element(e):
    """What a program reads from an element: its name, attributes and character data."""
    space, _, name = e.tag.rpartition("}")
    return {"name": name, "xmlns": space[1:], "attrs": dict(e.attrib), "text": e.text or "",
            "children": [element(c) for c in e]}


def item(e, node):
    return {"node": node, "item": e.get("id", ""), "payload": element(e[0]) if len(e) else None}


class Agent(slixmpp.ClientXMPP):
    def __init__(self, jid, password):
        super().__init__(jid, password)
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0054")
        self.register_plugin("xep_0060")
        self.register_plugin("xep_0191")
        self.register_plugin("xep_0199")
        self.register_plugin("xep_0280")
        self.add_event_handler("session_start", self.started)
        self.add_event_handler("failed_all_auth", lambda _: say("refused"))
        self.add_event_handler("stream_error", lambda e: say("stream-error", error=e["condition"]))
        self.add_event_handler("disconnected", lambda _: say("disconnected"))
        for kind in ("sent", "received"):
            self.add_event_handler("carbon_" + kind, lambda m, kind=kind: self.carbon(kind, m))
        for kind, handler in (("message", self.message), ("presence", self.presence)):
            self.register_handler(Callback(kind + " seen", MatchXPath("{jabber:client}" + kind), handler))

    async def started(self, _):
        await self.get_roster()
        self.send_presence()
        await self["xep_0199"].ping(self.boundjid.domain)  # the hub has read the presence
        say("ready", jid=self.boundjid.full)

    def message(self, m):
        items = [item(i, group.get("node"))
                 for group in m.xml.iterfind(f"{EVENT}event/{EVENT}items")
                 for i in group.iterfind(EVENT + "item")]
        say("message", **{"from": str(m["from"]), "type": m["type"], "body": m["body"], "items": items,
                          "children": [element(c) for c in m.xml]})

    def carbon(self, kind, m):
        copy = m["carbon_" + kind]
        say("carbon", kind=kind, **{"from": str(copy["from"]), "to": str(copy["to"]), "body": copy["body"]})

    def presence(self, p):
        say("presence", **{"from": str(p["from"]), "type": p.xml.get("type", ""), "status": p["status"]})

    async def obey(self, c):
        pubsub, service = self["xep_0060"], "pubsub." + self.boundjid.domain
        match c["do"]:
            case "subscribe":
                await pubsub.subscribe(service, c["node"], bare=False)
            case "unsubscribe":
                await pubsub.unsubscribe(service, c["node"], bare=False)
            case "items":
                got = await pubsub.get_items(service, c["node"])
                path = "{http://jabber.org/protocol/pubsub}"
                return {"items": [item(i, c["node"]) for i in got.xml.iter(path + "item")]}
            case "publish":
                await pubsub.publish(service, c["node"], payload=ET.fromstring(c["xml"]))
            case "send":
                m = self.make_message(c["to"], c.get("body"), mtype=c.get("type", "chat"))
                if "xml" in c:
                    m.append(ET.fromstring(c["xml"]))
                m.send()
                await self["xep_0199"].ping(self.boundjid.domain)  # the hub has read the message
            case "carbons":
                await self["xep_0280"].enable()
            case "presence":
                self.send_presence(pshow=c.get("show"), pstatus=c.get("status"))
            case "block":
                await self["xep_0191"].block(c["jids"])
            case "unblock":
                await self["xep_0191"].unblock(c["jids"])
            case "blocked":
                got = await self["xep_0191"].get_blocked()
                return {"children": [element(i) for i in got.xml.iter("{urn:xmpp:blocking}item")]}
            case "set vcard":
                card = self["xep_0054"].make_vcard()
                card["FN"] = c["name"]
                await self["xep_0054"].publish_vcard(card)
            case "vcard":
                got = await self["xep_0054"].get_vcard(c["jid"], local=False)
                return {"children": [element(i) for i in got.xml.iter("{vcard-temp}FN")]}
            case "quit":
                self.disconnect()
        return {}

    async def answer(self, c):
        try:
            say("result", id=c["id"], ok=True, **await self.obey(c))
        except IqError as e:
            say("result", id=c["id"], ok=False, error=e.condition)
        except IqTimeout:
            say("result", id=c["id"], ok=False, error="timeout")


async def main(jid, password, host, port, security="starttls"):
    agent = Agent(jid, password)
    agent["feature_mechanisms"].unencrypted_plain = security == "plain"
    agent.connect((host, int(port)), use_ssl=security == "tls",
                  force_starttls=security == "starttls", disable_starttls=security == "plain")
    lines = asyncio.StreamReader(limit=16 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        asyncio.ensure_future(agent.answer(json.loads(line)))
    await asyncio.wait([agent.disconnect()], timeout=2)


asyncio.get_event_loop().run_until_complete(main(*sys.argv[1:]))
