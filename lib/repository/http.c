#include "lib/repository/http.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include <curl/curl.h>

#include "lib/base/clock.h"
#include "lib/repository/hedge.h"

#define SPARE 32
#define CONNECT_S 10L
#define STILL_S 30L /* slower than HTTP_SLOW */
#define LEAST_MS 1000
#define LOOK_MS 1000
#define PAUSE_FIRST_MS 100
#define PAUSE_MAX_MS 8000
#define BODY_MAX (1ULL << 30)

struct http {
	char *user, *password, *sign, *certificates;
	uint64_t limit_ms; /* 0: none */
	_Atomic uint64_t *net_bytes; /* or NULL */
	bool no_proxy;
	pthread_mutex_t lock; /* guards the idle ones */
	struct pair *spare[SPARE];
	size_t count;
	struct hedge hedge;
};

/* What a request needs, and a second one beside it; their connections stay with it. */
struct pair {
	CURLM *multi;
	CURL *curl[2]; /* NULL: not needed yet */
};

/* What comes in for one try. */
struct incoming {
	const struct http_request *request;
	struct http_answer *answer;
	CURL *curl;
	uint8_t *out; /* for the range */
	size_t got;   /* of it */
	uint64_t began_ms, moved_ms; /* when the first and the last of it came; 0: nothing did */
	_Atomic uint64_t *net_bytes; /* or NULL */
	uint64_t counted; /* of them, of this try */
	bool too_much;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_once(void)
{
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

struct http *http_new(const struct http_options *options)
{
	struct http *http = xcalloc(1, sizeof(*http));

	pthread_once(&once, init_once);
	pthread_mutex_init(&http->lock, NULL);
	hedge_init(&http->hedge);
	http->user = xstrdup_or_null(options->user);
	http->password = xstrdup_or_null(options->password);
	http->sign = xstrdup_or_null(options->sign);
	http->certificates = xstrdup_or_null(options->certificates);
	http->limit_ms = options->limit_ms;
	http->net_bytes = options->net_bytes;
	http->no_proxy = options->no_proxy;
	return http;
}

static void free_pair(struct pair *pair)
{
	for (size_t i = 0; i < ARRAY_SIZE(pair->curl); i++)
		curl_easy_cleanup(pair->curl[i]);
	curl_multi_cleanup(pair->multi);
	free(pair);
}

void http_free(struct http *http)
{
	if (!http)
		return;
	while (http->count > 0)
		free_pair(http->spare[--http->count]);
	hedge_clear(&http->hedge);
	pthread_mutex_destroy(&http->lock);
	free(http->user);
	free_secret(http->password);
	free(http->sign);
	free(http->certificates);
	free(http);
}

static struct pair *take(struct http *http)
{
	struct pair *pair = NULL;

	pthread_mutex_lock(&http->lock);
	if (http->count > 0)
		pair = http->spare[--http->count];
	pthread_mutex_unlock(&http->lock);
	if (pair)
		return pair;
	pair = xcalloc(1, sizeof(*pair));
	pair->multi = curl_multi_init();
	if (!pair->multi)
		abort();
	/* A second request on the connection of the first would be as late. */
	curl_multi_setopt(pair->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
	return pair;
}

static void give(struct http *http, struct pair *pair)
{
	pthread_mutex_lock(&http->lock);
	if (http->count < SPARE) {
		http->spare[http->count++] = pair;
		pair = NULL;
	}
	pthread_mutex_unlock(&http->lock);
	if (pair)
		free_pair(pair);
}

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
	struct incoming *incoming = arg;
	const struct http_request *request = incoming->request;
	const size_t len = size * count;
	long status = 0;

	curl_easy_getinfo(incoming->curl, CURLINFO_RESPONSE_CODE, &status);
	if (request->range_len > 0 && status >= 200 && status < 300) {
		if (len > request->range_len - incoming->got) {
			incoming->too_much = true;
			return 0;
		}
		memcpy(incoming->out + incoming->got, data, len);
		incoming->got += len;
		incoming->moved_ms = clock_ms();
		incoming->began_ms = incoming->began_ms ? incoming->began_ms : incoming->moved_ms;
		return len;
	}
	if (incoming->answer->body.len + len > BODY_MAX || !buf_try_reserve(&incoming->answer->body, len + 1))
		return 0;
	buf_add(&incoming->answer->body, data, len);
	return len;
}

static int count(void *arg, curl_off_t to_come, curl_off_t come, curl_off_t to_go, curl_off_t gone)
{
	struct incoming *incoming = arg;
	const uint64_t all = (uint64_t)come + (uint64_t)gone;

	atomic_fetch_add(incoming->net_bytes, all - incoming->counted);
	incoming->counted = all;
	return 0;
}

static void set_count(CURL *curl, struct incoming *incoming)
{
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, count);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, incoming);
}

static void set_method(CURL *curl, const struct http_request *request)
{
	if (strcmp(request->method, "HEAD") == 0) {
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
		return;
	}
	if (request->data) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->data);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->len);
	}
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
}

static struct curl_slist *set_headers(CURL *curl, const struct http_request *request)
{
	/* not the type of a form */
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/octet-stream");

	for (size_t i = 0; request->headers && request->headers[i]; i++)
		headers = curl_slist_append(headers, request->headers[i]);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	return headers;
}

/* A try that begins late does not last longer than who asks is patient. */
static void set_times(const struct http *http, CURL *curl, uint64_t left_ms)
{
	if (http->limit_ms)
		curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)left_ms);
	else
		left_ms = MAX(left_ms, (uint64_t)LEAST_MS);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)MIN(left_ms, CONNECT_S * 1000UL));
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)HTTP_SLOW);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)MIN((left_ms + 999) / 1000, (uint64_t)STILL_S));
}

static void set_options(const struct http *http, CURL *curl, const struct http_request *request, char problem[CURL_ERROR_SIZE])
{
	const char *user = request->user ? request->user : http->user, *password = request->user ? request->password : http->password;

	curl_easy_setopt(curl, CURLOPT_URL, request->url);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	/* Who sends much asks before whether he may. Nobody waits for that answer; the question cannot be left out, as curl 7.88 signs its absence. */
	curl_easy_setopt(curl, CURLOPT_EXPECT_100_TIMEOUT_MS, 1L);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "corpusfs");
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, problem);
	if (http->no_proxy)
		curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	if (user) {
		curl_easy_setopt(curl, CURLOPT_USERNAME, user);
		curl_easy_setopt(curl, CURLOPT_PASSWORD, password ? password : "");
	}
	if (user && http->sign)
		curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, http->sign);
	if (http->certificates) {
		struct curl_blob blob = {.data = http->certificates, .len = strlen(http->certificates), .flags = CURL_BLOB_COPY};

		curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &blob);
	}
	if (request->range_len > 0) {
		char range[64];

		(void)snprintf(range, sizeof(range), "%llu-%llu", (unsigned long long)request->range_offset,
		               (unsigned long long)(request->range_offset + request->range_len - 1));
		curl_easy_setopt(curl, CURLOPT_RANGE, range);
	}
}

static int errno_of(CURLcode code)
{
	switch (code) {
	case CURLE_OK: return 0;
	case CURLE_OPERATION_TIMEDOUT: return -ETIMEDOUT;
	case CURLE_COULDNT_CONNECT: return -ECONNREFUSED;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY: return -EHOSTUNREACH;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE: return -EPROTO;
	case CURLE_OUT_OF_MEMORY: return -ENOMEM;
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL: return -EINVAL;
	default: return -EIO;
	}
}

static void note_answer(CURL *curl, struct http_answer *answer)
{
	curl_off_t length = -1;
	struct curl_header *date;
	char *type = NULL;

	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
	curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
	answer->content_length = length;
	(void)snprintf(answer->content_type, sizeof(answer->content_type), "%s", type ? type : "");
	answer->date = 0;
	if (curl_easy_header(curl, "Date", 0, CURLH_HEADER, -1, &date) == CURLHE_OK)
		answer->date = MAX((int64_t)curl_getdate(date->value, NULL), 0);
	buf_add_u8(&answer->body, 0);
	answer->body.len--;
}

/* A transfer that is under way, or one that asks for the same beside it. */
struct transfer {
	CURL *curl; /* NULL: it was not begun */
	struct incoming incoming;
	char problem[CURL_ERROR_SIZE];
	struct curl_slist *headers;
	CURLcode code;
	bool ended;
};

static int begin(struct http *http, CURL *curl, const struct http_request *request, uint64_t until_ms, struct transfer *transfer)
{
	const uint64_t now = clock_ms();

	if (!curl)
		return -ENOMEM;
	transfer->curl = transfer->incoming.curl = curl;
	transfer->incoming.request = request;
	transfer->incoming.moved_ms = now;
	transfer->incoming.net_bytes = http->net_bytes;
	set_times(http, curl, until_ms > now ? until_ms - now : 1);
	set_options(http, curl, request, transfer->problem);
	set_method(curl, request);
	transfer->headers = set_headers(curl, request);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer->incoming);
	if (http->net_bytes)
		set_count(curl, &transfer->incoming);
	return 0;
}

/* What came of it. -ERANGE: another range than was asked for. */
static int end(struct transfer *transfer, struct http_answer *answer)
{
	const struct incoming *incoming = &transfer->incoming;
	int r = errno_of(transfer->code);

	note_answer(transfer->curl, answer);
	(void)snprintf(answer->problem, sizeof(answer->problem), "%s", *transfer->problem ? transfer->problem : curl_easy_strerror(transfer->code));
	if (incoming->too_much || (r == 0 && incoming->request->range_len > 0 && answer->status / 100 == 2 && incoming->got != incoming->request->range_len))
		r = -ERANGE;
	return r;
}

static int begin_in(struct http *http, struct pair *pair, size_t number, const struct http_request *request, uint64_t until_ms, struct transfer *transfer)
{
	int r;

	if (pair->curl[number])
		curl_easy_reset(pair->curl[number]);
	else
		pair->curl[number] = curl_easy_init();
	r = begin(http, pair->curl[number], request, until_ms, transfer);
	if (r == 0 && curl_multi_add_handle(pair->multi, transfer->curl) != CURLM_OK)
		r = -ENOMEM;
	return r;
}

/* It has what was asked for; without a range: an answer. */
static bool is_good(const struct transfer *transfer)
{
	long status = 0;

	if (!transfer->ended || transfer->code != CURLE_OK)
		return false;
	if (transfer->incoming.request->range_len == 0)
		return true;
	curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
	return status / 100 == 2 && transfer->incoming.got == transfer->incoming.request->range_len;
}

static void note_ended(struct pair *pair, struct transfer transfers[2])
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(pair->multi, &left)) != NULL)
		for (size_t i = 0; i < 2; i++)
			if (message->msg == CURLMSG_DONE && message->easy_handle == transfers[i].curl) {
				transfers[i].code = message->data.result;
				transfers[i].ended = true;
			}
}

/* Until one has what was asked for, or none will. A second one for a range is begun when nothing came of the first for long (hedge.h). */
static void run(struct http *http, struct pair *pair, const struct http_request *request, uint64_t until_ms, struct transfer transfers[2])
{
	const uint64_t late_ms = request->range_len > 0 ? hedge_begin(&http->hedge) : 0;
	bool waits = request->range_len > 0;
	int running = 1;

	for (;;) {
		uint64_t now, due;

		curl_multi_perform(pair->multi, &running);
		note_ended(pair, transfers);
		if (running == 0 || is_good(&transfers[0]) || is_good(&transfers[1]))
			return;
		now = clock_ms();
		due = transfers[0].incoming.moved_ms + late_ms;
		if (waits && now >= due) {
			waits = false;
			if (transfers[0].ended || !hedge_may(&http->hedge))
				continue;
			transfers[1].incoming.out = xmalloc(request->range_len);
			(void)!begin_in(http, pair, 1, request, until_ms, &transfers[1]);
			continue;
		}
		curl_multi_poll(pair->multi, NULL, 0, waits ? (int)MIN(due - now, (uint64_t)LOOK_MS) : LOOK_MS, NULL);
	}
}

static int try_once(struct http *http, const struct http_request *request, uint64_t until_ms, struct http_answer *answer)
{
	struct http_answer second = {.content_length = -1};
	struct transfer transfers[2] = {{.incoming = {.answer = answer, .out = request->out}}, {.incoming = {.answer = &second}}};
	struct pair *pair = take(http);
	const uint64_t began = clock_ms();
	int r;

	buf_reset(&answer->body);
	answer->tries++;
	r = begin_in(http, pair, 0, request, until_ms, &transfers[0]);
	if (r == 0)
		run(http, pair, request, until_ms, transfers);
	for (size_t i = 0; i < 2; i++)
		if (transfers[i].curl)
			curl_multi_remove_handle(pair->multi, transfers[i].curl);
	if (r == 0 && is_good(&transfers[1]) && !is_good(&transfers[0])) {
		memcpy(request->out, transfers[1].incoming.out, request->range_len);
		buf_reset(&answer->body);
		r = end(&transfers[1], answer);
	} else if (r == 0) {
		r = end(&transfers[0], answer);
	}
	if (transfers[0].incoming.began_ms)
		hedge_answered(&http->hedge, transfers[0].incoming.began_ms - began);
	for (size_t i = 0; i < 2; i++)
		curl_slist_free_all(transfers[i].headers);
	buf_clear(&second.body);
	free(transfers[1].incoming.out);
	give(http, pair);
	return r;
}

static bool may_pass(int result, const struct http_answer *answer)
{
	if (result == 0)
		return answer->status == 408 || answer->status == 429 || (answer->status >= 500 && answer->status != 501 && answer->status != 507);
	return result == -ETIMEDOUT || result == -ECONNREFUSED || result == -EHOSTUNREACH || result == -EIO;
}

static void pause_at_random(unsigned tries, uint64_t left_ms)
{
	const uint64_t most = MIN((uint64_t)PAUSE_FIRST_MS << MIN(tries, 16U), (uint64_t)PAUSE_MAX_MS);
	uint32_t chance = 0;

	if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) < 0)
		chance = (uint32_t)clock_ms();
	clock_pause_us(MIN(most * chance >> 32, left_ms) * 1000);
}

static uint64_t patience_of(const struct http *http, const struct http_request *request)
{
	const uint64_t patience = request->patience_ms ? request->patience_ms : http->limit_ms ? http->limit_ms : HTTP_PATIENCE_MS;

	return http->limit_ms ? MIN(patience, http->limit_ms) : patience;
}

int http_do(struct http *http, const struct http_request *request, struct http_answer *ret_answer)
{
	const uint64_t until_ms = clock_ms() + patience_of(http, request);
	struct http_answer answer = {.content_length = -1};
	int r;

	do {
		r = try_once(http, request, until_ms, &answer);
		if (!may_pass(r, &answer) || clock_ms() >= until_ms)
			break;
		pause_at_random(answer.tries, until_ms - MIN(clock_ms(), until_ms));
	} while (clock_ms() < until_ms);
	*ret_answer = answer;
	return r == -ERANGE ? -EIO : r; /* another range than was asked for will not become the right one */
}

int http_errno(long status)
{
	switch (status) {
	case 404: return -ENOENT;
	case 401:
	case 403: return -EACCES;
	case 409:
	case 412: return -EEXIST;
	case 507: return -ENOSPC;
	default: return status / 100 == 2 ? 0 : -EIO;
	}
}

char *http_escape(const char *text)
{
	char *escaped = curl_easy_escape(NULL, text, 0), *own;

	if (!escaped)
		abort();
	own = xstrdup(escaped);
	curl_free(escaped);
	return own;
}
