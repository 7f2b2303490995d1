/* Have the files that this process loaded changed since?
 *
 * The zygote asks before each fork, so that a kernel started after an upgrade
 * of a package sees the new version.  While inotify is silent that costs a system
 * call or two; after an event, and for paths of which it cannot tell (through
 * symbolic links, on file systems of other machines, not there yet), one stat per path.
 */
#ifndef RINGFENCE_KERNEL_WATCH_H
#define RINGFENCE_KERNEL_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct rf_watch;

/* Remembers how the paths (files and folders) look now.  A file that changed
 * after `since` counts as changed: it may have been read before that. */
struct rf_watch *rf_watch_new(const char *const *paths, size_t n, struct timespec since);
struct rf_watch *rf_watch_free(struct rf_watch *watch);
/* The first path that looks different now, or NULL; borrowed from `watch`. */
const char *rf_watch_changed(struct rf_watch *watch);

#endif
