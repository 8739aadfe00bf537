#include "lib/repository/process_json.h"

#include <stdio.h>
#include <string.h>

void process_json_set(json_t *object, pid_t pid)
{
	struct process_mark mark;

	process_mark_of(pid, &mark);
	json_object_set_new(object, "pid", json_integer((json_int_t)mark.pid));
	json_object_set_new(object, "started", json_integer((json_int_t)mark.started));
	json_object_set_new(object, "place", json_string(mark.place));
	json_object_set_new(object, "hostname", json_string(mark.host));
	json_object_set_new(object, "machine", json_string(mark.machine));
}

static json_t *get(const json_t *object, const char *before, const char *name)
{
	char key[32];

	(void)snprintf(key, sizeof(key), "%s%s", before, name);
	return json_object_get(object, key);
}

static void copy_text(char *out, size_t size, const json_t *value)
{
	const char *text = json_string_value(value);

	(void)snprintf(out, size, "%s", text && strlen(text) < size ? text : "");
}

enum process_state process_json_look(const json_t *object, const char *before)
{
	const json_int_t pid = json_integer_value(json_object_get(object, "pid")), started = json_integer_value(get(object, before, "started"));
	struct process_mark mark = {.pid = pid > 0 && pid <= INT32_MAX ? (pid_t)pid : 0, .started = started > 0 ? (uint64_t)started : 0};

	copy_text(mark.place, sizeof(mark.place), get(object, before, "place"));
	copy_text(mark.host, sizeof(mark.host), json_object_get(object, "hostname"));
	copy_text(mark.machine, sizeof(mark.machine), get(object, before, "machine"));
	return process_mark_look(&mark);
}

bool process_json_lives(const json_t *object)
{
	const enum process_state state = process_json_look(object, "");

	return state == PROCESS_LIVES || state == PROCESS_STOPPED;
}
