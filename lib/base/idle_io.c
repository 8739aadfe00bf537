#include "lib/base/idle_io.h"

#include <linux/ioprio.h>
#include <sys/syscall.h>
#include <unistd.h>

void idle_io_begin(struct idle_io *idle)
{
	idle->before = (int)syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0);
	if (idle->before >= 0 && syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)) < 0)
		idle->before = -1;
}

void idle_io_end(struct idle_io *idle)
{
	if (idle->before >= 0)
		(void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, idle->before);
}
