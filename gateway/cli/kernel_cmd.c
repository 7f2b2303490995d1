/* ringfence kernel: one kernel on the ports of a connection file. */
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/log.h"
#include "gateway/cli/commands.h"
#include "gateway/cli/config.h"
#include "gateway/cli/confine.h"
#include "gateway/cli/options.h"
#include "gateway/cli/paths.h"
#include "gateway/cli/python.h"
#include "gateway/cli/session.h"

struct values {
    const char *file, *python, *preload, *zygote, *namespace, *log_level, *transport, *ip;
    const char *profile, *sandbox;
    int64_t zygote_idle, zygote_renew, max_message, spool_max, history_size;
    int64_t zmq_heartbeat, shell, iopub, stdin_, control, hb;
};

#define FIELD(name) offsetof(struct values, name)

static const struct rf_option options[] = {
    {"connection-file", 'f', "FILE", RF_OPTION_TEXT, FIELD(file),
     "the connection or registration file; made if it does not exist,\n"
     "ports that are 0 are chosen and written back"},
    {"python", 0, "PATH", RF_OPTION_TEXT, FIELD(python),
     "the interpreter that runs the cells (default: the system's)"},
    {"preload", 0, "A,B", RF_OPTION_TEXT, FIELD(preload),
     "modules that the zygote imports before it forks kernels"},
    {"profile", 0, "NAME", RF_OPTION_TEXT, FIELD(profile),
     "what the kernel may have: workspace, offline, strict, off, or one of the\n"
     "configuration (workspace)"},
    {"sandbox", 0, "auto|require", RF_OPTION_TEXT, FIELD(sandbox),
     "require: no kernel where this machine denies a layer of the sandbox"},
    {"zygote", 0, "auto|off", RF_OPTION_TEXT, FIELD(zygote),
     "off: a zygote of its own for this kernel (also RINGFENCE_ZYGOTE=off)"},
    {"namespace", 0, "NAME", RF_OPTION_TEXT, FIELD(namespace),
     "kernels of one namespace share a zygote, those of others have another\n"
     "(also RINGFENCE_NAMESPACE)"},
    {"zygote-idle", 0, "SECONDS", RF_OPTION_NUMBER, FIELD(zygote_idle),
     "a zygote that is started ends after so long without a request (3600)"},
    {"zygote-renew", 0, "SECONDS", RF_OPTION_NUMBER, FIELD(zygote_renew),
     "one that is so old starts anew, with another layout of its memory (86400)"},
    {"max-message", 0, "BYTES", RF_OPTION_NUMBER, FIELD(max_message),
     "a client that sends a larger message is cut off (256M)"},
    {"spool-max", 0, "BYTES", RF_OPTION_NUMBER, FIELD(spool_max),
     "output that may wait for slow clients; beyond it output is left out (1G)"},
    {"zmq-heartbeat", 0, "SECONDS", RF_OPTION_NUMBER, FIELD(zmq_heartbeat),
     "a client that was silent for so long is asked whether it lives, and cut off\n"
     "after three times that, if it speaks ZMTP 3.1 (30; 0: never; up to 2000)"},
    {"history-size", 0, "CELLS", RF_OPTION_NUMBER, FIELD(history_size),
     "cells that the history keeps (10000)"},
    {"transport", 0, "tcp|ipc", RF_OPTION_TEXT, FIELD(transport), "for a file that is made"},
    {"ip", 0, "ADDRESS", RF_OPTION_TEXT, FIELD(ip), "for a file that is made (127.0.0.1)"},
    {"shell", 0, "PORT", RF_OPTION_NUMBER, FIELD(shell), "likewise, as are these:"},
    {"iopub", 0, "PORT", RF_OPTION_NUMBER, FIELD(iopub), ""},
    {"stdin", 0, "PORT", RF_OPTION_NUMBER, FIELD(stdin_), ""},
    {"control", 0, "PORT", RF_OPTION_NUMBER, FIELD(control), ""},
    {"hb", 0, "PORT", RF_OPTION_NUMBER, FIELD(hb), ""},
    {"log-level", 0, "LEVEL", RF_OPTION_TEXT, FIELD(log_level), "error, warning, info or debug"},
};

static const struct rf_options table = {
    .usage = "ringfence kernel -f FILE [options] [arguments for IPython]",
    .about = "Runs one kernel until it is shut down.  Options that are not in this list are\n"
             "handed to IPython (--InteractiveShell.ast_node_interactivity=all and the like).",
    .options = options,
    .n = sizeof(options) / sizeof(*options),
    .passes_unknown = true,
};

static int set_log_level(const char *name, struct rf_error *err)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    for (int i = 0; name && i < 4; i++) {
        if (!strcmp(name, names[i])) {
            rf_log_init(STDERR_FILENO, (enum rf_log_level)i);
            return 0;
        }
    }
    return name ? rf_error_set(err, -EINVAL, "--log-level is error, warning, info or debug, not %s", name)
                : 0;
}

/* What the command line says of a connection file that does not exist yet. */
static int apply_ports(const struct values *values, struct rf_connection *c, struct rf_error *err)
{
    const struct {
        int64_t given;
        int *port;
    } ports[] = {{values->shell, &c->shell_port},
                 {values->iopub, &c->iopub_port},
                 {values->stdin_, &c->stdin_port},
                 {values->control, &c->control_port},
                 {values->hb, &c->hb_port}};
    for (size_t i = 0; i < sizeof(ports) / sizeof(*ports); i++) {
        if (ports[i].given > 65535)
            return rf_error_set(err, -EINVAL, "a port is at most 65535");
        if (ports[i].given)
            *ports[i].port = (int)ports[i].given;
    }
    if (values->transport && strcmp(values->transport, "tcp") && strcmp(values->transport, "ipc"))
        return rf_error_set(err, -EINVAL, "--transport is tcp or ipc, not %s", values->transport);
    if (values->transport)
        snprintf(c->transport, sizeof(c->transport), "%s", values->transport);
    if (values->ip && strlen(values->ip) >= sizeof(c->ip))
        return rf_error_set(err, -EINVAL, "--ip is too long");
    if (values->ip)
        snprintf(c->ip, sizeof(c->ip), "%s", values->ip);
    return 0;
}

static int load_connection(const struct values *values, struct rf_connection *ret,
                           struct rf_error *err)
{
    if (!values->file)
        return rf_error_set(err, -EINVAL, "no connection file: say -f FILE");
    struct rf_error why = {0};
    int r = rf_connection_load(values->file, ret, &why);
    if (r == -ENOENT)
        return apply_ports(values, ret, err);
    return r ? rf_error_set(err, r, "%s", why.text) : 0;
}

static int choose_zygote(const struct values *values, const struct rf_config *config,
                         const struct rf_paths *paths, char python[PATH_MAX],
                         struct rf_zygote_spec *ret, struct rf_error *err)
{
    const char *env = getenv("RINGFENCE_ZYGOTE");
    const char *zygote = values->zygote ? values->zygote : env && *env ? env : NULL;
    if (zygote && strcmp(zygote, "auto") && strcmp(zygote, "off"))
        return rf_error_set(err, -EINVAL, "%s is auto or off, not %s",
                            values->zygote ? "--zygote" : "RINGFENCE_ZYGOTE", zygote);
    const char *namespace = values->namespace ? values->namespace : getenv("RINGFENCE_NAMESPACE");
    int64_t idle = values->zygote_idle ? values->zygote_idle : config->zygote_idle;
    int64_t renew = values->zygote_renew ? values->zygote_renew : config->zygote_renew;
    *ret = (struct rf_zygote_spec){
        .kernel_program = paths->kernel_program,
        .keeper_program = paths->keeper_program,
        .start_script = paths->start_script,
        .preload = values->preload ? values->preload : config->preload ? config->preload : "",
        .namespace = namespace ? namespace : "",
        .idle_s = idle > INT_MAX / 1000 ? INT_MAX / 1000 : (int)idle,
        .renew_s = renew > INT_MAX / 1000 ? INT_MAX / 1000 : (int)renew,
        .direct = zygote ? !strcmp(zygote, "off") : config->zygote_off,
    };
    if (!values->python)
        return 0;
    ret->python = python;
    return rf_python_find(values->python, python, err);
}

/* The profile, as the parts of the gateway that it concerns want it. */
static void apply_profile(const struct rf_confined *confined, const struct rf_paths *paths,
                          struct rf_session_options *ret)
{
    const struct rf_profile *profile = &confined->profile;
    ret->limits = (struct rf_limits){.profile = profile->name,
                                     .output_bytes = (uint64_t)profile->output_bytes,
                                     .cell_us = profile->cell_time * 1000,
                                     .idle_us = profile->idle_time * 1000,
                                     .life_us = profile->lifetime * 1000};
    ret->note = (const char *)confined->note.data;
    ret->connection_first = confined->masks_connection;
    ret->supervisor.enclosure = (struct rf_enclosure_options){
        .sweeper_program = paths->sweeper_program,
        .profile = profile->name,
        .limits = {.memory = profile->memory, .processes = profile->processes, .cpu = profile->cpu},
        .walls = profile->walls,
        .require = profile->require,
        .network = profile->walls && profile->network == RF_NETWORK_ON,
        .network_host = profile->network_fallback == RF_NETWORK_HOST};
    ret->supervisor.request.environ = rf_buf_bytes(&confined->environ);
    ret->supervisor.request.policy = rf_buf_bytes(&confined->policy);
}

static size_t choose(int64_t given, int64_t configured)
{
    return (size_t)(given ? given : configured);
}

static int prepare(const struct values *values, const struct rf_config *config,
                   const struct rf_paths *paths, char python[PATH_MAX],
                   struct rf_session_options *ret, struct rf_error *err)
{
    int r = set_log_level(values->log_level, err);
    if (!r)
        r = load_connection(values, &ret->connection, err);
    if (!r)
        r = choose_zygote(values, config, paths, python, &ret->supervisor.zygote, err);
    ret->connection_file = values->file;
    ret->max_message = choose(values->max_message, config->max_message);
    ret->spool_max = choose(values->spool_max, config->spool_max);
    if (values->zmq_heartbeat > 2000)
        return rf_error_set(err, -EINVAL, "--zmq-heartbeat is at most 2000 seconds");
    ret->heartbeat_s = (int)values->zmq_heartbeat;
    ret->history_cells = choose(values->history_size, config->history_size);
    return r;
}

/* What cells may know of the sockets, as ipykernel's own arguments: never the key.  A port
 * that is chosen later is left out. */
static void tell_connection(const struct rf_connection *c, const char *file, struct rf_buf *words)
{
    const struct {
        const char *name;
        int port;
    } ports[] = {{"shell", c->shell_port},
                 {"iopub", c->iopub_port},
                 {"stdin", c->stdin_port},
                 {"control", c->control_port},
                 {"hb", c->hb_port}};
    rf_buf_printf(words, "-f%c%s%c--transport=%s%c--ip=%s%c", 0, file, 0, c->transport, 0, c->ip, 0);
    for (size_t i = 0; i < sizeof(ports) / sizeof(*ports); i++)
        if (ports[i].port)
            rf_buf_printf(words, "--%s=%d%c", ports[i].name, ports[i].port, 0);
}

int rf_cmd_kernel(int argc, char **argv)
{
    struct values values = {.zmq_heartbeat = RF_ZMTP_HEARTBEAT_S};
    struct rf_session_options session = {0};
    struct rf_config config = {0};
    struct rf_confined confined = {0};
    struct rf_paths paths = {0};
    struct rf_buf words = {0};
    struct rf_error err = {0};
    char python[PATH_MAX];
    size_t n_words;
    int status;
    if (!rf_options_begin(&table, argc, argv, &values, &n_words, &status))
        return status;
    for (size_t i = 0; i < n_words; i++)
        rf_buf_add(&words, argv[i + 1], strlen(argv[i + 1]) + 1);
    int r = rf_paths_find(&paths, &err);
    if (!r)
        r = rf_config_load(&config, &err);
    if (!r)
        r = prepare(&values, &config, &paths, python, &session, &err);
    if (!r)
        r = rf_confine(&(struct rf_confine_options){.profile = values.profile,
                                                    .sandbox = values.sandbox,
                                                    .connection_file = values.file,
                                                    .config = &config},
                       &confined, &err);
    if (!r) {
        apply_profile(&confined, &paths, &session);
        tell_connection(&session.connection, values.file, &words);
    }
    session.supervisor.request.argv = rf_buf_bytes(&words);
    status = r ? RF_EXIT_FAILED : rf_session_run(&session, &err);
    if (err.code)
        fprintf(stderr, "ringfence: %s\n", err.text);
    rf_confined_deinit(&confined);
    rf_config_deinit(&config);
    rf_paths_deinit(&paths);
    rf_buf_deinit(&words);
    return status;
}
