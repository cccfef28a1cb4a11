// MQTT.js, driven by JSON lines on standard input; what it receives it prints as JSON lines.
//
//   node agent.js '{"url":"mqtt://127.0.0.1:1883","client":"phone","version":"5.0","clean":false}'
//   {"id":1,"do":"publish","topic":"a/b","payload":"6869","qos":1}   ->   {"event":"result","id":1,"ok":true}
//
// The URL names the transport: mqtt, mqtts, ws or wss. Payloads are hexadecimal. A publish is
// answered when the hub has acknowledged it. The hub's certificate is checked against $NODE_EXTRA_CA_CERTS.
import { createInterface } from "node:readline";
import mqtt from "mqtt";

const o = JSON.parse(process.argv[2]);
const say = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));

const versions = {
  "3.1": { protocolId: "MQIsdp", protocolVersion: 3 },
  "3.1.1": { protocolVersion: 4 },
  "5.0": { protocolVersion: 5, properties: { sessionExpiryInterval: o.clean ? 0 : 3600 } },
};
const will = o.will && {
  topic: o.will,
  payload: Buffer.from(o.will_payload, "hex"),
  qos: o.will_qos ?? 0,
  retain: o.will_retain ?? false,
};

const client = mqtt.connect(o.url, {
  ...versions[o.version],
  clientId: o.client,
  clean: o.clean,
  username: o.user,
  password: o.password,
  reconnectPeriod: 0,
  will,
});

client.on("connect", ({ sessionPresent }) => say("ready", { present: sessionPresent }));
client.on("error", (err) => say("refused", { error: String(err) }));
client.on("close", () => say("disconnected"));
client.on("message", (topic, payload, { qos, retain, dup }) =>
  say("message", { topic, payload: payload.toString("hex"), qos, retain, dup }),
);

const verbs = {
  publish: ({ topic, payload, qos = 0, retain = false }) =>
    client.publishAsync(topic, Buffer.from(payload, "hex"), { qos, retain }),
  subscribe: ({ topic, qos = 0 }) => client.subscribeAsync(topic, { qos }),
  unsubscribe: ({ topic }) => client.unsubscribeAsync(topic),
  quit: () => client.endAsync(),
};

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const command = JSON.parse(line);
  try {
    await verbs[command.do](command);
    say("result", { id: command.id, ok: true });
  } catch (err) {
    say("result", { id: command.id, ok: false, error: String(err) });
  }
});
lines.on("close", () => client.end());
