/* See plan.h. */
#include "kernel/sandbox/plan.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

const char *const rf_system_folders[] = {"/usr",   "/bin",    "/sbin", "/lib", "/lib64",
                                         "/lib32", "/libx32", "/opt",  NULL};

/* What a sandbox has its own of, so that a workspace of / does not bring it in. */
static const char *const own_folders[] = {"/proc", "/sys", "/dev", "/tmp", "/run",
                                          "/etc",  "/var", NULL};

static bool is_in_one_of(const char *path, const char *const *folders)
{
    for (; *folders; folders++)
        if (rf_path_is_in(path, *folders))
            return true;
    return false;
}

bool rf_path_is_system(const char *path)
{
    return is_in_one_of(path, rf_system_folders);
}

/* Adds the place; its path is resolved, and left as it is where it is absent. */
static int add(struct rf_plan *plan, struct rf_place place, struct rf_error *err)
{
    char resolved[PATH_MAX];
    struct rf_place *places = realloc(plan->places, (plan->n + 1) * sizeof(*places));
    if (!places)
        return -ENOMEM;
    plan->places = places;
    bool there = realpath(place.name, resolved) != NULL;
    if (!there && place.required)
        return rf_error_errno(err, -errno, "the sandbox cannot have %s", place.name);
    place.absent = !there && place.kind != RF_PLACE_MEMORY;
    place.path = strdup(there ? resolved : place.name);
    if (!place.path)
        return -ENOMEM;
    plan->places[plan->n++] = place;
    return 0;
}

static int add_all(struct rf_plan *plan, const struct rf_path_list *list, struct rf_place place,
                   struct rf_error *err)
{
    int r = 0;
    for (size_t i = 0; !r && i < list->n; i++) {
        place.name = list->paths[i];
        r = add(plan, place, err);
    }
    return r;
}

/* The machine's whole tree: what lies in / without what a sandbox has of its own. */
static int add_tree(struct rf_plan *plan, struct rf_error *err)
{
    DIR *dir = opendir("/");
    int r = dir ? 0 : -errno;
    for (struct dirent *e; !r && (e = readdir(dir));) {
        char path[2 + NAME_MAX];
        snprintf(path, sizeof(path), "/%s", e->d_name);
        if (e->d_type != DT_DIR || e->d_name[0] == '.' || is_in_one_of(path, own_folders) ||
            rf_path_is_system(path))
            continue;
        r = add(plan, (struct rf_place){.kind = RF_PLACE_WRITE, .name = path}, err);
        if (!r)
            plan->places[plan->n - 1].name = plan->places[plan->n - 1].path;
    }
    if (dir)
        closedir(dir);
    return r;
}

static int add_workspace(struct rf_plan *plan, const char *workspace, struct rf_error *err)
{
    if (!workspace)
        return add(plan, (struct rf_place){.kind = RF_PLACE_MEMORY, .name = RF_OWN_WORKSPACE}, err);
    if (!workspace[1])
        return add_tree(plan, err);
    struct rf_place place = {.kind = RF_PLACE_WRITE, .name = workspace, .required = true};
    return add(plan, place, err);
}

static int add_policy(struct rf_plan *plan, const struct rf_sandbox_policy *policy,
                      struct rf_error *err)
{
    const struct rf_place write = {.kind = RF_PLACE_WRITE, .required = true};
    int r = add_workspace(plan, policy->workspace, err);
    r = r ? r : add_all(plan, &policy->read_write, write, err);
    if (!r && policy->layer)
        r = add_all(plan, &(struct rf_path_list){(const char **)&policy->layer, 1}, write, err);
    r = r ? r : add_all(plan, &policy->devices, write, err);
    r = r ? r : add_all(plan, &policy->read_only, (struct rf_place){.kind = RF_PLACE_READ}, err);
    r = r ? r : add_all(plan, &policy->masks, (struct rf_place){.kind = RF_PLACE_MASK}, err);
    if (!r && policy->home)
        r = add(plan, (struct rf_place){.kind = RF_PLACE_MEMORY, .name = policy->home}, err);
    return r;
}

/* A read-write path in a folder that the zygote imports from must not be so. */
static void hold(struct rf_plan *plan)
{
    for (size_t i = 0; i < plan->n; i++) {
        struct rf_place *write = &plan->places[i];
        for (size_t j = 0; write->kind == RF_PLACE_WRITE && j < plan->n; j++) {
            const struct rf_place *import = &plan->places[j];
            if (!import->import || !rf_path_is_in(write->path, import->path))
                continue;
            write->kind = RF_PLACE_READ;
            plan->held = write->name;
            plan->held_by = import->name;
        }
    }
}

static int compare(const void *a, const void *b)
{
    const struct rf_place *one = a, *other = b;
    int order = strcmp(one->path, other->path);
    return order ? order : (int)one->kind - (int)other->kind;
}

/* The innermost place before `i` that its path lies in, or NULL. */
static struct rf_place *around(struct rf_plan *plan, size_t i)
{
    for (size_t j = i; j-- > 0;)
        if (plan->places[j].path && rf_path_is_in(plan->places[i].path, plan->places[j].path))
            return &plan->places[j];
    return NULL;
}

/* Is this place one that adds nothing, given the places before it? */
static bool is_idle(const struct rf_place *place, const struct rf_place *outer,
                    const char *home)
{
    bool covered = outer ? outer->kind != RF_PLACE_MEMORY : rf_path_is_system(place->path);
    bool writable = outer && outer->kind == RF_PLACE_WRITE;
    switch (place->kind) {
    case RF_PLACE_MEMORY: /* a home folder that is, or lies in, the workspace is there already */
        return outer != NULL;
    case RF_PLACE_WRITE:
        return writable;
    case RF_PLACE_MASK:
        return !covered || place->absent || (outer && outer->kind == RF_PLACE_MASK);
    default:
        if (place->absent)
            return !place->import || !writable;
        if (place->import && (!place->path[1] || (home && rf_path_is_in(home, place->path))))
            return true; /* would show all of the home folder; its modules are places themselves */
        return outer ? outer->kind == RF_PLACE_READ : covered;
    }
}

/* Takes out what adds nothing, and notes who has something in it. */
static void thin(struct rf_plan *plan, const char *home)
{
    size_t kept = 0;
    for (size_t i = 0; i < plan->n; i++) {
        struct rf_place *outer = around(plan, i);
        struct rf_place *place = &plan->places[i];
        if (is_idle(place, outer, home)) {
            free(place->path);
            place->path = NULL;
        } else if (outer) {
            outer->parent = true;
        }
    }
    for (size_t i = 0; i < plan->n; i++)
        if (plan->places[i].path)
            plan->places[kept++] = plan->places[i];
    plan->n = kept;
}

int rf_plan_make(struct rf_plan *ret, const struct rf_sandbox_policy *policy,
                 const char *const *imports, size_t n_imports, struct rf_error *err)
{
    *ret = (struct rf_plan){0};
    int r = add_policy(ret, policy, err);
    for (size_t i = 0; !r && i < n_imports; i++)
        r = add(ret,
                (struct rf_place){.kind = RF_PLACE_READ, .name = imports[i], .import = true}, err);
    if (r)
        return r;
    hold(ret);
    if (ret->n)
        qsort(ret->places, ret->n, sizeof(*ret->places), compare);
    thin(ret, policy->home);
    return 0;
}

void rf_plan_deinit(struct rf_plan *plan)
{
    for (size_t i = 0; i < plan->n; i++)
        free(plan->places[i].path);
    free(plan->places);
    *plan = (struct rf_plan){0};
}
