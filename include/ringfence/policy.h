/* The sandbox policy of one kernel, as it travels from the gateway to the zygote.
 *
 * Part RF_SPAWN_POLICY of a spawn request: entries "key=value", each ended by
 * NUL, in any order; those marked * may come more than once.  The gateway makes
 * it from a profile; the kernel program refuses a key it does not know, so that
 * nothing that was asked for is passed over.  Paths are absolute; numbers are
 * decimal; 0 means "no limit" unless said otherwise.
 *
 * What is mounted is mounted in the order of the paths, parents first: what is
 * named in a masked folder lies over the mask.  A mask is never below another
 * one unless a named path lies between.  With network=on /etc/resolv.conf names
 * RF_NETWORK_DNS, and the interface comes some milliseconds after the start.
 *
 *   profile=NAME        for messages
 *   walls=on|off        off: no namespaces, mounts or filters (trusted code); limits only
 *   sandbox=auto|require  require: a layer that this machine denies is an error
 *   network=off|on|host on: an own network namespace to which the gateway attaches a
 *                       user-mode network; off: nothing but an own loopback
 *   workspace=PATH      read-write at its own path; absent: an empty folder of its own in memory
 *   read_only=PATH *    mounted at its own path
 *   read_write=PATH *   likewise
 *   device=PATH *       a device node of the host beside the standard ones
 *   mask=PATH *         inside a mounted path: an empty read-only folder or file lies over it
 *   layer=PATH          packages of this workspace (%pip), read-write at its own path
 *   home=PATH           the user's home folder: an empty one of its own in memory
 *   uid=N gid=N         who the kernel runs as; given by a gateway of root only, never 0
 *   owner=N             root only: files of this user in workspace, layer and read_write paths
 *                       appear as uid's (id-mapped mount)
 *   memory=BYTES        for tmpfs sizes and RLIMIT_DATA; the cgroup is the gateway's
 *   disk=BYTES inodes=N size of the workspace in memory, and of /tmp and /dev/shm
 *   processes=N         RLIMIT_NPROC where no cgroup counts
 *   open_files=N        RLIMIT_NOFILE
 *   rlimits=0|1         1: no cgroup holds, so memory and processes are set as rlimits too
 */
#ifndef RINGFENCE_POLICY_H
#define RINGFENCE_POLICY_H

#define RF_POLICY_MAX 32768u /* bytes of all entries */
#define RF_NETWORK_DNS "10.0.2.3" /* network=on: who answers names */

#endif
