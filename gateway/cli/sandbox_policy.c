/* See sandbox_policy.h. */
#include "gateway/cli/sandbox_policy.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <ringfence/policy.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gateway/cli/files.h"

static void add_entry(struct rf_buf *to, const char *key, const char *value)
{
    rf_buf_printf(to, "%s=%s", key, value);
    rf_buf_add(to, "", 1);
}

static void add_number(struct rf_buf *to, const char *key, int64_t value)
{
    rf_buf_printf(to, "%s=%" PRId64, key, value);
    rf_buf_add(to, "", 1);
}

static void add_entries(struct rf_buf *to, const char *key, const struct rf_buf *words)
{
    for (const char *word = NULL; (word = rf_word_next(words, word));)
        add_entry(to, key, word);
}

static bool list_has(const struct rf_buf *words, const char *path, bool below)
{
    for (const char *word = NULL; (word = rf_word_next(words, word));)
        if (below ? rf_path_is_in(path, word) : !strcmp(path, word))
            return true;
    return false;
}

/* --- masks --- */

/* Is it mounted by a path of its own that lies in `folder`? */
static bool is_named_below(const struct rf_buf *words, const char *path, const char *folder)
{
    for (const char *word = NULL; (word = rf_word_next(words, word));)
        if (rf_path_is_in(path, word) && rf_path_is_in(word, folder))
            return true;
    return false;
}

struct masks {
    const struct rf_profile *profile;
    const struct rf_facts *facts;
    struct rf_buf paths; /* candidates */
};

/* Would it be seen, if nothing lay over it? */
static bool is_mounted(const struct masks *masks, const char *path)
{
    const struct rf_facts *facts = masks->facts;
    return (!masks->profile->own_workspace && rf_path_is_in(path, facts->workspace)) ||
           (facts->ipython && rf_path_is_in(path, facts->ipython)) ||
           list_has(&masks->profile->read_only, path, true) ||
           list_has(&masks->profile->read_write, path, true);
}

/* In a folder that is masked there is nothing to mask, but for what is mounted
 * there by its own path. */
static bool is_hidden(const struct masks *masks, const char *path)
{
    for (const char *above = NULL; (above = rf_word_next(&masks->paths, above));)
        if (strlen(above) < strlen(path) && rf_path_is_in(path, above) &&
            !is_named_below(&masks->profile->read_only, path, above) &&
            !is_named_below(&masks->profile->read_write, path, above) &&
            !(masks->facts->ipython && rf_path_is_in(path, masks->facts->ipython) &&
              rf_path_is_in(masks->facts->ipython, above)))
            return true;
    return false;
}

static void add_candidate(struct masks *masks, const char *path)
{
    if (!list_has(&masks->paths, path, false))
        rf_buf_add(&masks->paths, path, strlen(path) + 1);
}

/* The home's hidden entries; one that the profile names itself is wanted. */
static int mask_hidden(struct masks *masks, struct rf_error *err)
{
    const struct rf_facts *facts = masks->facts;
    DIR *dir = opendir(facts->home);
    if (!dir)
        return errno == ENOENT ? 0 : rf_error_errno(err, -errno, "cannot read the home folder %.200s",
                                                    facts->home);
    for (struct dirent *e; (e = readdir(dir));) {
        char path[PATH_MAX];
        if (e->d_name[0] != '.' || !strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if (snprintf(path, sizeof(path), "%s/%s", facts->home[1] ? facts->home : "", e->d_name) >=
            PATH_MAX)
            continue; /* nothing can be mounted there, nor opened by its path */
        bool wanted = list_has(&masks->profile->read_only, path, false) ||
                      list_has(&masks->profile->read_write, path, false) ||
                      (facts->ipython && !strcmp(facts->ipython, path));
        if (!wanted)
            add_candidate(masks, path);
    }
    closedir(dir);
    return 0;
}

static int add_masks(const struct rf_profile *profile, const struct rf_facts *facts,
                     struct rf_buf *to, struct rf_buf *note, struct rf_error *err)
{
    struct masks masks = {.profile = profile, .facts = facts};
    int r = 0;
    for (size_t i = 0; facts->secrets[i]; i++)
        if (is_mounted(&masks, facts->secrets[i]))
            add_candidate(&masks, facts->secrets[i]);
    if (!profile->own_workspace && facts->home && rf_path_is_in(facts->home, facts->workspace)) {
        rf_buf_printf(note,
                      "the workspace %s %s: hidden files and folders there are not visible inside",
                      facts->workspace,
                      strcmp(facts->home, facts->workspace) ? "holds your home folder"
                                                            : "is your home folder");
        r = mask_hidden(&masks, err);
    }
    for (const char *path = NULL; (path = rf_word_next(&masks.paths, path));)
        if (!is_hidden(&masks, path))
            add_entry(to, "mask", path);
    to->failed |= masks.paths.failed;
    rf_buf_deinit(&masks.paths);
    return r;
}

/* --- who it runs as --- */

/* A kernel is never root, in whatever namespace: a root gateway picks the
 * workspace's owner, or a uid of the kernel's own to which root's files there
 * are mapped. */
static void add_owner(const struct rf_profile *profile, const struct rf_facts *facts,
                      struct rf_buf *to)
{
    if (facts->uid)
        return;
    uid_t uid = facts->owner;
    gid_t gid = facts->owner_group;
    if (!uid || profile->own_workspace) {
        uid = facts->large_uids ? RF_UID_FIRST + (unsigned)facts->pid % RF_UID_COUNT
                                : RF_UID_SMALL_FIRST + (unsigned)facts->pid % RF_UID_SMALL_COUNT;
        gid = uid;
    }
    add_number(to, "uid", uid);
    add_number(to, "gid", gid ? gid : uid);
    if (!facts->owner && !profile->own_workspace)
        add_number(to, "owner", 0);
}

/* --- the whole --- */

static void add_limits(const struct rf_profile *profile, struct rf_buf *to)
{
    add_number(to, "memory", profile->memory);
    add_number(to, "disk", profile->disk);
    add_number(to, "inodes", profile->inodes);
    add_number(to, "processes", profile->processes);
    add_number(to, "open_files", profile->open_files);
}

static void add_places(const struct rf_profile *profile, const struct rf_facts *facts,
                       struct rf_buf *to)
{
    if (!profile->own_workspace)
        add_entry(to, "workspace", facts->workspace);
    if (facts->home)
        add_entry(to, "home", facts->home);
    if (facts->layer && !profile->own_workspace)
        add_entry(to, "layer", facts->layer);
    if (facts->ipython)
        add_entry(to, "read_only", facts->ipython);
    add_entries(to, "read_only", &profile->read_only);
    add_entries(to, "read_write", &profile->read_write);
    add_entries(to, "device", &profile->devices);
}

int rf_sandbox_policy(const struct rf_profile *profile, const struct rf_facts *facts,
                      struct rf_buf *to, struct rf_buf *note, struct rf_error *err)
{
    static const char *const networks[] = {
        [RF_NETWORK_OFF] = "off", [RF_NETWORK_ON] = "on", [RF_NETWORK_HOST] = "host"};
    size_t before = to->len;
    add_entry(to, "profile", profile->name);
    add_entry(to, "walls", profile->walls ? "on" : "off");
    add_entry(to, "sandbox", profile->require ? "require" : "auto");
    add_entry(to, "network", networks[profile->network]);
    add_limits(profile, to);
    int r = 0;
    if (profile->walls) {
        add_places(profile, facts, to);
        add_owner(profile, facts, to);
        r = add_masks(profile, facts, to, note, err);
    }
    if (!r && !rf_buf_ok(to))
        r = rf_error_errno(err, -ENOMEM, "cannot make the sandbox's policy");
    if (!r && to->len - before > RF_POLICY_MAX)
        r = rf_error_set(err, -E2BIG,
                         "the sandbox's policy is over %u bytes: too many paths, or too many hidden "
                         "files in %.200s, which the workspace holds; start the kernel in another "
                         "folder",
                         RF_POLICY_MAX, facts->home ? facts->home : "the home folder");
    return r;
}
