/*
 * A server of HTTP on loopback. Each connection is one request without a body that counts, which a function of the test answers in a thread of its own;
 * then it is closed.
 */
#ifndef CORPUSFS_TEST_HTTP_SERVER_H
#define CORPUSFS_TEST_HTTP_SERVER_H

#include <arpa/inet.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HTTP_SERVER_MAX 256 /* connections, in all */

struct http_server {
	void (*answer)(void *arg, int fd, const char *path); /* what is asked for, as "/path" */
	void *arg;
	char url[64]; /* ends with '/' */
	unsigned port;
	int listener;
	pthread_t thread, answering[HTTP_SERVER_MAX];
	size_t count;
};

struct http_server_connection {
	const struct http_server *server;
	int fd;
};

static inline bool http_server_read(int fd, char text[4096])
{
	size_t len = 0;

	memset(text, 0, 4096);
	while (!strstr(text, "\r\n\r\n")) {
		const ssize_t got = recv(fd, text + len, 4095 - len, 0);

		if (got <= 0)
			return false;
		len += (size_t)got;
	}
	return true;
}

static inline void *http_server_answer(void *arg)
{
	struct http_server_connection *connection = arg;
	char text[4096], path[256];

	if (http_server_read(connection->fd, text) && sscanf(text, "%*s %255s", path) == 1)
		connection->server->answer(connection->server->arg, connection->fd, path);
	close(connection->fd);
	free(connection);
	return NULL;
}

static inline void *http_server_listen(void *arg)
{
	struct http_server *server = arg;

	for (int fd; (fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
		struct http_server_connection *connection = malloc(sizeof(*connection));

		if (!connection || server->count == HTTP_SERVER_MAX)
			abort();
		*connection = (struct http_server_connection){server, fd};
		if (pthread_create(&server->answering[server->count++], NULL, http_server_answer, connection) != 0)
			abort();
	}
	return NULL;
}

static inline void http_server_start(struct http_server *server)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);

	server->count = 0;
	server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(server->listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(server->listener, 64) < 0 ||
	    getsockname(server->listener, (struct sockaddr *)&address, &len) < 0)
		abort();
	server->port = ntohs(address.sin_port);
	snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%u/", server->port);
	if (pthread_create(&server->thread, NULL, http_server_listen, server) != 0)
		abort();
}

/* Waits for all that are being answered. */
static inline void http_server_stop(struct http_server *server)
{
	shutdown(server->listener, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	for (size_t i = 0; i < server->count; i++)
		pthread_join(server->answering[i], NULL);
	close(server->listener);
}

#endif
