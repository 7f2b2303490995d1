/* See kernelspec.h. */
#include "gateway/cli/kernelspec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "gateway/cli/files.h"

/* kernel.json is last when writing and first when removing. */
static const char *const logos[] = {"logo-32x32.png", "logo-64x64.png", "logo-svg.svg"};

#define N_LOGOS (sizeof(logos) / sizeof(*logos))

bool rf_kernelspec_name_ok(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strlen(name);
    return len && len <= 100 && strspn(name, allowed) == len && strspn(name, ".") != len;
}

static int join(char ret[PATH_MAX], const char *folder, const char *name, struct rf_error *err)
{
    if (snprintf(ret, PATH_MAX, "%s/%s", folder, name) < PATH_MAX)
        return 0;
    return rf_error_errno(err, -ENAMETOOLONG, "cannot use %.200s", folder);
}

static void add_text(struct rf_buf *to, const char *before, const char *text)
{
    rf_buf_add_str(to, before);
    rf_json_encode(rf_bytes_str(text), to);
}

static void make_json(const char *program, const struct rf_kernelspec *spec, struct rf_buf *to)
{
    add_text(to, "{\n \"argv\": [", program);
    rf_buf_add_str(to, ", \"kernel\", \"-f\", \"{connection_file}\"");
    if (spec->python)
        add_text(to, ", \"--python\", ", spec->python);
    if (spec->preload)
        add_text(to, ", \"--preload\", ", spec->preload);
    if (spec->profile)
        add_text(to, ", \"--profile\", ", spec->profile);
    add_text(to, "],\n \"display_name\": ", spec->display_name);
    rf_buf_add_str(to, ",\n \"language\": \"python\","
                       "\n \"interrupt_mode\": \"message\","
                       "\n \"kernel_protocol_version\": \"5.5\","
                       "\n \"metadata\": {\"debugger\": false}\n}\n");
}

static int copy_logos(const struct rf_paths *paths, const char *folder, struct rf_error *err)
{
    for (size_t i = 0; i < N_LOGOS; i++) {
        RF_AUTO(rf_buf_deinitp) struct rf_buf logo = {0};
        char from[PATH_MAX], to[PATH_MAX];
        int r = join(from, paths->kernelspec, logos[i], err);
        if (!r)
            r = join(to, folder, logos[i], err);
        if (!r && (r = rf_file_read(from, &logo)))
            rf_error_errno(err, r, "cannot read %.200s", from);
        if (!r)
            r = rf_file_replace(to, rf_buf_bytes(&logo), 0666, err);
        if (r)
            return r;
    }
    return 0;
}

static bool exists(const char *folder)
{
    char path[PATH_MAX];
    return !join(path, folder, "kernel.json", NULL) && !access(path, F_OK);
}

int rf_kernelspec_write(const struct rf_paths *paths, const struct rf_kernelspec *spec,
                        char ret_folder[PATH_MAX], struct rf_error *err)
{
    RF_AUTO(rf_buf_deinitp) struct rf_buf json = {0};
    char path[PATH_MAX];
    int r = join(ret_folder, spec->kernels, spec->name, err);
    if (!r)
        r = join(path, ret_folder, "kernel.json", err);
    if (!r && exists(ret_folder) && !rf_kernelspec_is_ours(ret_folder))
        r = rf_error_set(err, -EEXIST,
                         "%.250s is a kernelspec of another program: choose another --name, or "
                         "remove it first",
                         ret_folder);
    if (!r)
        r = rf_folder_make(ret_folder, err);
    if (!r)
        r = copy_logos(paths, ret_folder, err);
    make_json(paths->program, spec, &json);
    if (!r && !rf_buf_ok(&json))
        r = rf_error_errno(err, -ENOMEM, "cannot write %.200s", path);
    return r ? r : rf_file_replace(path, rf_buf_bytes(&json), 0666, err);
}

bool rf_kernelspec_is_ours(const char *folder)
{
    static const char program[] = "/ringfence\"", command[] = "\"kernel\"";
    RF_AUTO(rf_buf_deinitp) struct rf_buf text = {0};
    char path[PATH_MAX];
    if (join(path, folder, "kernel.json", NULL) || rf_file_read(path, &text))
        return false;
    struct rf_json_member argv = {.name = "argv"};
    if (rf_json_object(rf_buf_bytes(&text), &argv, 1) != RF_JSON_OK || !argv.value.data)
        return false;
    struct rf_bytes value = argv.value;
    return memmem(value.data, value.len, program, sizeof(program) - 1) &&
           memmem(value.data, value.len, command, sizeof(command) - 1);
}

int rf_kernelspec_remove(const char *folder, bool *ret_removed, struct rf_error *err)
{
    *ret_removed = rf_kernelspec_is_ours(folder);
    if (!*ret_removed)
        return 0;
    for (size_t i = 0; i <= N_LOGOS; i++) {
        char path[PATH_MAX];
        int r = join(path, folder, i ? logos[i - 1] : "kernel.json", err);
        if (!r && unlink(path) && errno != ENOENT)
            r = rf_error_errno(err, -errno, "cannot remove %.200s", path);
        if (r)
            return r;
    }
    if (rmdir(folder) && errno != ENOTEMPTY && errno != EEXIST)
        return rf_error_errno(err, -errno, "cannot remove the folder %.200s", folder);
    return 0;
}

int rf_kernelspec_list(const struct rf_paths *paths, struct rf_buf *to, struct rf_error *err)
{
    int r = rf_file_read(paths->kernelspecs_list, to);
    if (r && r != -ENOENT)
        return rf_error_errno(err, r, "cannot read %.200s", paths->kernelspecs_list);
    return 0;
}

/* Writes the record anew without `folder`, and with it at the end if `add`. */
static int rewrite(const struct rf_paths *paths, const char *folder, bool add, struct rf_error *err)
{
    RF_AUTO(rf_buf_deinitp) struct rf_buf old = {0}, text = {0};
    int r = rf_kernelspec_list(paths, &old, err);
    if (r)
        return r;
    struct rf_bytes rest = rf_buf_bytes(&old), line;
    while (rf_next_line(&rest, &line))
        if (line.len && !rf_bytes_is(line, folder)) {
            rf_buf_add_bytes(&text, line);
            rf_buf_add_str(&text, "\n");
        }
    if (add)
        rf_buf_printf(&text, "%s\n", folder);
    if (!rf_buf_ok(&text))
        return rf_error_errno(err, -ENOMEM, "cannot write %.200s", paths->kernelspecs_list);
    return rf_file_replace(paths->kernelspecs_list, rf_buf_bytes(&text), 0666, err);
}

int rf_kernelspec_record(const struct rf_paths *paths, const char *folder, struct rf_error *err)
{
    if (strchr(folder, '\n'))
        return rf_error_set(err, -EINVAL, "a path with a line break cannot be recorded");
    return rewrite(paths, folder, true, err);
}

int rf_kernelspec_forget(const struct rf_paths *paths, const char *folder, struct rf_error *err)
{
    return rewrite(paths, folder, false, err);
}
