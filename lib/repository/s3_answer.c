#include "lib/repository/s3_answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <expat.h>

#define DEPTH_MAX 16
#define LISTING "ListBucketResult"

struct parsing {
	XML_Parser parser;
	unsigned depth;
	char inside[DEPTH_MAX][64];
	char text[S3_TEXT_MAX];
	size_t len;

	struct s3_page *page; /* NULL: an error is read */
	bool is_listing, goes_on;
	char key[S3_TEXT_MAX];
	uint64_t size;
	int result;
	char *code, *message;
};

static const char *parent(const struct parsing *parsing)
{
	return parsing->depth >= 2 ? parsing->inside[parsing->depth - 2] : "";
}

static void begin(void *arg, const char *name, const char **attributes)
{
	struct parsing *parsing = arg;

	(void)attributes;
	if (parsing->depth == DEPTH_MAX || strlen(name) >= sizeof(parsing->inside[0])) {
		XML_StopParser(parsing->parser, XML_FALSE);
		return;
	}
	if (parsing->depth == 0)
		parsing->is_listing = strcmp(name, LISTING) == 0;
	memcpy(parsing->inside[parsing->depth++], name, strlen(name) + 1);
	parsing->len = 0;
}

static void text(void *arg, const char *data, int len)
{
	struct parsing *parsing = arg;

	if ((size_t)len >= sizeof(parsing->text) - parsing->len) {
		XML_StopParser(parsing->parser, XML_FALSE);
		return;
	}
	memcpy(parsing->text + parsing->len, data, (size_t)len);
	parsing->len += (size_t)len;
}

static void end_of_page(struct parsing *parsing, const char *name)
{
	struct s3_page *page = parsing->page;

	if (strcmp(parent(parsing), "Contents") == 0 && strcmp(name, "Key") == 0)
		memcpy(parsing->key, parsing->text, parsing->len + 1);
	else if (strcmp(parent(parsing), "Contents") == 0 && strcmp(name, "Size") == 0)
		parsing->size = strtoull(parsing->text, NULL, 10);
	else if (strcmp(parent(parsing), LISTING) == 0 && strcmp(name, "IsTruncated") == 0)
		parsing->goes_on = strcmp(parsing->text, "true") == 0;
	else if (strcmp(name, "NextContinuationToken") == 0)
		memcpy(page->next, parsing->text, parsing->len + 1);
	else if (strcmp(name, "Contents") == 0 && parsing->result == 0)
		parsing->result = page->each(page->arg, parsing->key, parsing->size);
}

static void end(void *arg, const char *name)
{
	struct parsing *parsing = arg;

	parsing->text[parsing->len] = '\0';
	if (parsing->page)
		end_of_page(parsing, name);
	else if (strcmp(parent(parsing), "Error") == 0 && strcmp(name, "Code") == 0)
		memcpy(parsing->code, parsing->text, parsing->len + 1);
	else if (strcmp(parent(parsing), "Error") == 0 && strcmp(name, "Message") == 0)
		memcpy(parsing->message, parsing->text, parsing->len + 1);
	parsing->depth--;
	parsing->len = 0;
}

static int parse(struct parsing *parsing, const void *xml, size_t len)
{
	bool is_whole;

	parsing->parser = XML_ParserCreate(NULL);
	if (!parsing->parser)
		return -ENOMEM;
	XML_SetUserData(parsing->parser, parsing);
	XML_SetElementHandler(parsing->parser, begin, end);
	XML_SetCharacterDataHandler(parsing->parser, text);
	is_whole = len <= INT32_MAX && XML_Parse(parsing->parser, xml, (int)len, XML_TRUE) == XML_STATUS_OK;
	XML_ParserFree(parsing->parser);
	return is_whole ? 0 : -EPROTO;
}

int s3_read_page(const void *xml, size_t len, struct s3_page *page)
{
	struct parsing parsing = {.page = page};
	int r;

	page->next[0] = '\0';
	r = parse(&parsing, xml, len);
	/* What is not seen is taken for removed by some. */
	if (r == 0 && (!parsing.is_listing || (parsing.goes_on && !page->next[0])))
		r = -EPROTO;
	return parsing.result ? parsing.result : r;
}

void s3_read_error(const void *xml, size_t len, char ret_code[S3_TEXT_MAX], char ret_message[S3_TEXT_MAX])
{
	struct parsing parsing = {.code = ret_code, .message = ret_message};

	ret_code[0] = ret_message[0] = '\0';
	if (len > 0 && parse(&parsing, xml, len) < 0)
		ret_code[0] = ret_message[0] = '\0';
}
