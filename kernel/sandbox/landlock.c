/* Step: Landlock, the second wall.
 *
 * It allows what the mounts allow, by other code of the machine: a mistake in
 * one does not open the other.  It cannot take something out of what it allows,
 * so what is read-only inside something read-write is so by its mount alone.
 * Where there is no new root it is the only wall around files.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "kernel/sandbox/steps.h"

/* linux/landlock.h of an older system lacks some of these. */
enum {
    EXECUTE = 1 << 0,
    WRITE_FILE = 1 << 1,
    READ_FILE = 1 << 2,
    READ_DIR = 1 << 3,
    REFER = 1 << 13,
    TRUNCATE = 1 << 14,
    IOCTL_DEV = 1 << 15,
    FIRST_ABI = (1 << 13) - 1, /* with what makes and removes entries */
    OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV,
    READ = EXECUTE | READ_FILE | READ_DIR,
};
enum { SCOPE_ABSTRACT_UNIX = 1 << 0, SCOPE_SIGNAL = 1 << 1 };

#define RULE_PATH_BENEATH 1
#define VERSION_FLAG 1u
#define LEAST_ABI 2 /* the first one lets no file be moved between folders */

struct ruleset {
    uint64_t files, net, scoped;
};

struct path_beneath {
    uint64_t allowed;
    int32_t parent;
} __attribute__((packed));

static uint64_t rights_of(int abi)
{
    return FIRST_ABI | REFER | (abi >= 3 ? TRUNCATE : 0) | (abi >= 5 ? IOCTL_DEV : 0);
}

static int make_ruleset(int abi)
{
    struct ruleset ruleset = {.files = rights_of(abi)};
    if (abi >= 6)
        ruleset.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
    size_t size = abi >= 6 ? sizeof(ruleset) : sizeof(ruleset.files);
    long fd = syscall(SYS_landlock_create_ruleset, &ruleset, size, 0);
    return fd < 0 ? -errno : (int)fd;
}

/* A path that is not there needs no rule. */
static int allow(int ruleset, uint64_t handled, const char *path, uint64_t rights)
{
    struct stat st;
    RF_AUTO(rf_closep) int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == EACCES ? 0 : -errno;
    if (fstat(fd, &st))
        return -errno;
    rights &= handled & (S_ISDIR(st.st_mode) ? ~0ull : (uint64_t)OF_FILES);
    struct path_beneath rule = {.allowed = rights, .parent = fd};
    return syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) ? -errno : 0;
}

static int allow_plan(struct rf_sandbox *sandbox, int ruleset, uint64_t handled)
{
    struct rf_plan plan;
    int r = rf_plan_make(&plan, sandbox->policy, sandbox->base->imports, sandbox->base->n_imports,
                         &sandbox->error);
    for (size_t i = 0; !r && i < plan.n; i++) {
        const struct rf_place *place = &plan.places[i];
        bool own = place->kind == RF_PLACE_MEMORY && sandbox->have & RF_HAVE_ROOT;
        if (place->kind == RF_PLACE_WRITE || own)
            r = allow(ruleset, handled, place->path, handled);
        else if (place->kind == RF_PLACE_READ)
            r = allow(ruleset, handled, place->path, READ);
    }
    rf_plan_deinit(&plan);
    return r;
}

struct rules {
    int ruleset;
    uint64_t handled;
};

static int allow_etc(void *ctx, const char *path)
{
    const struct rules *to = ctx;
    return allow(to->ruleset, to->handled, path, READ);
}

static int allow_system(struct rf_sandbox *sandbox, int ruleset, uint64_t handled)
{
    static const struct {
        const char *path;
        uint64_t rights;
    } rules[] = {
        {"/tmp", ~0ull},
        {"/var/tmp", ~0ull},
        {"/dev/shm", ~0ull},
        {"/dev", READ | WRITE_FILE | TRUNCATE | IOCTL_DEV},
        {"/proc", READ | WRITE_FILE | TRUNCATE},
    };
    int r = 0;
    struct rules to = {ruleset, handled};
    if (sandbox->have & RF_HAVE_ROOT)
        r = allow(ruleset, handled, "/", READ); /* there is nothing in it to keep from */
    else
        r = rf_each_etc(allow_etc, &to);
    for (size_t i = 0; !r && rf_system_folders[i]; i++)
        r = allow(ruleset, handled, rf_system_folders[i], READ);
    for (size_t i = 0; !r && i < sizeof(rules) / sizeof(*rules); i++)
        r = allow(ruleset, handled, rules[i].path, rules[i].rights & handled);
    return r;
}

int rf_step_landlock(struct rf_sandbox *sandbox)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, VERSION_FLAG);
    if (abi < LEAST_ABI)
        return abi < 0 ? -errno : -EOPNOTSUPP;
    RF_AUTO(rf_closep) int ruleset = make_ruleset((int)abi);
    if (ruleset < 0)
        return ruleset;
    int r = allow_system(sandbox, ruleset, rights_of((int)abi));
    r = r ? r : allow_plan(sandbox, ruleset, rights_of((int)abi));
    if (!r && syscall(SYS_landlock_restrict_self, ruleset, 0))
        r = -errno;
    return r;
}
