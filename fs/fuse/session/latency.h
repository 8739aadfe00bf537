/*
 * Keeps idle processors from sleeping deeply while requests follow one another.
 *
 * A request of one client is a game of catch: it wakes a thread of ours and sleeps, and our reply wakes it. With two processors each of the
 * two wakes the other's, which by then has gone idle; on a virtual machine that is an exit to the hypervisor and back, more than all work
 * on the request takes (measured: 110 us for two requests, 40 us without). Linux lets a process say how much delay it can bear
 * (/dev/cpu_dma_latency, Documentation/power/pm_qos_interface.rst). We do so from the first burst of requests until none has come for a
 * while; then the processors sleep as before. A guest's processors then wait in a loop, others in their lightest sleep. It needs write
 * permission on the device; without it everything works, only slower. Where clients keep all processors busy it changes nothing.
 *
 *   latency_note(latency)   for each request; any thread, a few instructions
 */
#ifndef CORPUSFS_FUSE_SESSION_LATENCY_H
#define CORPUSFS_FUSE_SESSION_LATENCY_H

#include <stdbool.h>

struct latency;

struct latency *latency_new(void); /* NULL when the system does not let us */
void latency_free(struct latency *latency);
void latency_note(struct latency *latency); /* NULL is fine, here too */
bool latency_is_held(struct latency *latency);

#endif
