/* Memory of a process tree, where no cgroup counts it.
 *
 * The sum of the proportional shares (PSS) of a process and its descendants: so
 * worker and checkpoint, which share most of their pages, are counted once.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_WATCHDOG_H
#define RINGFENCE_GATEWAY_SUPERVISE_WATCHDOG_H

#include <stdint.h>
#include <sys/types.h>

/* Bytes of `root` and all below it.  Where the resident sizes together are not
 * over `enough`, their sum, which is cheap and never less, is given instead. */
uint64_t rf_tree_memory(pid_t root, uint64_t enough);

#endif
