/* The system calls, by name, and what becomes of them: data for filter.c.
 *
 * A name that an architecture does not have is passed over there.  All that is in
 * no list gets ENOSYS.
 */
#ifndef RINGFENCE_KERNEL_SANDBOX_CALLS_H
#define RINGFENCE_KERNEL_SANDBOX_CALLS_H

/* Lists of names, separated by blanks. */
extern const char rf_calls_allowed[]; /* for a worker */
extern const char rf_calls_refused[]; /* EPERM for a worker */
extern const char rf_calls_unseen[];  /* ENOSYS where only processes and mounts are watched */
extern const char rf_calls_keeper[];  /* all that a keeper does */

/* Calls that libseccomp 2.5 has no name for, and that are harmless. */
extern const int rf_calls_newer[]; /* ended by 0 */

#endif
