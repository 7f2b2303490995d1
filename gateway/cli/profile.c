/* See profile.h. */
#include "gateway/cli/profile.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"

#define BASES_MAX 8 /* profiles one on top of the other; more is a circle */
#define K 1024LL
#define SECONDS 1000LL

static const struct rf_profile built_in[] = {
    {.name = "workspace", .walls = true, .memory = -80, .disk = -40, .processes = 4096,
     .inodes = 1000000, .output_bytes = 256 * K * K, .network = RF_NETWORK_ON,
     .network_fallback = RF_NETWORK_HOST},
    {.name = "offline", .walls = true, .memory = -80, .disk = -40, .processes = 4096,
     .inodes = 1000000, .output_bytes = 256 * K * K},
    {.name = "strict", .walls = true, .own_workspace = true, .memory = K * K * K, .cpu = 1000,
     .disk = 256 * K * K, .processes = 256, .inodes = 16384, .open_files = 1024,
     .output_bytes = 16 * K * K, .cell_time = 600 * SECONDS, .idle_time = 3600 * SECONDS,
     .lifetime = 86400 * SECONDS},
    {.name = "off", .memory = -80, .processes = 4096, .output_bytes = 256 * K * K,
     .network = RF_NETWORK_HOST},
};

#define N_BUILT_IN (sizeof(built_in) / sizeof(*built_in))

/* What comes through walls: nothing that a service puts its secrets into. */
static const char *const passed[] = {
    "LANG", "LANGUAGE", "LC_*", "TZ", "TERM", "COLORTERM", "COLUMNS", "LINES", "NO_COLOR",
    "FORCE_COLOR", "CLICOLOR", "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LD_LIBRARY_PATH",
    "PYTHON*", "MPL*", "OMP_*", "OPENBLAS_*", "MKL_*", "NUMEXPR_*", "BLIS_*", "CUDA_VISIBLE_DEVICES",
    "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "IPYTHONDIR", "JPY_*",
};

enum kind { BYTES, PERCENT, COUNT, TIME, CPU, PATHS, DEVICES, NAMES, NETWORK, FALLBACK, SANDBOX };

#define FIELD(name) offsetof(struct rf_profile, name)

static const struct key {
    const char *name;
    enum kind kind;
    size_t offset;
} keys[] = {
    {"memory", PERCENT, FIELD(memory)},
    {"cpu", CPU, FIELD(cpu)},
    {"processes", COUNT, FIELD(processes)},
    {"disk", PERCENT, FIELD(disk)},
    {"inodes", COUNT, FIELD(inodes)},
    {"open_files", COUNT, FIELD(open_files)},
    {"output_bytes", BYTES, FIELD(output_bytes)},
    {"cell_time", TIME, FIELD(cell_time)},
    {"idle_time", TIME, FIELD(idle_time)},
    {"lifetime", TIME, FIELD(lifetime)},
    {"read_only", PATHS, FIELD(read_only)},
    {"read_write", PATHS, FIELD(read_write)},
    {"devices", DEVICES, FIELD(devices)},
    {"env", NAMES, FIELD(env)},
    {"network", NETWORK, FIELD(network)},
    {"network_fallback", FALLBACK, FIELD(network_fallback)},
    {"sandbox", SANDBOX, FIELD(require)},
};

#define N_KEYS (sizeof(keys) / sizeof(*keys))

/* What is being read, for values and for the words of an error. */
struct reader {
    struct rf_profile *profile;
    const char *name; /* of the profile in the configuration */
    const char *home;
    struct rf_error *err;
};

/* --- values --- */

static void *field(struct rf_profile *profile, const struct key *key)
{
    return (char *)profile + key->offset;
}

static int complain(struct reader *reader, const struct key *key, const char *wanted)
{
    return rf_error_set(reader->err, -EINVAL, "profiles.%s.%s must be %s", reader->name, key->name,
                        wanted);
}

/* A whole number of JSON, or the digits that a text begins with; what follows
 * them.  NULL: neither. */
static const char *read_whole(const json_t *value, int64_t *ret)
{
    const char *text = json_string_value(value);
    char *end;
    if (json_is_integer(value)) {
        *ret = json_integer_value(value);
        return *ret < 0 ? NULL : "";
    }
    if (!text || *text < '0' || *text > '9')
        return NULL;
    errno = 0;
    *ret = strtoll(text, &end, 10);
    return errno ? NULL : end;
}

struct unit {
    const char *suffix;
    int64_t times;
};

static const struct unit byte_units[] = {
    {"", 1}, {"K", K}, {"M", K * K}, {"G", K * K * K}, {"T", K * K * K * K}, {NULL, 0}};
static const struct unit time_units[] = {{"", SECONDS},
                                         {"s", SECONDS},
                                         {"m", 60 * SECONDS},
                                         {"h", 3600 * SECONDS},
                                         {"d", 86400 * SECONDS},
                                         {NULL, 0}};

static bool read_with_unit(const json_t *value, const struct unit *units, int64_t *ret)
{
    int64_t number;
    const char *suffix = read_whole(value, &number);
    for (; suffix && units->suffix; units++)
        if (!strcmp(suffix, units->suffix))
            return !__builtin_mul_overflow(number, units->times, ret);
    return false;
}

static int read_bytes(struct reader *reader, const struct key *key, const json_t *value)
{
    int64_t *to = field(reader->profile, key), percent;
    const char *suffix = key->kind == PERCENT ? read_whole(value, &percent) : NULL;
    if (suffix && !strcmp(suffix, "%") && percent >= 1 && percent <= 100) {
        *to = -percent;
        return 0;
    }
    if (read_with_unit(value, byte_units, to))
        return 0;
    return complain(reader, key,
                    key->kind == PERCENT
                        ? "a number of bytes, such as 1000000, \"512M\" or \"4G\", or a share of the "
                          "machine's memory, such as \"50%\" (0: no limit)"
                        : "a number of bytes, such as 1000000, \"512M\" or \"4G\" (0: no limit)");
}

static int read_count(struct reader *reader, const struct key *key, const json_t *value)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return complain(reader, key, "a whole number (0: no limit)");
    *(int64_t *)field(reader->profile, key) = json_integer_value(value);
    return 0;
}

static int read_time(struct reader *reader, const struct key *key, const json_t *value)
{
    if (!read_with_unit(value, time_units, field(reader->profile, key)))
        return complain(reader, key, "seconds, or such as \"90s\", \"10m\", \"2h\" or \"1d\" (0: no limit)");
    return 0;
}

static int read_cpu(struct reader *reader, const struct key *key, const json_t *value)
{
    double number = json_number_value(value);
    if (!json_is_number(value) || number < 0 || number > 100000 || (number > 0 && number < 0.01))
        return complain(reader, key, "a number of processors from 0.01 on, such as 1.5 (0: no limit)");
    *(int64_t *)field(reader->profile, key) = (int64_t)(number * 1000 + 0.5);
    return 0;
}

/* --- lists; what a base has stays --- */

static bool is_absolute(const char *path)
{
    return path[0] == '/' && !strstr(path, "/../") && strlen(path) < 4096;
}

static int add_path(struct reader *reader, const struct key *key, const char *word)
{
    struct rf_buf *to = field(reader->profile, key);
    bool of_home = word[0] == '~' && (!word[1] || word[1] == '/') && reader->home;
    const char *rest = of_home ? word + 1 : word;
    if (of_home ? *rest && !is_absolute(rest) : !is_absolute(rest))
        return complain(reader, key, "a list of absolute paths, or such that begin with ~/");
    if (key->kind == DEVICES && strncmp(word, "/dev/", 5) != 0)
        return complain(reader, key, "a list of paths below /dev");
    rf_buf_printf(to, "%s%s", of_home ? reader->home : "", rest);
    while (to->len && to->data[to->len - 1] == '/' && !(to->len == 1 || !to->data[to->len - 2]))
        to->len--;
    rf_buf_add(to, "", 1);
    return 0;
}

static int add_name(struct reader *reader, const struct key *key, const char *word)
{
    size_t n = strcspn(word, "=*");
    if (!*word || (word[n] && strcmp(word + n, "*") != 0))
        return complain(reader, key, "a list of names of variables, such as \"LANG\" or \"LC_*\"");
    rf_buf_add(field(reader->profile, key), word, strlen(word) + 1);
    return 0;
}

static int read_list(struct reader *reader, const struct key *key, const json_t *value)
{
    if (!json_is_array(value))
        return complain(reader, key, "a list of texts");
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *word = json_string_value(json_array_get(value, i));
        if (!word)
            return complain(reader, key, "a list of texts");
        int r = key->kind == NAMES ? add_name(reader, key, word) : add_path(reader, key, word);
        if (r)
            return r;
    }
    const struct rf_buf *list = field(reader->profile, key);
    return rf_buf_ok(list) ? 0 : rf_error_errno(reader->err, -ENOMEM, "cannot read a profile");
}

/* --- choices --- */

static int read_choice(struct reader *reader, const struct key *key, const json_t *value)
{
    static const char *const networks[] = {
        [RF_NETWORK_OFF] = "off", [RF_NETWORK_ON] = "on", [RF_NETWORK_HOST] = "host"};
    const char *text = json_string_value(value);
    if (key->kind == SANDBOX) {
        if (!text || (strcmp(text, "auto") && strcmp(text, "require")))
            return complain(reader, key, "\"auto\" or \"require\"");
        *(bool *)field(reader->profile, key) = !strcmp(text, "require");
        return 0;
    }
    for (int i = 0; text && i < 3; i++) {
        if (strcmp(text, networks[i]) != 0 || (key->kind == FALLBACK && i == RF_NETWORK_ON))
            continue;
        *(enum rf_network *)field(reader->profile, key) = (enum rf_network)i;
        return 0;
    }
    return complain(reader, key,
                    key->kind == FALLBACK ? "\"off\" or \"host\"" : "\"off\", \"on\" or \"host\"");
}

static int (*const readers[])(struct reader *, const struct key *, const json_t *) = {
    [BYTES] = read_bytes,   [PERCENT] = read_bytes, [COUNT] = read_count,   [TIME] = read_time,
    [CPU] = read_cpu,       [PATHS] = read_list,    [DEVICES] = read_list,  [NAMES] = read_list,
    [NETWORK] = read_choice, [FALLBACK] = read_choice, [SANDBOX] = read_choice,
};

/* --- profiles --- */

static int unknown_key(struct reader *reader, const char *name)
{
    char known[320] = "base";
    for (size_t i = 0; i < N_KEYS; i++)
        snprintf(known + strlen(known), sizeof(known) - strlen(known), ", %s", keys[i].name);
    return rf_error_set(reader->err, -EINVAL, "profiles.%s: there is no key \"%.60s\" (known: %s)",
                        reader->name, name, known);
}

static int read_member(struct reader *reader, const char *name, const json_t *value)
{
    for (size_t i = 0; i < N_KEYS; i++)
        if (!strcmp(name, keys[i].name))
            return readers[keys[i].kind](reader, &keys[i], value);
    return strcmp(name, "base") ? unknown_key(reader, name) : 0;
}

static const struct rf_profile *find_built_in(const char *name)
{
    for (size_t i = 0; i < N_BUILT_IN; i++)
        if (!strcmp(name, built_in[i].name))
            return &built_in[i];
    return NULL;
}

static int no_such_profile(const char *name, const json_t *configured, struct rf_error *err)
{
    char known[200] = "workspace, offline, strict, off";
    const char *each;
    json_t *value;
    json_object_foreach((json_t *)configured, each, value)
        snprintf(known + strlen(known), sizeof(known) - strlen(known), ", %s", each);
    return rf_error_set(err, -EINVAL, "there is no profile \"%.60s\" (known: %s)", name, known);
}

/* A chain of objects down to a built-in profile, outermost first. */
static int find_chain(const char *name, const json_t *configured, const char *ret_names[BASES_MAX],
                      const struct rf_profile **ret_root, struct rf_error *err)
{
    for (int n = 0; n <= BASES_MAX; n++) {
        *ret_root = find_built_in(name);
        if (*ret_root)
            return n;
        const json_t *object = json_object_get(configured, name);
        if (!object)
            return no_such_profile(name, configured, err);
        const json_t *base = json_object_get(object, "base");
        if (base && !json_is_string(base))
            return rf_error_set(err, -EINVAL, "profiles.%s.base must be the name of a profile", name);
        if (n < BASES_MAX)
            ret_names[n] = name;
        name = base ? json_string_value(base) : "workspace";
    }
    return rf_error_set(err, -EINVAL, "profiles.%s.base: the bases go in a circle, or more than %d deep",
                        ret_names[0], BASES_MAX);
}

static void resolve_shares(struct rf_profile *profile)
{
    int64_t all = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    if (profile->memory < 0)
        profile->memory = all / 100 * -profile->memory;
    if (profile->disk < 0)
        profile->disk = all / 100 * -profile->disk;
}

static void add_passed(struct rf_profile *profile)
{
    if (!profile->walls)
        rf_buf_add(&profile->env, "*", 2);
    for (size_t i = 0; profile->walls && i < sizeof(passed) / sizeof(*passed); i++)
        rf_buf_add(&profile->env, passed[i], strlen(passed[i]) + 1);
}

int rf_profile_find(const char *name, const json_t *configured, const char *home,
                    struct rf_profile *ret, struct rf_error *err)
{
    const char *names[BASES_MAX];
    const struct rf_profile *root;
    int n = find_chain(name, configured, names, &root, err);
    if (n < 0)
        return n;
    *ret = *root;
    add_passed(ret);
    snprintf(ret->name, sizeof(ret->name), "%s", name);
    while (n-- > 0) {
        struct reader reader = {.profile = ret, .name = names[n], .home = home, .err = err};
        const char *key;
        json_t *value;
        int r = 0;
        json_object_foreach(json_object_get(configured, names[n]), key, value)
            r = r ? r : read_member(&reader, key, value);
        if (r) {
            rf_profile_deinit(ret);
            return r;
        }
    }
    if (!ret->walls && ret->network != RF_NETWORK_HOST) {
        rf_profile_deinit(ret);
        return rf_error_set(err, -EINVAL, "profiles.%s.network must be \"host\": its base \"off\" has no walls",
                            name);
    }
    resolve_shares(ret);
    return 0;
}

void rf_profile_deinit(struct rf_profile *profile)
{
    rf_buf_deinit(&profile->read_only);
    rf_buf_deinit(&profile->read_write);
    rf_buf_deinit(&profile->devices);
    rf_buf_deinit(&profile->env);
}

static bool name_ok(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t n = strlen(name);
    return n && n <= RF_PROFILE_NAME_MAX && strspn(name, allowed) == n;
}

int rf_profile_check_all(const json_t *configured, const char *home, struct rf_error *err)
{
    const char *name;
    json_t *value;
    if (!json_is_object(configured))
        return rf_error_set(err, -EINVAL, "\"profiles\" must be an object: {\"name\": {...}}");
    json_object_foreach((json_t *)configured, name, value) {
        struct rf_profile profile = {0};
        if (!name_ok(name))
            return rf_error_set(err, -EINVAL,
                                "profiles: \"%.70s\" cannot name a profile: use up to %d letters, "
                                "digits, dots, dashes and underscores",
                                name, RF_PROFILE_NAME_MAX);
        if (find_built_in(name))
            return rf_error_set(err, -EINVAL,
                                "profiles.%s: that profile is built in; choose another name and "
                                "say \"base\": \"%s\"",
                                name, name);
        if (!json_is_object(value))
            return rf_error_set(err, -EINVAL, "profiles.%s must be an object", name);
        int r = rf_profile_find(name, configured, home, &profile, err);
        rf_profile_deinit(&profile);
        if (r)
            return r;
    }
    return 0;
}

const char *rf_word_next(const struct rf_buf *words, const char *word)
{
    const char *first = (const char *)words->data;
    const char *next = word ? word + strlen(word) + 1 : first;
    return words->len && next < first + words->len ? next : NULL;
}

bool rf_profile_passes(const struct rf_profile *profile, const char *variable)
{
    size_t len = strcspn(variable, "=");
    for (const char *word = NULL; (word = rf_word_next(&profile->env, word));) {
        size_t n = strcspn(word, "*");
        if (word[n] ? n <= len && !strncmp(word, variable, n)
                    : n == len && !strncmp(word, variable, n))
            return true;
    }
    return false;
}
