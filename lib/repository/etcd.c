#include "lib/repository/etcd_inside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/repository/http.h"

#define PATIENCE_FIRST_MS 5000 /* of who has not had an answer yet, and may have written the names wrong */
#define TRY_MS 3000 /* a member without a leader lets one wait for 7 s */
#define TRY_LEAST_MS 100
#define LOOK_MS 2000
#define ANSWER_MAX (64U << 20)
#define PAUSE_ROUNDS 3 /* in vain, for which pauses grow: a new leader is found within seconds, and who waits longer than that loses its patience */
/* Of gRPC, as the gateway gives them. */
#define CODE_PERMISSION 7
#define CODE_UNAUTHENTICATED 16

int etcd_open(const struct etcd_options *options, struct etcd **ret_etcd, struct error *err)
{
	struct etcd *etcd = xcalloc(1, sizeof(*etcd));
	int r = etcd_members_add(&etcd->members, options->members, options->certificates || options->client, err);

	etcd->user = xstrdup_or_null(options->user);
	etcd->password = xstrdup_or_null(options->password);
	etcd->patience_ms = options->patience_ms ? options->patience_ms : ETCD_PATIENCE_MS;
	etcd->stale_ok = options->stale_ok;
	etcd->http = http_new(&(struct http_options){.certificates = options->certificates, .client = options->client, .net_bytes = options->net_bytes,
	                                           .limit_ms = MIN(etcd->patience_ms, (uint64_t)TRY_MS)});
	if (r < 0) {
		etcd_close(etcd);
		return r;
	}
	etcd->at = clock_us() % etcd->members.count; /* not all machines ask the same one */
	*ret_etcd = etcd;
	return 0;
}

void etcd_set_patience(struct etcd *etcd, uint64_t ms)
{
	etcd->patience_ms = ms;
}

void etcd_close(struct etcd *etcd)
{
	if (!etcd)
		return;
	http_free(etcd->http);
	etcd_members_clear(&etcd->members);
	free(etcd->user);
	free_secret(etcd->password);
	free_secret(etcd->token);
	free(etcd);
}

/* --- one question to one member --- */

struct reply {
	int result; /* of http_do */
	long status;
	json_t *body; /* NULL: none, or no JSON */
	char problem[HTTP_PROBLEM_MAX];
};

static void reply_clear(struct reply *reply)
{
	json_decref(reply->body);
	reply->body = NULL;
}

static void ask_once(struct etcd *etcd, const char *path, const json_t *question, uint64_t patience_ms, struct reply *ret_reply)
{
	AUTO_FREE char *url = xasprintf("%s/v3/%s", etcd->members.items[etcd->at], path);
	AUTO_SECRET char *body = json_dumps(question, JSON_COMPACT), *header = etcd->token ? xasprintf("Authorization: %s", etcd->token) : NULL;
	const char *const headers[] = {header, NULL};
	struct http_answer answer;

	*ret_reply = (struct reply){.result = -ENOMEM};
	if (!body)
		return;
	ret_reply->result = http_do(etcd->http, &(struct http_request){.method = "POST", .url = url, .headers = headers, .data = body, .len = strlen(body),
	                                                             .body_max = ANSWER_MAX, .patience_ms = patience_ms, .once = true}, &answer);
	ret_reply->status = answer.status;
	(void)snprintf(ret_reply->problem, sizeof(ret_reply->problem), "%s", answer.problem);
	etcd->has_answered |= ret_reply->result == 0;
	if (ret_reply->result == 0)
		ret_reply->body = json_loadb((const char *)answer.body.data, answer.body.len, 0, NULL);
	if (answer.body.data)
		explicit_bzero(answer.body.data, answer.body.len);
	buf_clear(&answer.body);
}

static const char *message_of(const struct reply *reply)
{
	const char *message = json_string_value(json_object_get(reply->body, "message"));

	return message ? message : "";
}

static json_int_t code_of(const struct reply *reply)
{
	return json_integer_value(json_object_get(reply->body, "code"));
}

static bool is_done(const struct reply *reply)
{
	const json_t *body = json_object_get(reply->body, "result"); /* of what could have several answers */

	return reply->result == 0 && reply->status == 200 && json_is_object(json_object_get(body ? body : reply->body, "header"));
}

/* Another member, or the same one later, may know better. */
static bool may_pass(const struct reply *reply)
{
	if (reply->result < 0)
		return reply->result != -ENOMEM && reply->result != -EINVAL;
	return reply->status == 408 || reply->status == 429 || reply->status >= 500;
}

/* Whether etcd may have carried it out: not if there was no connection, nor if it says why it does not. */
static bool may_have_come(const struct reply *reply)
{
	if (reply->result < 0)
		return reply->result != -ECONNREFUSED && reply->result != -EHOSTUNREACH && reply->result != -EPROTO;
	return may_pass(reply) || !*message_of(reply);
}

/* Of an older answer to who somebody is: a token ends by itself, and when users are changed. */
static bool is_token_old(const struct reply *reply)
{
	return code_of(reply) == CODE_UNAUTHENTICATED || strstr(message_of(reply), "revision of auth store is old");
}

/* What it means that etcd has answered so. */
static int refused(const struct etcd *etcd, const struct reply *reply, struct error *err)
{
	const char *member = etcd->members.items[etcd->at], *message = message_of(reply), *user = etcd->user ? etcd->user : "";
	const json_int_t code = code_of(reply);

	if (code == CODE_PERMISSION)
		return error_set(err, -EACCES, "etcd does not permit it to its user \"%s\", who needs a role that may read and write keys of the prefix corpusfs/", user);
	if (strstr(message, "user name is empty"))
		return error_set(err, -EACCES, "etcd wants to know who asks: corpusfs remote add --etcd-credentials-file names a file with user and password");
	if (code == CODE_UNAUTHENTICATED || strstr(message, "authentication failed"))
		return error_set(err, -EACCES, "etcd knows no user \"%s\", or its password is another", user);
	if (strstr(message, "authentication is not enabled"))
		return error_set(err, -EACCES, "etcd has no users, but credentials are given for it: add the remote without them");
	if (*message)
		return error_set(err, -EREMOTEIO, "etcd at %s: %s", member, message);
	return error_set(err, -EREMOTEIO, "what answers at %s is no etcd of version 3.4 or later (HTTP status %ld)", member, reply->status);
}

static int nobody_answers(const struct etcd *etcd, const struct reply *last, struct error *err)
{
	const char *problem = last->result < 0 ? last->problem : *message_of(last) ? message_of(last) : "it is broken";

	return error_set(err, -EREMOTEIO, "etcd does not answer: %s: %s", etcd->members.items[etcd->at], problem);
}

int etcd_not_understood(const struct etcd *etcd, struct error *err)
{
	return error_set(err, -EREMOTEIO, "the answer of etcd at %s is not understood", etcd->members.items[etcd->at]);
}

/* --- questions --- */

uint64_t etcd_pause_ms(unsigned rounds)
{
	return http_pause_ms(MIN(rounds, (unsigned)PAUSE_ROUNDS));
}

static void pause_between(unsigned rounds, uint64_t left_ms)
{
	const uint64_t pause_ms = etcd_pause_ms(rounds);

	clock_pause_us(MIN(pause_ms, left_ms) * 1000);
}

/* One that answers. -EKEYEXPIRED: it does not know any more who asks. ret_lost is set if an answer was lost. */
static int ask_members(struct etcd *etcd, const char *path, const json_t *question, uint64_t until_ms, bool *ret_lost, json_t **ret_answer,
		       struct error *err)
{
	struct reply reply;
	uint64_t now;
	int r;

	for (unsigned tries = 1;; tries++) {
		const bool was_all = tries % etcd->members.count == 0;

		now = clock_ms();
		ask_once(etcd, path, question, MAX(until_ms, now + TRY_LEAST_MS) - now, &reply);
		if (is_done(&reply)) {
			*ret_answer = reply.body;
			return 0;
		}
		*ret_lost |= may_have_come(&reply);
		now = clock_ms();
		/* a certificate that is not good will not become so */
		if (!may_pass(&reply) || now + TRY_LEAST_MS >= until_ms || (was_all && reply.result == -EPROTO))
			break;
		reply_clear(&reply);
		etcd->at = (etcd->at + 1) % etcd->members.count;
		if (was_all)
			pause_between(tries / (unsigned)etcd->members.count, until_ms - now);
	}
	if (reply.result < 0 || may_pass(&reply))
		r = nobody_answers(etcd, &reply, err);
	else
		r = is_token_old(&reply) && etcd->token ? -EKEYEXPIRED : refused(etcd, &reply, err);
	etcd->at = (etcd->at + may_pass(&reply)) % etcd->members.count; /* a silent one may have taken all the patience */
	reply_clear(&reply);
	return r;
}

/* Gets a token for the user. */
static int identify(struct etcd *etcd, uint64_t until_ms, struct error *err)
{
	json_t *question = json_pack("{s:s, s:s}", "name", etcd->user, "password", etcd->password ? etcd->password : ""), *answer = NULL;
	const char *token;
	bool lost = false;
	int r;

	free_secret(etcd->token);
	etcd->token = NULL;
	if (!question)
		return error_set(err, -EINVAL, "the user or the password for etcd is not UTF-8");
	r = ask_members(etcd, "auth/authenticate", question, until_ms, &lost, &answer, err);
	token = json_string_value(json_object_get(answer, "token"));
	if (r == 0 && !token)
		r = etcd_not_understood(etcd, err);
	if (r == 0)
		etcd->token = xstrdup(token);
	json_decref(answer);
	json_decref(question);
	return r;
}

/* Takes over the question. */
int etcd_ask(struct etcd *etcd, const char *path, json_t *question, bool *ret_lost, json_t **ret_answer, struct error *err)
{
	const uint64_t until_ms = clock_ms() + (etcd->has_answered ? etcd->patience_ms : MIN(etcd->patience_ms, (uint64_t)PATIENCE_FIRST_MS));
	int r = question ? 0 : error_set(err, -ENOMEM, "no memory");

	*ret_lost = false;
	if (r == 0 && etcd->user && !etcd->token)
		r = identify(etcd, until_ms, err);
	if (r == 0)
		r = ask_members(etcd, path, question, until_ms, ret_lost, ret_answer, err);
	if (r == -EKEYEXPIRED) {
		r = identify(etcd, until_ms, err);
		if (r == 0)
			r = ask_members(etcd, path, question, until_ms, ret_lost, ret_answer, err);
		if (r == -EKEYEXPIRED)
			r = error_set(err, -EACCES, "etcd forgets at once who user \"%s\" is", etcd->user);
	}
	json_decref(question);
	return r;
}

bool etcd_ask_member(struct etcd *etcd, size_t member, const char *path, const json_t *question)
{
	const size_t at = etcd->at;
	struct reply reply;
	bool is_answered;

	etcd->at = member;
	ask_once(etcd, path, question, LOOK_MS, &reply);
	is_answered = is_done(&reply);
	reply_clear(&reply);
	etcd->at = at;
	return is_answered;
}
