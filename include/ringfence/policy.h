/* The sandbox policy of one kernel, as it travels from the gateway to the zygote.
 *
 * Part RF_SPAWN_POLICY of a spawn request: entries "key=value", each ended by
 * NUL, in any order; those marked * may come more than once.  The gateway makes
 * it from a profile; the kernel program refuses a key it does not know, so that
 * nothing that was asked for is passed over.  Paths are absolute; numbers are
 * decimal; 0 means "no limit" unless said otherwise.
 *
 *   profile=NAME        for messages
 *   walls=on|off        off: no namespaces, mounts or filters (trusted code); limits only.
 *                       Absent: on
 *   sandbox=auto|require  require: a layer that this machine denies is an error.  Absent: auto
 *   network=off|on|host on: an own network namespace to which the gateway attaches a
 *                       user-mode network; off: nothing but an own loopback.  Absent: off.
 *                       Where the machine denies the namespace, the layer "net" is lost,
 *                       and but for host the kernel gets no AF_INET and AF_INET6 sockets
 *   workspace=PATH      read-write at its own path; absent: an empty folder of its own in
 *                       memory, /workspace, where the kernel then starts; it must be there
 *   read_only=PATH *    mounted at its own path; passed over where it is not there
 *   read_write=PATH *   likewise, read-write; it must be there
 *   device=PATH *       a device node of the host beside the standard ones; it must be there
 *   mask=PATH *         inside a mounted path: an empty read-only folder or file lies over it;
 *                       passed over where it is not there, or nothing is mounted
 *   layer=PATH          packages of this workspace (%pip), read-write at its own path; it must
 *                       be there
 *   home=PATH           the user's home folder: an empty one of its own in memory, but where
 *                       the workspace is, or holds, it
 *   uid=N gid=N         who the kernel runs as; given by a gateway of root only, and always
 *                       where there are walls; never 0
 *   owner=N             root only: files of this user in what is mounted appear as uid's
 *                       (id-mapped mount); where the file system cannot: the layer "owner"
 *   memory=BYTES        for tmpfs sizes and RLIMIT_DATA; the cgroup is the gateway's
 *   disk=BYTES inodes=N size of each folder in memory: workspace, home, /tmp, /var/tmp,
 *                       /dev/shm; without disk: memory
 *   processes=N         RLIMIT_NPROC where no cgroup counts
 *   open_files=N        RLIMIT_NOFILE
 *   rlimits=0|1         1: no cgroup holds, so memory and processes are set as rlimits too
 *
 * With network=on /etc/resolv.conf names RF_NETWORK_DNS, and the interface comes some
 * milliseconds after the start.
 *
 * Paths have no empty, "." or ".." part and no slash at the end.  Symbolic links on
 * the way are resolved when the kernel is made, and the name as given works inside.
 * Of places in each other the inner one counts; of one path mask before read_only
 * before read_write before home.  What the zygote imports from is read-only
 * wherever it lies, also a workspace in it.
 */
#ifndef RINGFENCE_POLICY_H
#define RINGFENCE_POLICY_H

#define RF_POLICY_MAX 32768u /* bytes of all entries */
#define RF_NETWORK_DNS "10.0.2.3" /* network=on: who answers names */

#endif
