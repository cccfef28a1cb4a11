/*
 * What the agents in C share. An agent is told how to connect by arguments such as client=phone, and
 * what to do by lines on standard input, each with a number that its answer carries:
 *
 *     7 publish QOS RETAIN PAYLOAD TOPIC     PAYLOAD is hexadecimal, or - if it is empty
 *     8 subscribe QOS FILTER
 *     9 quit
 *
 * What it receives and how it fares it prints as JSON lines, like the other agents. Everything is
 * printed by one call, so that lines of two threads do not mix.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 1 << 20 };

struct command {
	int id;
	char verb[16];
	int qos;
	int retain;
	unsigned char payload[LINE / 2];
	int length;
	char topic[LINE];
};

/* option is the value of an argument NAME=VALUE, or null. */
static inline const char *option(int argc, char **argv, const char *name)
{
	size_t n = strlen(name);
	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], name, n) == 0 && argv[i][n] == '=')
			return argv[i] + n + 1;
	return NULL;
}

/* number is the value of an argument as a number; 0 if it is not there. */
static inline int number(int argc, char **argv, const char *name)
{
	const char *value = option(argc, argv, name);
	return value ? atoi(value) : 0;
}

/* bytes decodes hexadecimal digits and returns how many bytes they make. */
static inline int bytes(const char *hex, unsigned char *out)
{
	int n = 0;
	for (unsigned v; sscanf(hex + 2 * n, "%2x", &v) == 1; n++)
		out[n] = (unsigned char)v;
	return n;
}

/* understand reads a command; 0 if it is none. */
static inline int understand(const char *line, struct command *c)
{
	static char hex[LINE];
	c->topic[0] = hex[0] = 0;
	c->qos = c->retain = c->length = 0;
	if (sscanf(line, "%d %15s", &c->id, c->verb) != 2)
		return 0;
	if (strcmp(c->verb, "publish") == 0) {
		if (sscanf(line, "%*d %*s %d %d %1048575s %1048575[^\n]", &c->qos, &c->retain, hex, c->topic) != 4)
			return 0;
		c->length = bytes(hex, c->payload);
	} else if (strcmp(c->verb, "subscribe") == 0) {
		return sscanf(line, "%*d %*s %d %1048575[^\n]", &c->qos, c->topic) == 2;
	}
	return 1;
}

static inline void say_result(int id, int code, const char *error)
{
	printf("{\"event\":\"result\",\"id\":%d,\"ok\":%s,\"error\":\"%s (%d)\"}\n", id, code ? "false" : "true", error, code);
	fflush(stdout);
}

static inline void say_ready(int present)
{
	printf("{\"event\":\"ready\",\"present\":%s}\n", present ? "true" : "false");
	fflush(stdout);
}

static inline void say_refused(int code, const char *error)
{
	printf("{\"event\":\"refused\",\"error\":\"%s (%d)\"}\n", error, code);
	fflush(stdout);
}

static inline void say_message(const char *topic, const void *payload, int length, int qos, int retain)
{
	const unsigned char *p = payload;
	char *line = malloc(6 * strlen(topic) + 2 * (size_t)length + 128);
	char *at = line + sprintf(line, "{\"event\":\"message\",\"topic\":\"");
	for (; *topic; topic++)
		at += sprintf(at, *topic == '"' || *topic == '\\' || (unsigned char)*topic < 0x20 ? "\\u%04x" : "%c", *topic);
	at += sprintf(at, "\",\"payload\":\"");
	for (int i = 0; i < length; i++)
		at += sprintf(at, "%02x", p[i]);
	sprintf(at, "\",\"qos\":%d,\"retain\":%s}\n", qos, retain ? "true" : "false");
	fputs(line, stdout);
	fflush(stdout);
	free(line);
}
