// @xmpp/client, driven by JSON lines on standard input; what it receives it prints as JSON lines.
//
//   node agent.js JID PASSWORD SERVICE      (SERVICE: xmpp://host:port or xmpps://host:port)
//   {"id":1,"do":"subscribe","node":"a/b"}   ->   {"event":"result","id":1,"ok":true}
//
// The hub's certificate is checked against $NODE_EXTRA_CA_CERTS.
import { createInterface } from "node:readline";
import { client, jid, xml } from "@xmpp/client";
import parse from "@xmpp/xml/lib/parse.js";

const PUBSUB = "http://jabber.org/protocol/pubsub";
const [address, password, service] = process.argv.slice(2);
const me = jid(address);
const pubsub = `pubsub.${me.domain}`;

const say = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));

// What a program reads from an element: its name, attributes and character data.
const element = (e) => ({
  name: e.getName(),
  xmlns: e.getNS() ?? "",
  attrs: e.attrs,
  text: e.getText(),
  children: e.getChildElements().map(element),
});

const itemsOf = (parent) =>
  (parent?.getChildren("items") ?? []).flatMap((items) =>
    items.getChildren("item").map((item) => {
      const [payload] = item.getChildElements();
      return { node: items.attrs.node, item: item.attrs.id ?? "", payload: payload ? element(payload) : null };
    }),
  );

const xmpp = client({
  service,
  domain: me.domain,
  username: me.local,
  password,
  resource: me.resource || undefined,
});

const ping = () => xmpp.iqCaller.get(xml("ping", "urn:xmpp:ping"));

xmpp.on("online", async (bound) => {
  await xmpp.iqCaller.get(xml("query", "jabber:iq:roster"));
  await xmpp.send(xml("presence"));
  await ping(); // the hub has read the presence
  say("ready", { jid: bound.toString() });
});
xmpp.on("offline", () => say("disconnected"));
xmpp.on("error", (err) => {
  say(err.name === "SASLError" ? "refused" : "failure", { error: String(err) });
  if (err.name === "SASLError") process.exit(1);
});

xmpp.on("stanza", (stanza) => {
  const { from, type = "" } = stanza.attrs;
  if (stanza.is("message")) {
    const event = stanza.getChild("event", `${PUBSUB}#event`);
    const body = stanza.getChildText("body") ?? "";
    say("message", { from, type, body, items: itemsOf(event), children: stanza.getChildElements().map(element) });
  }
  if (stanza.is("presence")) {
    say("presence", { from, type, status: stanza.getChildText("status") ?? "" });
  }
});

const set = (child) => xmpp.iqCaller.set(xml("pubsub", PUBSUB, child), pubsub);

const verbs = {
  subscribe: ({ node }) => set(xml("subscribe", { node, jid: xmpp.jid.toString() })),
  unsubscribe: ({ node }) => set(xml("unsubscribe", { node, jid: xmpp.jid.toString() })),
  publish: ({ node, xml: payload }) => set(xml("publish", { node }, xml("item", {}, parse(payload)))),
  items: async ({ node }) => {
    const got = await xmpp.iqCaller.get(xml("pubsub", PUBSUB, xml("items", { node })), pubsub);
    return { items: itemsOf(got) };
  },
  send: async ({ to, type = "chat", body, xml: payload }) => {
    const children = [body === undefined ? null : xml("body", {}, body), payload && parse(payload)];
    await xmpp.send(xml("message", { to, type }, ...children.filter(Boolean)));
    await ping(); // the hub has read the message
  },
  presence: ({ show, status }) =>
    xmpp.send(xml("presence", {}, show && xml("show", {}, show), status && xml("status", {}, status))),
  quit: () => xmpp.stop(),
};

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const command = JSON.parse(line);
  try {
    const got = await verbs[command.do](command);
    say("result", { id: command.id, ok: true, items: got?.items });
  } catch (err) {
    say("result", { id: command.id, ok: false, error: err.condition ?? String(err) });
  }
});
lines.on("close", () => xmpp.stop());

xmpp.start().catch(() => {}); // reported by the error handler
