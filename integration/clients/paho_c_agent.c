/* Paho for C, its client that blocks (MQTTClient), driven as agent.h says. */
#include <MQTTClient.h>

#include "agent.h"

static const unsigned long patience = 30000; /* milliseconds */

static int on_message(void *context, char *topic, int length, MQTTClient_message *m)
{
	(void)context, (void)length;
	say_message(topic, m->payload, m->payloadlen, m->qos, m->retained);
	MQTTClient_freeMessage(&m);
	MQTTClient_free(topic);
	return 1;
}

static void on_lost(void *context, char *cause)
{
	(void)context, (void)cause;
	puts("{\"event\":\"disconnected\"}");
	fflush(stdout);
}

static int publish(MQTTClient client, int five, struct command *c)
{
	MQTTClient_message m = MQTTClient_message_initializer;
	MQTTClient_deliveryToken token;
	m.payload = c->payload;
	m.payloadlen = c->length;
	m.qos = c->qos;
	m.retained = c->retain;
	if (five) {
		MQTTResponse r = MQTTClient_publishMessage5(client, c->topic, &m, &token);
		int code = r.reasonCode;
		MQTTResponse_free(r);
		return code ? code : MQTTClient_waitForCompletion(client, token, patience);
	}
	int code = MQTTClient_publishMessage(client, c->topic, &m, &token);
	return code ? code : MQTTClient_waitForCompletion(client, token, patience);
}

static int subscribe(MQTTClient client, int five, struct command *c)
{
	if (!five)
		return MQTTClient_subscribe(client, c->topic, c->qos);
	MQTTResponse r = MQTTClient_subscribe5(client, c->topic, c->qos, NULL, NULL);
	int code = r.reasonCode;
	MQTTResponse_free(r);
	return code == c->qos ? 0 : code; /* the answer is the QoS that was granted */
}

static int dial(MQTTClient client, int five, int argc, char **argv)
{
	static unsigned char payload[LINE];
	MQTTClient_connectOptions three = MQTTClient_connectOptions_initializer;
	MQTTClient_connectOptions fives = MQTTClient_connectOptions_initializer5;
	MQTTClient_connectOptions *o = five ? &fives : &three;
	MQTTClient_SSLOptions ssl = MQTTClient_SSLOptions_initializer;
	MQTTClient_willOptions will = MQTTClient_willOptions_initializer;
	int keep = number(argc, argv, "keep");

	o->keepAliveInterval = 60;
	o->username = option(argc, argv, "user");
	o->password = option(argc, argv, "password");
	if (option(argc, argv, "ca")) {
		ssl.trustStore = option(argc, argv, "ca");
		ssl.verify = 1;
		o->ssl = &ssl;
	}
	if (option(argc, argv, "will")) {
		will.topicName = option(argc, argv, "will");
		will.payload.len = bytes(option(argc, argv, "will_payload"), payload);
		will.payload.data = payload;
		will.qos = number(argc, argv, "will_qos");
		will.retained = number(argc, argv, "will_retain");
		o->will = &will;
	}
	if (five) {
		MQTTProperties properties = MQTTProperties_initializer;
		MQTTProperty expiry = {.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL};
		expiry.value.integer4 = keep ? 3600 : 0;
		MQTTProperties_add(&properties, &expiry);
		o->cleanstart = !keep;
		MQTTResponse r = MQTTClient_connect5(client, o, &properties, NULL);
		int code = r.reasonCode;
		MQTTResponse_free(r);
		MQTTProperties_free(&properties);
		if (code == 0)
			say_ready(fives.returned.sessionPresent);
		return code;
	}
	o->cleansession = !keep;
	o->MQTTVersion = strcmp(option(argc, argv, "version"), "3.1") == 0 ? MQTTVERSION_3_1 : MQTTVERSION_3_1_1;
	int code = MQTTClient_connect(client, o);
	if (code == 0)
		say_ready(three.returned.sessionPresent);
	return code;
}

int main(int argc, char **argv)
{
	static char line[2 * LINE], url[256];
	static struct command command;
	int five = strcmp(option(argc, argv, "version"), "5.0") == 0;
	MQTTClient_createOptions how = MQTTClient_createOptions_initializer;
	MQTTClient client;

	how.MQTTVersion = five ? MQTTVERSION_5 : MQTTVERSION_DEFAULT;
	snprintf(url, sizeof url, "%s://%s:%d", option(argc, argv, "ca") ? "ssl" : "tcp",
		option(argc, argv, "host"), number(argc, argv, "port"));
	int code = MQTTClient_createWithOptions(&client, url, option(argc, argv, "client"), MQTTCLIENT_PERSISTENCE_NONE, NULL, &how);
	if (code == 0)
		code = MQTTClient_setCallbacks(client, NULL, on_lost, on_message, NULL);
	if (code == 0)
		code = dial(client, five, argc, argv);
	if (code) {
		say_refused(code, "connecting");
		return 1;
	}
	while (fgets(line, sizeof line, stdin) && understand(line, &command)) {
		if (strcmp(command.verb, "publish") == 0)
			code = publish(client, five, &command);
		else if (strcmp(command.verb, "subscribe") == 0)
			code = subscribe(client, five, &command);
		else
			break;
		say_result(command.id, code, command.verb);
	}
	code = five ? MQTTClient_disconnect5(client, 1000, MQTTREASONCODE_SUCCESS, NULL) : MQTTClient_disconnect(client, 1000);
	say_result(command.id, code, "quit");
	MQTTClient_destroy(&client);
	return 0;
}
