/* See policy.h. */
#include "kernel/sandbox/policy.h"

#include <errno.h>
#include <stdlib.h>

#include <ringfence/policy.h>

enum kind { TEXT, PATH, PATHS, NUMBER, ID, CHOICE };

struct key {
    const char *name;
    enum kind kind;
    size_t offset;              /* in struct rf_sandbox_policy */
    const char *choices[4];     /* CHOICE: the value is the index */
};

#define AT(field) offsetof(struct rf_sandbox_policy, field)

static const struct key keys[] = {
    {"profile", TEXT, AT(profile), {NULL}},
    {"walls", CHOICE, AT(walls), {"off", "on", NULL}},
    {"sandbox", CHOICE, AT(require), {"auto", "require", NULL}},
    {"network", CHOICE, AT(network), {"off", "on", "host", NULL}},
    {"workspace", PATH, AT(workspace), {NULL}},
    {"read_only", PATHS, AT(read_only), {NULL}},
    {"read_write", PATHS, AT(read_write), {NULL}},
    {"device", PATHS, AT(devices), {NULL}},
    {"mask", PATHS, AT(masks), {NULL}},
    {"layer", PATH, AT(layer), {NULL}},
    {"home", PATH, AT(home), {NULL}},
    {"uid", ID, AT(uid), {NULL}},
    {"gid", ID, AT(gid), {NULL}},
    {"owner", NUMBER, AT(owner), {NULL}},
    {"memory", NUMBER, AT(memory), {NULL}},
    {"disk", NUMBER, AT(disk), {NULL}},
    {"inodes", NUMBER, AT(inodes), {NULL}},
    {"processes", NUMBER, AT(processes), {NULL}},
    {"open_files", NUMBER, AT(open_files), {NULL}},
    {"rlimits", CHOICE, AT(rlimits), {"0", "1", NULL}},
};

#define N_KEYS (sizeof(keys) / sizeof(*keys))

static const struct key *find_key(const char *name, size_t len)
{
    for (size_t i = 0; i < N_KEYS; i++)
        if (strlen(keys[i].name) == len && !memcmp(keys[i].name, name, len))
            return &keys[i];
    return NULL;
}

/* Absolute, without empty, "." and ".." parts; "/" itself is one. */
static bool is_plain_path(const char *path)
{
    if (path[0] != '/')
        return false;
    for (const char *part = path + 1; *part || part > path + 1;) {
        size_t n = strcspn(part, "/");
        if (!n || (part[0] == '.' && (n == 1 || (n == 2 && part[1] == '.'))))
            return false;
        if (!part[n])
            return true;
        part += n + 1;
    }
    return true;
}

static int add_path(struct rf_path_list *list, const char *path)
{
    const char **paths = realloc(list->paths, (list->n + 1) * sizeof(*paths));
    if (!paths)
        return -ENOMEM;
    paths[list->n++] = path;
    list->paths = paths;
    return 0;
}

/* NULL, or what the value should have been. */
static const char *take_number(const struct key *key, const char *value, uint64_t *ret)
{
    if (!rf_bytes_u64(rf_bytes_str(value), ret) || *ret > INT64_MAX)
        return "a decimal number";
    if (key->kind == ID && (!*ret || *ret >= UINT32_MAX))
        return "an id that is not root's";
    return NULL;
}

static const char *take_choice(const struct key *key, const char *value, uint64_t *ret)
{
    for (uint64_t i = 0; key->choices[i]; i++)
        if (!strcmp(key->choices[i], value)) {
            *ret = i;
            return NULL;
        }
    return key->choices[2] ? "off, on or host" : key->choices[0][0] == '0' ? "0 or 1"
               : key->choices[0][0] == 'a' ? "auto or require"
                                           : "on or off";
}

static int take(struct rf_sandbox_policy *policy, const struct key *key, const char *value,
                struct rf_error *err)
{
    char *field = (char *)policy + key->offset;
    const char *want = NULL;
    if (key->kind == CHOICE)
        want = take_choice(key, value, (uint64_t *)field);
    else if (key->kind == NUMBER || key->kind == ID)
        want = take_number(key, value, (uint64_t *)field);
    else if (key->kind != TEXT && !is_plain_path(value))
        want = "an absolute path without . and ..";
    else if (key->kind == PATHS)
        return add_path((struct rf_path_list *)field, value);
    else
        *(const char **)field = value;
    if (!want)
        return 0;
    return rf_error_set(err, -EINVAL, "the sandbox policy has %s=%.200s, which should be %s",
                        key->name, value, want);
}

static int take_all(struct rf_sandbox_policy *policy, const char *end, struct rf_error *err)
{
    bool seen[N_KEYS] = {false};
    for (const char *entry = policy->text; entry < end; entry += strlen(entry) + 1) {
        size_t n = strcspn(entry, "=");
        const struct key *key = find_key(entry, n);
        if (!key || entry[n] != '=')
            return rf_error_set(err, -EINVAL,
                                "the sandbox policy has the entry %.100s, which this version of "
                                "ringfence-kernel does not know",
                                entry);
        if (seen[key - keys] && key->kind != PATHS)
            return rf_error_set(err, -EINVAL, "the sandbox policy has %s twice", key->name);
        seen[key - keys] = true;
        int r = take(policy, key, entry + n + 1, err);
        if (r)
            return r;
    }
    if ((policy->uid == RF_NO_ID) != (policy->gid == RF_NO_ID))
        return rf_error_set(err, -EINVAL, "the sandbox policy has one of uid and gid, not both");
    return 0;
}

int rf_sandbox_policy_decode(struct rf_bytes text, struct rf_sandbox_policy *ret,
                             struct rf_error *err)
{
    *ret = (struct rf_sandbox_policy){
        .walls = 1, .uid = RF_NO_ID, .gid = RF_NO_ID, .owner = RF_NO_ID};
    if (text.len > RF_POLICY_MAX || (text.len && text.data[text.len - 1]))
        return rf_error_set(err, -EINVAL, "the sandbox policy is too long, or cut");
    ret->text = malloc(text.len + 1);
    if (!ret->text)
        return -ENOMEM;
    if (text.len)
        memcpy(ret->text, text.data, text.len);
    return take_all(ret, ret->text + text.len, err);
}

void rf_sandbox_policy_deinit(struct rf_sandbox_policy *policy)
{
    free(policy->read_only.paths);
    free(policy->read_write.paths);
    free(policy->devices.paths);
    free(policy->masks.paths);
    free(policy->text);
    *policy = (struct rf_sandbox_policy){0};
}
