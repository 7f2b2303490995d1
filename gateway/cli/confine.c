/* See confine.h. */
#include "gateway/cli/confine.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "gateway/cli/files.h"
#include "gateway/cli/layer.h"
#include "gateway/cli/sandbox_policy.h"
#include "gateway/supervise/runtime.h"

extern char **environ;

/* The facts, with the memory that they point into. */
struct gathered {
    struct rf_facts facts;
    size_t n_secrets, n_paths;
    char *paths[RF_SECRETS_MAX + 4]; /* owned; workspace, home, layer and IPython's folder, too */
    bool failed; /* memory ran out */
};

/* Folders that may lie in the workspace and that no kernel may see: the value
 * of the variable and `rest`; without it the home and `in_home`. */
static const struct secret {
    const char *variable, *rest, *in_home;
} secrets[] = {
    {"XDG_RUNTIME_DIR", "", NULL},
    {"JUPYTER_RUNTIME_DIR", "", ".local/share/jupyter/runtime"},
    {"JUPYTER_DATA_DIR", "", ".local/share/jupyter"},
    {"JUPYTER_CONFIG_DIR", "", ".jupyter"},
    {"XDG_DATA_HOME", "/jupyter", NULL},
    {"XDG_CONFIG_HOME", "/ringfence", ".config/ringfence"},
    {"XDG_DATA_HOME", "/ringfence", ".local/share/ringfence"},
};

/* Takes what realpath() or strdup() gave; NULL stays NULL. */
static const char *keep(struct gathered *g, char *path)
{
    if (path)
        g->paths[g->n_paths++] = path;
    else
        g->failed |= errno == ENOMEM;
    return path;
}

static void add_secret(struct gathered *g, const char *path)
{
    if (g->n_secrets == RF_SECRETS_MAX)
        return;
    g->facts.secrets[g->n_secrets] = keep(g, realpath(path, NULL));
    g->n_secrets += g->facts.secrets[g->n_secrets] != NULL; /* what is not there need not be hidden */
}

/* First of the secrets; it may have to be written yet. */
static int add_connection_file(struct gathered *g, const char *file, struct rf_error *err)
{
    char folder[PATH_MAX], real[PATH_MAX], path[PATH_MAX];
    const char *slash = strrchr(file, '/');
    int n = slash ? (int)(slash - file) + 1 : 1;
    snprintf(folder, sizeof(folder), "%.*s", n, slash ? file : ".");
    if (!realpath(folder, real))
        return rf_error_errno(err, -errno, "cannot find the folder of the connection file %.200s", file);
    n = snprintf(path, PATH_MAX, "%s/%s", real[1] ? real : "", slash ? slash + 1 : file);
    if (n >= PATH_MAX)
        return rf_error_errno(err, -ENAMETOOLONG, "cannot use the connection file %.200s", file);
    g->facts.secrets[0] = keep(g, strdup(path));
    g->n_secrets = 1;
    return 0;
}

static void gather_secrets(struct gathered *g)
{
    char path[PATH_MAX], runtime[RF_RUNTIME_PATH_MAX];
    if (!rf_runtime_dir(runtime, NULL))
        add_secret(g, runtime);
    for (size_t i = 0; i < sizeof(secrets) / sizeof(*secrets); i++) {
        const char *base = getenv(secrets[i].variable);
        const char *rest = secrets[i].rest;
        if (!base || base[0] != '/') {
            base = secrets[i].in_home ? g->facts.home : NULL;
            rest = secrets[i].in_home;
        }
        const char *slash = rest && *rest && *rest != '/' ? "/" : "";
        if (base && snprintf(path, sizeof(path), "%s%s%s", base, slash, rest) < PATH_MAX)
            add_secret(g, path);
    }
}

/* In lines as /etc/passwd has them; fgetpwent() cannot read from a pipe. */
static bool find_group(FILE *list, uid_t owner, gid_t *ret)
{
    char line[1024];
    while (list && fgets(line, sizeof(line), list)) {
        char *rest = line, *words[4] = {NULL}; /* name, password, uid, gid */
        for (int i = 0; i < 4; i++)
            words[i] = strsep(&rest, ":");
        if (!words[3] || strtoul(words[2], NULL, 10) != owner)
            continue;
        *ret = (gid_t)strtoul(words[3], NULL, 10);
        return true;
    }
    return false;
}

/* The main group of the workspace's owner; a root gateway alone needs it.  getpwuid() would load
 * shared libraries of the very libc that this program was linked with. */
static gid_t group_of(uid_t owner)
{
    gid_t group = (gid_t)owner;
    char command[48];
    FILE *list = owner ? fopen("/etc/passwd", "re") : NULL;
    bool found = !owner || find_group(list, owner, &group);
    if (list)
        fclose(list);
    snprintf(command, sizeof(command), "getent passwd %u", owner);
    list = found ? NULL : popen(command, "re");
    find_group(list, owner, &group);
    if (list)
        pclose(list);
    return group;
}

/* Does this user namespace know the uids that per-kernel ones come from? */
static bool knows_large_uids(void)
{
    RF_AUTO(rf_buf_deinitp) struct rf_buf text = {0};
    if (rf_file_read("/proc/self/uid_map", &text))
        return true;
    rf_buf_add(&text, "", 1);
    unsigned long long inside, outside, count;
    const char *line = (const char *)text.data;
    for (; line && sscanf(line, "%llu %llu %llu", &inside, &outside, &count) == 3; line++) {
        if (inside <= RF_UID_FIRST && inside + count >= (unsigned long long)RF_UID_FIRST + RF_UID_COUNT)
            return true;
        line = strchr(line, '\n');
        if (!line)
            break;
    }
    return false;
}

static int gather(struct gathered *g, const char *connection_file, struct rf_error *err)
{
    struct stat st;
    const char *home = getenv("HOME"), *ipython = getenv("IPYTHONDIR");
    const char *workspace = keep(g, realpath(".", NULL));
    if (!workspace || stat(".", &st))
        return rf_error_errno(err, -errno, "cannot find the current folder, the kernel's workspace");
    g->facts = (struct rf_facts){.workspace = workspace, .uid = geteuid(), .pid = getpid(),
                                 .owner = st.st_uid};
    if (home && home[0] == '/')
        g->facts.home = keep(g, realpath(home, NULL));
    if (!g->facts.uid) {
        g->facts.owner_group = group_of(st.st_uid);
        g->facts.large_uids = knows_large_uids();
    }
    char path[PATH_MAX];
    int n = ipython && ipython[0] == '/' ? snprintf(path, sizeof(path), "%s", ipython)
                                         : snprintf(path, sizeof(path), "%s/.ipython",
                                                    g->facts.home ? g->facts.home : "");
    if (n < PATH_MAX)
        g->facts.ipython = keep(g, realpath(path, NULL));
    int r = add_connection_file(g, connection_file, err);
    if (r)
        return r;
    gather_secrets(g);
    if (!rf_layer_path(workspace, path, NULL))
        g->facts.layer = keep(g, strdup(path));
    return g->failed ? rf_error_errno(err, -ENOMEM, "cannot start a kernel") : 0;
}

/* The layer has to be there when it is mounted, and be the kernel's. */
static int make_layer(const struct gathered *g, struct rf_error *err)
{
    if (!g->facts.layer)
        return 0;
    int r = rf_folder_make(g->facts.layer, err);
    if (!r && !g->facts.uid && g->facts.owner &&
        lchown(g->facts.layer, g->facts.owner, g->facts.owner_group))
        r = rf_error_errno(err, -errno, "cannot give %.200s to the workspace's owner", g->facts.layer);
    return r;
}

static void filter_environment(const struct rf_profile *profile, const char *layer,
                               struct rf_buf *to)
{
    for (char **v = environ; *v; v++)
        if (rf_profile_passes(profile, *v))
            rf_buf_add(to, *v, strlen(*v) + 1);
    if (layer) {
        rf_buf_printf(to, "RINGFENCE_LAYER=%s", layer);
        rf_buf_add(to, "", 1);
    }
}

static bool masks(const struct rf_buf *policy, const char *path)
{
    char entry[PATH_MAX + 8];
    int n = snprintf(entry, sizeof(entry), "mask=%s", path);
    return memmem(policy->data, policy->len, entry, (size_t)n + 1) != NULL;
}

static int confine(const struct rf_confine_options *options, struct rf_confined *ret,
                   struct gathered *g, struct rf_error *err)
{
    struct rf_profile *profile = &ret->profile;
    int r = gather(g, options->connection_file, err);
    if (!r && profile->walls && !profile->own_workspace)
        r = make_layer(g, err);
    if (!r)
        r = rf_sandbox_policy(profile, &g->facts, &ret->policy, &ret->note, err);
    if (r)
        return r;
    bool layered = profile->walls && !profile->own_workspace;
    filter_environment(profile, layered ? g->facts.layer : NULL, &ret->environ);
    rf_buf_add(&ret->note, "", 1);
    ret->masks_connection = masks(&ret->policy, g->facts.secrets[0]);
    bool ok = rf_buf_ok(&ret->environ) && rf_buf_ok(&ret->note);
    return ok ? 0 : rf_error_errno(err, -ENOMEM, "cannot make the sandbox's policy");
}

int rf_confine(const struct rf_confine_options *options, struct rf_confined *ret,
               struct rf_error *err)
{
    const struct rf_config *config = options->config;
    const char *name = options->profile ? options->profile
                       : config->profile ? config->profile : "workspace";
    const char *sandbox = options->sandbox ? options->sandbox : config->sandbox;
    *ret = (struct rf_confined){0};
    if (sandbox && strcmp(sandbox, "auto") && strcmp(sandbox, "require"))
        return rf_error_set(err, -EINVAL, "--sandbox is auto or require, not %.60s", sandbox);
    int r = rf_profile_find(name, config->profiles, getenv("HOME"), &ret->profile, err);
    if (r)
        return r;
    if (sandbox)
        ret->profile.require = !strcmp(sandbox, "require");
    struct gathered g = {0};
    r = confine(options, ret, &g, err);
    while (g.n_paths)
        free(g.paths[--g.n_paths]);
    if (r)
        rf_confined_deinit(ret);
    return r;
}

void rf_confined_deinit(struct rf_confined *confined)
{
    rf_profile_deinit(&confined->profile);
    rf_buf_deinit(&confined->policy);
    rf_buf_deinit(&confined->environ);
    rf_buf_deinit(&confined->note);
}
