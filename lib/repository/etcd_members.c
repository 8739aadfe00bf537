#include "lib/repository/etcd_members.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "lib/base/buf.h"

#define PORT "2379"

static int add_one(struct etcd_members *members, const char *text, size_t len, bool with_tls, struct error *err)
{
	AUTO_FREE char *name = xasprintf("%.*s", (int)len, text);
	const bool is_http = strncmp(name, "http://", 7) == 0, is_https = strncmp(name, "https://", 8) == 0;
	const char *host = name + (is_http ? 7 : is_https ? 8 : 0), *end = *host == '[' ? strchr(host, ']') : host;
	const char *colon = end ? strchr(end, ':') : NULL;

	/* what stands before an @ is a secret */
	if (strchr(name, '@'))
		return error_set(err, -EINVAL, "the name of a member of etcd has a user's name or password in it: --etcd-credentials-file names a file of them");
	if (!*host || !end || strpbrk(host, "/?# \t") || (colon && (!colon[1] || colon[1 + strspn(colon + 1, "0123456789")])))
		return error_set(err, -EINVAL, "\"%s\" is no name of a member of etcd: HOST:PORT,HOST:PORT,...", name);
	array_add(members, xasprintf("%s://%s%s", is_https || (with_tls && !is_http) ? "https" : "http", host, colon ? "" : ":" PORT));
	return 0;
}

int etcd_members_add(struct etcd_members *members, const char *names, bool with_tls, struct error *err)
{
	int r = 0;

	for (const char *at = names; at && r == 0; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
		r = add_one(members, at, strcspn(at, ","), with_tls, err);
	return r;
}

void etcd_members_clear(struct etcd_members *members)
{
	while (members->count > 0)
		free(array_pop(members));
	array_clear(members);
}

int etcd_members_check(const char *names, struct error *err)
{
	struct etcd_members members = {0};
	int r = etcd_members_add(&members, names, false, err);

	etcd_members_clear(&members);
	return r;
}

/* "HOST:PORT" of this very machine: nobody listens on the way. A name that only begins like an address is anybody's. */
static bool is_here(const char *member)
{
	const bool is_v6 = *member == '[';
	const char *host = member + is_v6, *end = host + strcspn(host, is_v6 ? "]" : ":");
	AUTO_FREE char *text = xasprintf("%.*s", (int)(end - host), host);
	struct in6_addr v6;
	struct in_addr v4;

	if (is_v6)
		return end[0] == ']' && end[1] == ':' && inet_pton(AF_INET6, text, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
	return strcasecmp(text, "localhost") == 0 || (inet_pton(AF_INET, text, &v4) == 1 && ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET);
}

bool etcd_members_in_clear(const char *names, bool with_tls)
{
	struct etcd_members members = {0};
	bool is_in_clear = false;

	if (etcd_members_add(&members, names, with_tls, NULL) == 0)
		for (size_t i = 0; i < members.count; i++)
			is_in_clear |= strncmp(members.items[i], "http://", 7) == 0 && !is_here(members.items[i] + 7);
	etcd_members_clear(&members);
	return is_in_clear;
}
