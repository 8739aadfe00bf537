#include "lib/repository/transfers.h"

#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>

#include "lib/base/array.h"
#include "lib/base/clock.h"

#define CONNECT_S 10L
#define STILL_S 30L /* slower than HTTP_SLOW */
#define LEAST_MS 1000
#define BODY_MAX (1ULL << 30)
#define END_OF_HEADER 2 /* bytes: an empty line */
#define REST_MS 10 /* where the library cannot wait */

struct one_transfer {
	struct transfer state;
	CURL *curl;            /* NULL: it was never needed */
	bool is_added;         /* to the others' multi */
	struct transfers_order order;
	struct curl_slist *headers;
	size_t got;       /* of the range */
	bool too_much;    /* of it */
	struct buf body;  /* of all else */
	uint64_t counted; /* of what came and went */
	char problem[CURL_ERROR_SIZE];
};

struct transfers {
	CURLM *multi; /* which has the connections */
	struct one_transfer all[TRANSFERS];
	ARRAY(int) sockets; /* of its connections */
	bool is_broken;
};

/*
 * The library is loaded when it is first needed: with the thirty others that it brings, it would be a third of the time that each command takes to
 * start, and few commands reach over a network. Its functions are found as if it had been linked: a test may take the place of some.
 */
#define LIBRARY "libcurl.so.4"
#define FUNCTIONS \
	X(easy_cleanup) X(easy_escape) X(easy_getinfo) X(easy_header) X(easy_init) X(easy_reset) X(easy_setopt) X(easy_strerror) X(free) X(getdate) \
	X(global_init) X(multi_add_handle) X(multi_cleanup) X(multi_info_read) X(multi_init) X(multi_perform) X(multi_poll) X(multi_remove_handle) \
	X(multi_setopt) X(multi_strerror) X(slist_append) X(slist_free_all)

static struct {
#define X(name) __typeof__(curl_##name) *name;
	FUNCTIONS
#undef X
} lib;

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void *find(void *handle, const char *name)
{
	void *found = handle ? dlsym(RTLD_DEFAULT, name) : NULL;

	if (found)
		return found;
	fprintf(stderr, "corpusfs: %s\n", dlerror());
	abort();
}

static void load(void)
{
	void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);

#define X(name) lib.name = (__typeof__(lib.name))find(handle, "curl_" #name);
	FUNCTIONS
#undef X
	(void)lib.global_init(CURL_GLOBAL_DEFAULT);
}

struct transfers *transfers_new(void)
{
	struct transfers *transfers = xcalloc(1, sizeof(*transfers));

	pthread_once(&once, load);
	transfers->multi = lib.multi_init();
	if (!transfers->multi)
		abort();
	/* A second request on the connection of the first would be as late. */
	lib.multi_setopt(transfers->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
	return transfers;
}

void transfers_free(struct transfers *transfers)
{
	if (!transfers)
		return;
	(void)!transfers_end(transfers);
	for (size_t i = 0; i < TRANSFERS; i++)
		lib.easy_cleanup(transfers->all[i].curl);
	lib.multi_cleanup(transfers->multi);
	array_clear(&transfers->sockets);
	free(transfers);
}

/* --- what comes --- */

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
	struct one_transfer *one = arg;
	const struct http_request *request = one->order.request;
	const size_t len = size * count;
	long status = 0;

	lib.easy_getinfo(one->curl, CURLINFO_RESPONSE_CODE, &status);
	if (request->range_len > 0 && status / 100 == 2) {
		if (len > request->range_len - one->got) {
			one->too_much = true;
			return 0;
		}
		memcpy((uint8_t *)one->order.out + one->got, data, len);
		one->got += len;
		one->state.moved_ms = clock_ms();
		one->state.first_ms = one->state.first_ms ? one->state.first_ms : one->state.moved_ms;
		return len;
	}
	if (one->body.len + len > (request->body_max ? request->body_max : BODY_MAX) || !buf_try_reserve(&one->body, len + 1))
		return 0;
	buf_add(&one->body, data, len);
	return len;
}

/*
 * A server that writes its header first waits with the body until that is acknowledged, unless it has thought of TCP_NODELAY (Ceph's gateway has not),
 * and the kernel acknowledges 40 ms later what nobody answers. So each small object would take 40 ms (RFC 1122, 4.2.3.2 and 4.2.3.4).
 */
static size_t take_header(char *data, size_t size, size_t count, void *arg)
{
	const struct transfers *transfers = arg;
	const size_t len = size * count;

	(void)data;
	/* The library does not say on which connection it came (curl 7.88). */
	for (size_t i = 0; len <= END_OF_HEADER && i < transfers->sockets.count; i++)
		(void)setsockopt(transfers->sockets.items[i], IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int)); /* slower without it, not wrong */
	return len;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct transfers *transfers = arg;
	const int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

	(void)purpose;
	if (fd < 0)
		return CURL_SOCKET_BAD;
	array_add(&transfers->sockets, fd);
	return fd;
}

static int close_socket(void *arg, curl_socket_t fd)
{
	struct transfers *transfers = arg;
	size_t i = 0;

	while (i < transfers->sockets.count && transfers->sockets.items[i] != fd)
		i++;
	if (i < transfers->sockets.count)
		array_remove(&transfers->sockets, i, 1);
	return close(fd);
}

static int count(void *arg, curl_off_t to_come, curl_off_t come, curl_off_t to_go, curl_off_t gone)
{
	struct one_transfer *one = arg;
	const uint64_t all = (uint64_t)come + (uint64_t)gone;

	atomic_fetch_add(one->order.options->net_bytes, all - one->counted);
	one->counted = all;
	return 0;
}

/* --- what is asked --- */

static void set_callbacks(struct transfers *transfers, struct one_transfer *one)
{
	lib.easy_setopt(one->curl, CURLOPT_WRITEFUNCTION, take_body);
	lib.easy_setopt(one->curl, CURLOPT_WRITEDATA, one);
	lib.easy_setopt(one->curl, CURLOPT_HEADERFUNCTION, take_header);
	lib.easy_setopt(one->curl, CURLOPT_HEADERDATA, transfers);
	lib.easy_setopt(one->curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	lib.easy_setopt(one->curl, CURLOPT_OPENSOCKETDATA, transfers);
	lib.easy_setopt(one->curl, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	lib.easy_setopt(one->curl, CURLOPT_CLOSESOCKETDATA, transfers);
	if (!one->order.options->net_bytes)
		return;
	lib.easy_setopt(one->curl, CURLOPT_NOPROGRESS, 0L);
	lib.easy_setopt(one->curl, CURLOPT_XFERINFOFUNCTION, count);
	lib.easy_setopt(one->curl, CURLOPT_XFERINFODATA, one);
}

static void set_method(CURL *curl, const struct http_request *request)
{
	if (strcmp(request->method, "HEAD") == 0) {
		lib.easy_setopt(curl, CURLOPT_NOBODY, 1L);
		return;
	}
	if (request->data) {
		lib.easy_setopt(curl, CURLOPT_POSTFIELDS, request->data);
		lib.easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->len);
	}
	lib.easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
}

/* Without one of them another thing would be asked for. */
static struct curl_slist *add_header(struct curl_slist *headers, const char *text)
{
	headers = lib.slist_append(headers, text);
	if (!headers)
		abort();
	return headers;
}

static struct curl_slist *set_headers(CURL *curl, const struct http_request *request)
{
	/* not the type of a form */
	struct curl_slist *headers = add_header(NULL, "Content-Type: application/octet-stream");

	for (size_t i = 0; request->headers && request->headers[i]; i++)
		headers = add_header(headers, request->headers[i]);
	lib.easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	return headers;
}

/* A try that begins late does not last longer than who asks is patient. */
static void set_times(const struct http_options *options, CURL *curl, uint64_t left_ms)
{
	if (options->limit_ms)
		lib.easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)left_ms);
	else
		left_ms = MAX(left_ms, (uint64_t)LEAST_MS);
	lib.easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)MIN(left_ms, CONNECT_S * 1000UL));
	lib.easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)HTTP_SLOW);
	lib.easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)MIN((left_ms + 999) / 1000, (uint64_t)STILL_S));
}

static struct curl_blob blob_of(const char *text)
{
	return (struct curl_blob){.data = (char *)text, .len = strlen(text), .flags = CURL_BLOB_COPY};
}

static void set_certificates(CURL *curl, const struct http_options *options)
{
	struct curl_blob blob;

	if (options->certificates) {
		blob = blob_of(options->certificates);
		lib.easy_setopt(curl, CURLOPT_CAINFO_BLOB, &blob);
		lib.easy_setopt(curl, CURLOPT_CAPATH, (char *)NULL); /* else the system's are believed besides */
	}
	if (options->client) {
		blob = blob_of(options->client);
		lib.easy_setopt(curl, CURLOPT_SSLCERT_BLOB, &blob);
		lib.easy_setopt(curl, CURLOPT_SSLKEY_BLOB, &blob);
	}
}

static void set_options(const struct http_options *options, CURL *curl, const struct http_request *request, char problem[CURL_ERROR_SIZE])
{
	const char *user = request->user ? request->user : options->user, *password = request->user ? request->password : options->password;

	lib.easy_setopt(curl, CURLOPT_URL, request->url);
	lib.easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	lib.easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	/* Who sends much asks before whether he may. Nobody waits for that answer; the question cannot be left out, as curl 7.88 signs its absence. */
	lib.easy_setopt(curl, CURLOPT_EXPECT_100_TIMEOUT_MS, 1L);
	/* Who is cut off while a name is looked up for it does not wait for that: the look-up ends by itself, and what comes of it is thrown away. */
	lib.easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
	lib.easy_setopt(curl, CURLOPT_USERAGENT, "corpusfs");
	lib.easy_setopt(curl, CURLOPT_ERRORBUFFER, problem);
	if (options->no_proxy)
		lib.easy_setopt(curl, CURLOPT_NOPROXY, "*");
	if (user) {
		lib.easy_setopt(curl, CURLOPT_USERNAME, user);
		lib.easy_setopt(curl, CURLOPT_PASSWORD, password ? password : "");
	}
	if (user && options->sign)
		lib.easy_setopt(curl, CURLOPT_AWS_SIGV4, options->sign);
	set_certificates(curl, options);
	if (request->once) {
		/* On a kept connection that ends, the library sends it again on a new one, and how that went would say nothing of the first time. */
		lib.easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
		lib.easy_setopt(curl, CURLOPT_FORBID_REUSE, 1L);
	}
	if (request->range_len > 0) {
		char range[64];

		(void)snprintf(range, sizeof(range), "%llu-%llu", (unsigned long long)request->range_offset,
		               (unsigned long long)(request->range_offset + request->range_len - 1));
		lib.easy_setopt(curl, CURLOPT_RANGE, range);
	}
}

/* --- one of them --- */

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
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE: return -EPROTO;
	case CURLE_OUT_OF_MEMORY: return -ENOMEM;
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL: return -EINVAL;
	default: return -EIO;
	}
}

static void note_ended(struct one_transfer *one, int result, const char *problem)
{
	one->state.ended_ms = clock_ms();
	one->state.result = result;
	if (!*one->problem)
		(void)snprintf(one->problem, sizeof(one->problem), "%s", problem);
}

static void note_result(struct one_transfer *one, CURLcode code)
{
	const size_t wanted = one->order.request->range_len;
	int r = errno_of(code);

	lib.easy_getinfo(one->curl, CURLINFO_RESPONSE_CODE, &one->state.status);
	if (one->too_much || (r == 0 && wanted > 0 && one->state.status / 100 == 2 && one->got != wanted))
		r = -ERANGE;
	note_ended(one, r, lib.easy_strerror(code));
}

void transfers_begin(struct transfers *transfers, size_t number, const struct transfers_order *order)
{
	struct one_transfer *one = &transfers->all[number];
	const uint64_t now = clock_ms();

	*one = (struct one_transfer){.state = {.began_ms = now, .moved_ms = now}, .curl = one->curl ? one->curl : lib.easy_init(), .order = *order};
	if (!one->curl) {
		note_ended(one, -ENOMEM, lib.easy_strerror(CURLE_OUT_OF_MEMORY));
		return;
	}
	set_times(order->options, one->curl, order->until_ms > now ? order->until_ms - now : 1);
	set_options(order->options, one->curl, order->request, one->problem);
	set_method(one->curl, order->request);
	set_callbacks(transfers, one);
	one->headers = set_headers(one->curl, order->request);
	one->is_added = lib.multi_add_handle(transfers->multi, one->curl) == CURLM_OK;
	if (!one->is_added)
		note_ended(one, -ENOMEM, lib.easy_strerror(CURLE_OUT_OF_MEMORY));
}

const struct transfer *transfers_get(const struct transfers *transfers, size_t number)
{
	return &transfers->all[number].state;
}

/* --- both --- */

void transfers_run(struct transfers *transfers)
{
	int running, left;
	const CURLMcode code = lib.multi_perform(transfers->multi, &running);
	CURLMsg *message;

	while ((message = lib.multi_info_read(transfers->multi, &left)) != NULL)
		for (size_t i = 0; i < TRANSFERS; i++)
			if (message->msg == CURLMSG_DONE && message->easy_handle == transfers->all[i].curl)
				note_result(&transfers->all[i], message->data.result);
	if (code == CURLM_OK)
		return;
	transfers->is_broken = true;
	for (size_t i = 0; i < TRANSFERS; i++)
		if (transfers->all[i].is_added && !transfers->all[i].state.ended_ms)
			note_ended(&transfers->all[i], -EIO, lib.multi_strerror(code));
}

void transfers_wait(struct transfers *transfers, uint64_t ms)
{
	/* Who could not wait would ask again and again. */
	if (lib.multi_poll(transfers->multi, NULL, 0, (int)ms, NULL) != CURLM_OK)
		clock_pause_us(MIN(ms, (uint64_t)REST_MS) * 1000);
}

void transfers_answer(struct transfers *transfers, size_t number, struct http_answer *answer)
{
	struct one_transfer *one = &transfers->all[number];
	curl_off_t length = -1;
	struct curl_header *date, *server;
	char *type = NULL;

	answer->status = one->state.status;
	answer->date = 0;
	answer->server[0] = '\0';
	if (one->curl) {
		lib.easy_getinfo(one->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
		lib.easy_getinfo(one->curl, CURLINFO_CONTENT_TYPE, &type);
		if (lib.easy_header(one->curl, "Date", 0, CURLH_HEADER, -1, &date) == CURLHE_OK)
			answer->date = MAX((int64_t)lib.getdate(date->value, NULL), 0);
		if (lib.easy_header(one->curl, "Server", 0, CURLH_HEADER, -1, &server) == CURLHE_OK)
			(void)snprintf(answer->server, sizeof(answer->server), "%s", server->value);
	}
	answer->content_length = length;
	(void)snprintf(answer->content_type, sizeof(answer->content_type), "%s", type ? type : "");
	(void)snprintf(answer->problem, sizeof(answer->problem), "%s", one->problem);
	buf_clear(&answer->body);
	answer->body = one->body;
	one->body = BUF_INIT;
	buf_add_u8(&answer->body, 0);
	answer->body.len--;
}

bool transfers_end(struct transfers *transfers)
{
	for (size_t i = 0; i < TRANSFERS; i++) {
		struct one_transfer *one = &transfers->all[i];

		/* Its connection is closed if it is still under way. */
		if (one->is_added && lib.multi_remove_handle(transfers->multi, one->curl) != CURLM_OK)
			transfers->is_broken = true;
		if (one->curl)
			lib.easy_reset(one->curl);
		lib.slist_free_all(one->headers);
		buf_clear(&one->body);
		*one = (struct one_transfer){.curl = one->curl};
	}
	return !transfers->is_broken;
}

char *transfers_escape(const char *text)
{
	char *escaped, *own;

	pthread_once(&once, load);
	escaped = lib.easy_escape(NULL, text, 0);
	if (!escaped)
		abort();
	own = xstrdup(escaped);
	lib.free(escaped);
	return own;
}
