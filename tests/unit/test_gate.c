#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/fuse.h>
#include <pthread.h>

#include "fs/fuse/freeze/gate.h"
#include "lib/base/clock.h"
#include "lib/format/key.h"

#define VIEW 3
#define DATASET 2

static const struct node_root root = {0};

struct comer {
	struct session_holder holder;
	struct session_slot slot;
	uint64_t node;
	uint32_t opcode;
	bool passed;
	atomic_bool done;
	pthread_t thread;
};

static void *come(void *arg)
{
	struct comer *comer = arg;
	struct {
		struct fuse_in_header in;
		struct fuse_write_in write; /* others have no more room than that here */
	} request = {.in = {.len = sizeof(request), .opcode = comer->opcode, .nodeid = comer->node}};

	comer->passed = comer->holder.enter(comer->holder.arg, &comer->slot, &request, sizeof(request));
	atomic_store(&comer->done, true);
	return NULL;
}

static void who_cannot_be_held_waits_until_the_gate_is_opened(void **state)
{
	const uint32_t opcodes[] = {FUSE_MKDIR, FUSE_LOOKUP, FUSE_WRITE};

	for (size_t i = 0; i < sizeof(opcodes) / sizeof(*opcodes); i++) {
		struct gate_session session = {.gate = gate_new(10), .root = root};
		struct comer comer = {.holder = gate_holder(&session), .opcode = opcodes[i]};

		comer.node = node_encode((struct node){.kind = NODE_FILE, .view = VIEW, .ino = 10}, &root);
		writers_init(&session.writers);
		comer.holder.add(comer.holder.arg, &comer.slot);
		gate_close(session.gate, &(uint32_t){VIEW}, 1, false);
		writers_name(&session.writers); /* none: writes are held, too */
		assert_false(gate_is_full(session.gate));
		assert_int_equal(pthread_create(&comer.thread, NULL, come, &comer), 0);
		while (!gate_is_full(session.gate))
			clock_pause_us(100);
		assert_int_equal(gate_drain(session.gate, clock_ms() + 60000), 0);
		assert_int_equal(gate_drain_writes(session.gate, clock_ms() + 60000), 0);
		assert_false(atomic_load(&comer.done));
		gate_open(session.gate);
		pthread_join(comer.thread, NULL);
		assert_true(comer.passed);
		assert_false(gate_is_full(session.gate));
		comer.holder.leave(comer.holder.arg, &comer.slot);
		comer.holder.remove(comer.holder.arg, &comer.slot);
		writers_clear(&session.writers);
		gate_free(session.gate);
	}
}

/* Of a mount of the whole store, and of one of the dataset alone. */
static void a_look_at_the_root_of_a_head_is_waited_for_where_that_is_replaced(void **state)
{
	const uint32_t opcodes[] = {FUSE_LOOKUP, FUSE_GETATTR, FUSE_OPENDIR, FUSE_READDIR, FUSE_READDIRPLUS};

	for (size_t i = 0; i < ARRAY_SIZE(opcodes) * 8; i++) {
		const bool is_alone = i & 1, is_root = i & 2, replaces = i & 4;
		struct head_views *heads = head_views_new();
		struct gate_session session = {.gate = gate_new(1 << 20), .root = {.heads = heads, .dataset = is_alone ? DATASET : 0}};
		struct comer comer = {.holder = gate_holder(&session), .opcode = opcodes[i / 8]};

		head_views_note(heads, DATASET, VIEW);
		comer.node = node_encode((struct node){.kind = NODE_FILE, .view = VIEW, .ino = is_root ? ROOT_INO : 10}, &session.root);
		writers_init(&session.writers);
		comer.holder.add(comer.holder.arg, &comer.slot);
		come(&comer);
		assert_true(comer.passed);
		gate_close(session.gate, &(uint32_t){VIEW}, 1, replaces);
		assert_int_equal(gate_drain(session.gate, clock_ms()), is_root && replaces ? -EBUSY : 0);
		comer.holder.leave(comer.holder.arg, &comer.slot);
		assert_int_equal(gate_drain(session.gate, clock_ms()), 0);
		gate_open(session.gate);
		comer.holder.remove(comer.holder.arg, &comer.slot);
		writers_clear(&session.writers);
		gate_free(session.gate);
		head_views_free(heads);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_cannot_be_held_waits_until_the_gate_is_opened),
		cmocka_unit_test(a_look_at_the_root_of_a_head_is_waited_for_where_that_is_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
