/* What a checkpoint must not hold on to.
 *
 * A checkpoint has a copy of every descriptor of the worker.  While it holds
 * the end of a pipe or socket, the peer never sees it closed; while it holds a
 * locked file, the lock stays.  A checkpoint cannot carry these anyway.
 */
#ifndef RINGFENCE_KERNEL_SEVER_H
#define RINGFENCE_KERNEL_SEVER_H

/* In the checkpoint: every pipe, socket and terminal from number `from` on
 * becomes a socket whose peer is gone (end of file, EPIPE), so that no number
 * is free for something else; a locked file is opened anew, without the lock.
 * All other descriptors stay. */
void rf_sever_descriptors(int from);

/* In a process that only answers: every regular file is opened anew to be read, so that
 * nothing is written and no position moves that the worker shares. */
void rf_sever_files(int from);

#endif
