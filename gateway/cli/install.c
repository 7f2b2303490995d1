/* ringfence install: writes a kernelspec, so that Jupyter offers the kernel.
 *
 * The kernelspec names this program by its absolute path.  Nothing is written
 * before everything was checked.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "gateway/cli/commands.h"
#include "gateway/cli/config.h"
#include "gateway/cli/files.h"
#include "gateway/cli/kernelspec.h"
#include "gateway/cli/options.h"
#include "gateway/cli/paths.h"
#include "gateway/cli/profile.h"
#include "gateway/cli/python.h"

struct install {
    bool user, sys_prefix;
    const char *prefix, *name, *display_name, *python, *preload, *profile; /* borrowed from argv */
};

/* Made from the profile where none were given. */
struct names {
    char name[RF_PROFILE_NAME_MAX + 16], display[RF_PROFILE_NAME_MAX + 40];
};

static const struct rf_option options[] = {
    {"user", 0, NULL, RF_OPTION_FLAG, offsetof(struct install, user),
     "for this user, in Jupyter's data folder (the default)"},
    {"sys-prefix", 0, NULL, RF_OPTION_FLAG, offsetof(struct install, sys_prefix),
     "in the active virtual or conda environment, or else\n"
     "where python3 of the PATH lies"},
    {"prefix", 0, "FOLDER", RF_OPTION_TEXT, offsetof(struct install, prefix),
     "in FOLDER/share/jupyter/kernels"},
    {"name", 0, "NAME", RF_OPTION_TEXT, offsetof(struct install, name),
     "name of the kernelspec (ringfence, or ringfence-PROFILE)"},
    {"display-name", 0, "TEXT", RF_OPTION_TEXT, offsetof(struct install, display_name),
     "what menus show (Python 3 (Ringfence), with the profile)"},
    {"profile", 0, "NAME", RF_OPTION_TEXT, offsetof(struct install, profile),
     "for kernels of this profile: workspace, offline, strict,\n"
     "off, or one of the configuration"},
    {"python", 0, "PATH", RF_OPTION_TEXT, offsetof(struct install, python),
     "run cells on this interpreter, for example a virtual\n"
     "environment's bin/python (the system's Python)"},
    {"preload", 0, "MODULES", RF_OPTION_TEXT, offsetof(struct install, preload),
     "modules that every kernel finds imported already,\n"
     "with commas: numpy,pandas"},
};

static const struct rf_options table = {
    .usage = "ringfence install [options]",
    .about =
        "Writes a kernelspec: console, Notebook, JupyterLab and nbclient then offer this kernel.",
    .options = options,
    .n = sizeof(options) / sizeof(*options),
};

static int join(char ret[PATH_MAX], const char *folder, const char *rest, struct rf_error *err)
{
    if (snprintf(ret, PATH_MAX, "%s/%s", folder, rest) < PATH_MAX)
        return 0;
    return rf_error_errno(err, -ENAMETOOLONG, "cannot use %.200s", folder);
}

/* The first of these that is set decides, as in jupyter_core. */
static int user_folder(char ret[PATH_MAX], struct rf_error *err)
{
    static const struct {
        const char *variable, *rest;
    } places[] = {{"JUPYTER_DATA_DIR", "kernels"},
                  {"XDG_DATA_HOME", "jupyter/kernels"},
                  {"HOME", ".local/share/jupyter/kernels"}};
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        const char *base = getenv(places[i].variable);
        if (base && *base)
            return join(ret, base, places[i].rest, err);
    }
    return rf_error_set(err, -ENOENT, "HOME is not set: name a folder with --prefix");
}

static int sys_prefix_folder(char ret[PATH_MAX], struct rf_error *err)
{
    const char *prefix = getenv("VIRTUAL_ENV");
    if (!prefix || !*prefix)
        prefix = getenv("CONDA_PREFIX");
    if (prefix && *prefix)
        return join(ret, prefix, "share/jupyter/kernels", err);
    RF_AUTO(rf_buf_deinitp) struct rf_buf answer = {0};
    int r = rf_python_run("python3", "import sys; print(sys.prefix)", &answer, err);
    if (r)
        return r;
    rf_buf_add(&answer, "", 1);
    if (!rf_buf_ok(&answer))
        return rf_error_errno(err, -ENOMEM, "cannot find sys.prefix");
    char *text = (char *)answer.data;
    text[strcspn(text, "\n")] = '\0';
    return join(ret, text, "share/jupyter/kernels", err);
}

/* Makes a path absolute; the folder need not be there yet. */
static int absolute(char path[PATH_MAX], struct rf_error *err)
{
    char cwd[PATH_MAX], whole[PATH_MAX];
    if (path[0] == '/')
        return 0;
    if (!getcwd(cwd, sizeof(cwd)))
        return rf_error_errno(err, -errno, "cannot find the current folder");
    int r = join(whole, cwd, path, err);
    if (!r)
        snprintf(path, PATH_MAX, "%s", whole);
    return r;
}

static int kernels_folder(const struct install *install, char ret[PATH_MAX], struct rf_error *err)
{
    if (install->user + install->sys_prefix + (install->prefix != NULL) > 1)
        return rf_error_set(err, -EINVAL, "--user, --sys-prefix and --prefix exclude each other");
    if (install->prefix && !install->prefix[0])
        return rf_error_set(err, -EINVAL, "--prefix needs a folder");
    int r = install->prefix       ? join(ret, install->prefix, "share/jupyter/kernels", err)
            : install->sys_prefix ? sys_prefix_folder(ret, err)
                                  : user_folder(ret, err);
    return r ? r : absolute(ret, err);
}

static bool modules_ok(const char *list)
{
    for (const char *at = list;; at++) {
        unsigned char c = (unsigned char)*at;
        bool letter = c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
        bool inside = at > list && at[-1] != ',' && at[-1] != '.';
        if (!c)
            return inside;
        if (!letter && !(inside && ((c >= '0' && c <= '9') || c == ',' || c == '.')))
            return false;
    }
}

/* The profile has to exist; name and display name follow from it. */
static int choose_names(const struct install *install, struct names *names,
                        struct rf_kernelspec *spec, struct rf_error *err)
{
    struct rf_config config;
    struct rf_profile profile = {0};
    int r = install->profile ? rf_config_load(&config, err) : 0;
    if (!r && install->profile) {
        r = rf_profile_find(install->profile, config.profiles, getenv("HOME"), &profile, err);
        rf_profile_deinit(&profile);
        rf_config_deinit(&config);
    }
    if (r)
        return r;
    const char *dash = install->profile ? "-" : "", *comma = install->profile ? ", " : "";
    const char *which = install->profile ? install->profile : "";
    snprintf(names->name, sizeof(names->name), "ringfence%s%s", dash, which);
    snprintf(names->display, sizeof(names->display), "Python 3 (Ringfence%s%s)", comma, which);
    spec->profile = install->profile;
    spec->name = install->name ? install->name : names->name;
    spec->display_name = install->display_name ? install->display_name : names->display;
    return 0;
}

/* Checks what was asked for and fills in what follows from it. */
static int prepare(const struct install *install, struct rf_kernelspec *spec, struct names *names,
                   char kernels[PATH_MAX], char python[PATH_MAX], struct rf_error *err)
{
    *spec = (struct rf_kernelspec){.kernels = kernels, .preload = install->preload};
    int r = kernels_folder(install, kernels, err);
    if (!r)
        r = choose_names(install, names, spec, err);
    if (r)
        return r;
    if (!rf_kernelspec_name_ok(spec->name))
        return rf_error_set(err, -EINVAL,
                            "\"%.100s\" cannot name a kernelspec: use letters, digits, dots, "
                            "dashes and underscores",
                            spec->name);
    if (spec->preload && !modules_ok(spec->preload))
        return rf_error_set(err, -EINVAL,
                            "--preload: \"%.100s\" is no list of modules such as numpy,pandas",
                            spec->preload);
    if (!install->python)
        return 0;
    struct rf_python about;
    r = rf_python_find(install->python, python, err);
    if (!r)
        r = rf_python_ask(python, &about, err);
    if (!r)
        r = rf_python_check(python, &about, err);
    if (!r && !strchr(install->python, '/') && about.executable[0] == '/')
        snprintf(python, PATH_MAX, "%s", about.executable); /* not the shim of a version manager */
    spec->python = python;
    return r;
}

static int write_spec(const struct rf_paths *paths, const struct rf_kernelspec *spec,
                      struct rf_error *err)
{
    char folder[PATH_MAX];
    int r = rf_kernelspec_write(paths, spec, folder, err);
    if (r)
        return r;
    printf("The kernelspec \"%s\" (%s) is in %s\n", spec->name, spec->display_name, folder);
    struct rf_error why = {0};
    if (rf_kernelspec_record(paths, folder, &why)) {
        fprintf(stderr, "ringfence install: `ringfence uninstall` will not find it (%s)\n",
                why.text);
        fprintf(stderr, "To remove it: rm -r %s\n", folder);
    }
    return 0;
}

int rf_cmd_install(int argc, char **argv)
{
    struct install install = {0};
    struct names names;
    size_t n_words;
    int status;
    if (!rf_options_begin(&table, argc, argv, &install, &n_words, &status))
        return status;
    struct rf_paths paths = {0};
    struct rf_kernelspec spec;
    struct rf_error err = {0};
    char kernels[PATH_MAX], python[PATH_MAX];
    int r = rf_paths_find(&paths, &err);
    if (!r)
        r = prepare(&install, &spec, &names, kernels, python, &err);
    bool usage = r == -EINVAL;
    if (!r)
        r = write_spec(&paths, &spec, &err);
    rf_paths_deinit(&paths);
    if (!r)
        return RF_EXIT_OK;
    fprintf(stderr, "ringfence install: %s\n", err.text);
    return usage ? RF_EXIT_USAGE : RF_EXIT_FAILED;
}
