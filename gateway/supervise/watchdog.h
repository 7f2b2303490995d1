/* Memory of a sandbox, where no cgroup counts it, and its processor time.
 *
 * The sum of the proportional shares (PSS) of a process and its descendants: so
 * worker and checkpoint, which share most of their pages, are counted once.  To it
 * comes what lies in files in memory; of that and of what is mapped shared the larger
 * one counts, since the one may be the other.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_WATCHDOG_H
#define RINGFENCE_GATEWAY_SUPERVISE_WATCHDOG_H

#include <stdint.h>
#include <sys/types.h>

/* Bytes of `root` and all below it, and of the files.  Where the resident sizes and the
 * files together are not over `enough`, their sum, which is cheap and never less, is
 * given instead. */
uint64_t rf_tree_memory(pid_t root, uint64_t enough);

/* Processor time that they have used so far, in clock ticks. */
uint64_t rf_tree_ticks(pid_t root);

/* Bytes of private pages that only checkpoints below `root` have.  `anonymous`: those of all,
 * 0: to be added up here.  Pages that two other processes share count twice for these, so it
 * is rather too little. */
uint64_t rf_tree_kept(pid_t root, uint64_t anonymous);

/* Bytes on the tmpfs mounts that `pid` sees and we do not. */
uint64_t rf_tree_files(pid_t pid);

#endif
