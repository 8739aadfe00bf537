/* Streams that somebody made by hand, with right checksums: nothing of them is seen or kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/chunk/digest.h"
#include "lib/stream/applying.h"
#include "lib/tree/content/file.h"
#include "tests/unit/stream_store.h"

static int setup(void **state)
{
	struct place *place = xcalloc(1, sizeof(*place));

	place_init(place);
	*state = place;
	return 0;
}

static int teardown(void **state)
{
	place_clear(*state);
	free(*state);
	return 0;
}

struct forger {
	struct buf stream;
	uint64_t seed, frames;
};

static void forge(struct forger *forger, enum stream_kind kind, const struct buf *body)
{
	uint8_t header[STREAM_FRAME_HEADER];

	stream_frame_encode(kind, (uint32_t)body->len, header);
	const struct stream_piece pieces[] = {{header, sizeof(header)}, {body->data, body->len}};
	forger->seed = stream_checksum(forger->seed, pieces, 2);
	buf_add(&forger->stream, header, sizeof(header));
	buf_add(&forger->stream, body->data, body->len);
	buf_add_le64(&forger->stream, forger->seed);
	forger->frames++;
}

static void forge_header(struct forger *forger, const uint8_t *identity)
{
	struct stream_header header = {.dataset_name = "d", .snapshot_name = "s0", .base_name = "", .note = "", .snapshot = {1}};
	AUTO_BUF body = BUF_INIT;

	memcpy(header.identity, identity, STREAM_ID_LEN);
	position_stream(header.snapshot, header.base, header.stream);
	stream_header_encode(&header, &body);
	*forger = (struct forger){.seed = STREAM_SEED};
	buf_add(&forger->stream, STREAM_MAGIC, STREAM_MAGIC_LEN);
	forge(forger, STREAM_HEADER, &body);
}

static void forge_entry(struct forger *forger, const struct stream_entry *entry)
{
	struct stream_entry full = *entry;
	AUTO_BUF body = BUF_INIT;

	if (!full.name)
		full.name = "";
	if (!full.attributes.target)
		full.attributes.target = "";
	stream_entry_encode(&full, &body);
	forge(forger, entry->kind, &body);
}

static void forge_data(struct forger *forger, uint64_t offset, const char *text, bool wrong)
{
	struct digest *digest = digest_new();
	uint8_t sha256[DIGEST_LEN];
	const struct stream_data data = {.offset = offset, .plain_len = (uint32_t)strlen(text), .sha256 = sha256};
	AUTO_BUF body = BUF_INIT;

	digest_once(digest, text, strlen(text), sha256);
	digest_free(digest);
	sha256[0] ^= wrong;
	stream_data_encode(&data, &body);
	buf_add(&body, text, strlen(text));
	forge(forger, STREAM_DATA, &body);
}

#define DIR(directory_, label_, name_) \
	{.kind = STREAM_NODE, .directory = directory_, .label = label_, .name = name_, .flags = STREAM_MORE, .attributes = {.mode = S_IFDIR | 0755}}
#define FILE_OF(directory_, label_, name_) \
	{.kind = STREAM_NODE, .directory = directory_, .label = label_, .name = name_, .attributes = {.mode = S_IFREG | 0644}}
#define BIG(label_, name_) \
	{.kind = STREAM_NODE, .directory = 1, .label = label_, .name = name_, .flags = STREAM_MORE, .attributes = {.mode = S_IFREG | 0644, .size = 100}}
#define NAME(directory_, label_, name_) {.kind = STREAM_NAME, .directory = directory_, .label = label_, .name = name_}
#define LEFT(label_) {.kind = STREAM_LEAVE, .label = label_}
#define ENTRIES_MAX 5

static const struct {
	const char *what;
	struct stream_entry entries[ENTRIES_MAX];
} hostile[] = {
	{"a name that leads up", {FILE_OF(1, 2, "..")}},
	{"a name that is the directory itself", {FILE_OF(1, 2, ".")}},
	{"a name with a slash", {FILE_OF(1, 2, "a/b")}},
	{"a name that is a path", {FILE_OF(1, 2, "/etc/passwd")}},
	{"an empty name", {FILE_OF(1, 2, "")}},
	{"the name of the list of snapshots", {DIR(1, 2, ".snapshots")}},
	{"a further name of that", {DIR(1, 2, "a"), LEFT(2), NAME(1, 2, ".snapshots")}},
	{"a directory that nobody knows", {FILE_OF(7, 2, "a")}},
	{"label 0", {FILE_OF(1, 0, "a")}},
	{"directory 0", {FILE_OF(0, 2, "a")}},
	{"a name twice", {FILE_OF(1, 2, "a"), FILE_OF(1, 3, "a")}},
	{"another root", {DIR(1, 1, "a")}},
	{"a further name of a directory", {DIR(1, 2, "a"), NAME(1, 2, "b")}},
	{"a directory in itself", {DIR(1, 2, "a"), NAME(2, 2, "b")}},
	{"a file that is a directory", {BIG(2, "a"), LEFT(2), FILE_OF(2, 3, "b")}},
	{"the end of nothing", {LEFT(9)}},
	{"the end of another file", {BIG(2, "a"), LEFT(3)}},
	{"something within a file", {BIG(2, "a"), FILE_OF(1, 3, "b")}},
	{"an old name where there is no base", {{.kind = STREAM_OLD, .directory = 1, .label = 2, .name = "a"}}},
	{"a size without content",
         {{.kind = STREAM_NODE, .directory = 1, .label = 2, .name = "a", .attributes = {.mode = S_IFREG | 0644, .size = 1ULL << 40}}}},
	{"a size beyond all", {{.kind = STREAM_NODE, .directory = 1, .label = 2, .name = "a", .flags = 2, .attributes = {.mode = S_IFREG, .size = ~0ULL}}}},
	{"no type", {{.kind = STREAM_NODE, .directory = 1, .label = 2, .name = "a", .attributes = {.mode = 0644}}}},
	{"a mode beyond all", {{.kind = STREAM_NODE, .directory = 1, .label = 2, .name = "a", .attributes = {.mode = S_IFREG | 0x10000}}}},
	{"a link without a target", {{.kind = STREAM_NODE, .directory = 1, .label = 2, .name = "a", .attributes = {.mode = S_IFLNK | 0777}}}},
	{"a fifo with content", {{.kind = STREAM_NODE, .directory = 1, .label = 2, .name = "a", .flags = 2, .attributes = {.mode = S_IFIFO}}}},
	{"a root that is a file", {{.kind = STREAM_META, .label = 1, .attributes = {.mode = S_IFREG | 0644}}}},
	{"something behind its end", {{.kind = STREAM_META, .label = 1, .attributes = {.mode = S_IFDIR | 0755}}, FILE_OF(1, 2, "a")}},
};

static void refused(struct place *place, struct forger *forger, uid_t uid, const char *what)
{
	AUTO_BUF end = BUF_INIT;
	struct error err;
	int r;

	buf_add_le64(&end, forger->frames);
	forge(forger, STREAM_END, &end);
	r = receive_as(place->store, uid, "d", forger->stream.data, forger->stream.len, &err);
	if (r != -EBADMSG && r != -EPERM && r != -EILSEQ)
		fail_msg("a stream with %s: %d %s", what, r, err.text);
	assert_false(has_dataset(place->store, "d"));
	if (unfinished(place->store, "d"))
		fail_msg("a stream with %s is kept", what);
	buf_clear(&forger->stream);
}

static void hostile_streams_change_nothing(void **state)
{
	static const uint8_t nothing[STREAM_ID_LEN];
	struct place *place = *state;
	struct forger forger;

	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		forge_header(&forger, nothing);
		for (size_t k = 0; k < ENTRIES_MAX && hostile[i].entries[k].kind; k++)
			forge_entry(&forger, &hostile[i].entries[k]);
		refused(place, &forger, 0, hostile[i].what);
	}
}

static void hostile_content_changes_nothing(void **state)
{
	static const uint8_t nothing[STREAM_ID_LEN];
	const struct stream_entry big = BIG(2, "a");
	const struct stream_space space = {.offset = 50, .length = 1000};
	struct place *place = *state;
	AUTO_BUF body = BUF_INIT;
	struct forger forger;

	forge_header(&forger, nothing);
	forge_data(&forger, 0, "text", false);
	refused(place, &forger, 0, "content of nothing");
	forge_header(&forger, nothing);
	forge_entry(&forger, &big);
	forge_data(&forger, 0, "text", true);
	refused(place, &forger, 0, "content with another SHA-256");
	forge_header(&forger, nothing);
	forge_entry(&forger, &big);
	forge_data(&forger, 98, "text", false);
	refused(place, &forger, 0, "content beyond the end");
	forge_header(&forger, nothing);
	forge_entry(&forger, &big);
	forge_data(&forger, 50, "text", false);
	forge_data(&forger, 10, "text", false);
	refused(place, &forger, 0, "content that goes back");
	forge_header(&forger, nothing);
	forge_entry(&forger, &big);
	stream_space_encode(&space, &body);
	forge(&forger, STREAM_SPACE, &body);
	refused(place, &forger, 0, "a hole beyond the end");
}

/* Right in itself, and not what its header promises. */
static void a_stream_with_another_identity_is_refused(void **state)
{
	static const uint8_t nothing[STREAM_ID_LEN];
	const struct stream_entry file = FILE_OF(1, 2, "a"), root = {.kind = STREAM_META, .label = 1, .attributes = {.mode = S_IFDIR | 0755}};
	struct place *place = *state;
	struct forger forger;

	forge_header(&forger, nothing);
	forge_entry(&forger, &file);
	forge_entry(&forger, &root);
	refused(place, &forger, 0, "another identity");
}

static void a_user_gets_only_what_is_his(void **state)
{
	static const uint8_t nothing[STREAM_ID_LEN];
	static const char *const names[] = {"trusted.a", "security.capability", "system.posix_acl_access", "other.a"};
	struct stream_entry entries[] = {FILE_OF(1, 2, "a"), FILE_OF(1, 2, "a"), FILE_OF(1, 2, "a")};
	struct stream_entry file = FILE_OF(1, 2, "a");
	struct place *place = *state;
	struct forger forger;

	entries[0].attributes.uid = 0;
	entries[1].attributes.uid = 1000;
	entries[1].attributes.gid = 0;
	entries[2].attributes = (struct stream_attributes){.mode = S_IFCHR | 0600, .uid = 1000, .gid = 1000, .rdev = 0x103};
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		forge_header(&forger, nothing);
		forge_entry(&forger, &entries[i]);
		refused(place, &forger, 1000, "what is not his");
	}
	file.attributes.uid = file.attributes.gid = 1000;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		AUTO_BUF xattr = BUF_INIT;

		stream_xattr_encode(names[i], "x", 1, &xattr);
		file.attributes.xattr_count = 1;
		file.attributes.xattrs = reader_over(xattr.data, xattr.len);
		forge_header(&forger, nothing);
		forge_entry(&forger, &file);
		refused(place, &forger, 1000, names[i]);
	}
}

static void deep_nesting_needs_no_stack(void **state)
{
	static const uint8_t nothing[STREAM_ID_LEN];
	const struct stream_entry root = {.kind = STREAM_META, .label = 1, .attributes = {.mode = S_IFDIR | 0755}};
	struct place *place = *state;
	struct forger forger;

	forge_header(&forger, nothing);
	for (uint64_t i = 1; i < 5000; i++) {
		const struct stream_entry dir = DIR(i, i + 1, "d");

		forge_entry(&forger, &dir);
	}
	forge_entry(&forger, &root);
	refused(place, &forger, 0, "5000 directories in each other, and another identity");
}

static size_t waiting(const struct applying *applying)
{
	size_t bytes = 0;

	for (size_t i = 0; i < applying->waiting.count; i++)
		bytes += applying->waiting.items[i].body.len + applying->waiting.items[i].content.len;
	return bytes;
}

/* Small files wait for each other, and so do their attributes, which need not be small. */
static void attributes_that_wait_are_bounded(void **state)
{
	const struct receive_options options = {.dataset = "d", .stopped = never};
	AUTO_FREE uint8_t *value = xcalloc(1, 64 << 10);
	struct place *place = *state;
	struct receive_result result = {0};
	struct error err = {0};
	struct applying applying = {.store = place->store, .options = &options, .result = &result, .err = &err};
	struct stream_entry file = FILE_OF(STREAM_ROOT, 2, NULL);
	AUTO_BUF xattrs = BUF_INIT;
	size_t most = 0;
	struct attr attr;
	char name[16];

	assert_int_equal(dataset_create(place->store, "d", 0755, 0, 0, 1, &err), 0);
	applying.view = open_head(place->store, "d");
	for (unsigned i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "user.%u", i);
		stream_xattr_encode(name, value, 64 << 10, &xattrs);
	}
	file.attributes.xattr_count = 16;
	file.attributes.target = "";
	for (unsigned i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		file.name = name;
		file.attributes.xattrs = reader_over(xattrs.data, xattrs.len);
		assert_int_equal(applying_new_file(&applying, ROOT_INO, &file), 0);
		assert_int_equal(applying.waiting_bytes, waiting(&applying));
		most = MAX(most, applying.waiting_bytes);
	}
	assert_in_range(most, 1 << 20, bulk_budget(applying.view) / 4 + (2 << 20));
	assert_int_equal(applying_flush(&applying), 0);
	assert_int_equal(applying.waiting_bytes, 0);
	assert_int_equal(view_lookup(applying.view, ROOT_INO, "f39", &attr), 0);
	applying_content_clear(&applying);
	store_view_put(place->store, applying.view);
}

static void a_newer_version_is_refused(void **state)
{
	static const uint8_t nothing[STREAM_ID_LEN];
	struct place *place = *state;
	struct forger forger;
	AUTO_BUF body = BUF_INIT;
	struct error err;

	forge_header(&forger, nothing);
	buf_clear(&forger.stream);
	buf_add_le32(&body, STREAM_VERSION + 1);
	forger = (struct forger){.seed = STREAM_SEED};
	buf_add(&forger.stream, STREAM_MAGIC, STREAM_MAGIC_LEN);
	forge(&forger, STREAM_HEADER, &body);
	assert_int_equal(receive_as(place->store, 0, "d", forger.stream.data, forger.stream.len, &err), -EPROTONOSUPPORT);
	buf_clear(&forger.stream);
	assert_int_equal(receive_as(place->store, 0, "d", "tar of something", 16, &err), -EBADMSG);
	assert_int_equal(receive_as(place->store, 0, "d", "", 0, &err), -ENOMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(hostile_streams_change_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_content_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stream_with_another_identity_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_user_gets_only_what_is_his, setup, teardown),
		cmocka_unit_test_setup_teardown(deep_nesting_needs_no_stack, setup, teardown),
		cmocka_unit_test_setup_teardown(attributes_that_wait_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(a_newer_version_is_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
