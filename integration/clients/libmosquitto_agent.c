/* libmosquitto, driven as agent.h says: one thread, the library's own functions for a caller's loop. */
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <poll.h>
#include <unistd.h>

#include "agent.h"

static struct command command;
static int waiting; /* the packet id whose acknowledgement answers the command, or 0 */
static int over;

static void on_connect(struct mosquitto *m, void *o, int code, int flags, const mosquitto_property *p)
{
	(void)m, (void)o, (void)p;
	if (code)
		say_refused(code, mosquitto_connack_string(code));
	else
		say_ready(flags & 1);
}

static void acknowledged(int mid)
{
	if (mid != waiting)
		return;
	waiting = 0;
	say_result(command.id, 0, "");
}

static void on_publish(struct mosquitto *m, void *o, int mid, int code, const mosquitto_property *p)
{
	(void)m, (void)o, (void)p;
	if (code >= 0x80 && mid == waiting) {
		waiting = 0;
		say_result(command.id, code, mosquitto_reason_string(code));
	}
	acknowledged(mid);
}

static void on_subscribe(struct mosquitto *m, void *o, int mid, int n, const int *granted)
{
	(void)m, (void)o;
	if (mid == waiting && n == 1 && granted[0] >= 0x80) {
		waiting = 0;
		say_result(command.id, granted[0], "not granted");
	}
	acknowledged(mid);
}

static void on_message(struct mosquitto *m, void *o, const struct mosquitto_message *msg)
{
	(void)m, (void)o;
	say_message(msg->topic, msg->payload, msg->payloadlen, msg->qos, msg->retain);
}

static void obey(struct mosquitto *m, const char *line)
{
	int mid = 0, code = 0;
	if (!understand(line, &command))
		return;
	if (strcmp(command.verb, "publish") == 0) {
		code = mosquitto_publish(m, &mid, command.topic, command.length, command.payload, command.qos, command.retain);
		waiting = command.qos ? mid : 0; /* QoS 0 is done when it is written */
	} else if (strcmp(command.verb, "subscribe") == 0) {
		code = mosquitto_subscribe(m, &mid, command.topic, command.qos);
		waiting = mid;
	} else if (strcmp(command.verb, "quit") == 0) {
		code = mosquitto_disconnect(m);
		waiting = 0;
		over = 1;
	}
	if (code)
		waiting = 0;
	if (!waiting)
		say_result(command.id, code, mosquitto_strerror(code));
}

/* loop serves the connection and standard input until one of them ends. */
static int loop(struct mosquitto *m)
{
	static char line[2 * LINE];
	size_t have = 0;
	while (!over) {
		struct pollfd fds[] = {
			{.fd = 0, .events = POLLIN},
			{.fd = mosquitto_socket(m), .events = POLLIN | (mosquitto_want_write(m) ? POLLOUT : 0)},
		};
		int code = MOSQ_ERR_SUCCESS;
		poll(fds, 2, 1000);
		if (fds[1].revents & (POLLIN | POLLHUP | POLLERR))
			code = mosquitto_loop_read(m, 1);
		if (!code && mosquitto_want_write(m))
			code = mosquitto_loop_write(m, 1);
		if (!code)
			code = mosquitto_loop_misc(m);
		if (code)
			return code;
		if (fds[0].revents) {
			ssize_t n = read(0, line + have, sizeof line - have - 1);
			if (n <= 0)
				return mosquitto_disconnect(m);
			have += (size_t)n;
			line[have] = 0;
			for (char *end; (end = strchr(line, '\n')); have = strlen(line)) {
				*end = 0;
				obey(m, line);
				memmove(line, end + 1, strlen(end + 1) + 1);
			}
		}
	}
	return 0;
}

static int dial(struct mosquitto *m, int argc, char **argv)
{
	static unsigned char will[LINE];
	const char *version = option(argc, argv, "version"), *topic = option(argc, argv, "will");
	int five = strcmp(version, "5.0") == 0, keep = number(argc, argv, "keep");
	mosquitto_property *properties = NULL;

	mosquitto_int_option(m, MOSQ_OPT_PROTOCOL_VERSION,
		five ? MQTT_PROTOCOL_V5 : strcmp(version, "3.1") == 0 ? MQTT_PROTOCOL_V31 : MQTT_PROTOCOL_V311);
	if (option(argc, argv, "user"))
		mosquitto_username_pw_set(m, option(argc, argv, "user"), option(argc, argv, "password"));
	if (option(argc, argv, "ca"))
		mosquitto_tls_set(m, option(argc, argv, "ca"), NULL, NULL, NULL, NULL);
	if (topic)
		mosquitto_will_set(m, topic, bytes(option(argc, argv, "will_payload"), will), will,
			number(argc, argv, "will_qos"), number(argc, argv, "will_retain"));
	if (five)
		mosquitto_property_add_int32(&properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL, keep ? 3600 : 0);
	return mosquitto_connect_bind_v5(m, option(argc, argv, "host"), number(argc, argv, "port"), 60, NULL, properties);
}

int main(int argc, char **argv)
{
	mosquitto_lib_init();
	struct mosquitto *m = mosquitto_new(option(argc, argv, "client"), !number(argc, argv, "keep"), NULL);
	mosquitto_connect_v5_callback_set(m, on_connect);
	mosquitto_publish_v5_callback_set(m, on_publish);
	mosquitto_subscribe_callback_set(m, on_subscribe);
	mosquitto_message_callback_set(m, on_message);
	int code = dial(m, argc, argv);
	if (code)
		say_refused(code, mosquitto_strerror(code));
	else
		code = loop(m);
	mosquitto_destroy(m);
	mosquitto_lib_cleanup();
	return code != 0;
}
