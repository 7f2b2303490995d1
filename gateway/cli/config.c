/* See config.h. */
#include "gateway/cli/config.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bytes.h"
#include "gateway/cli/profile.h"

static int read_preload(const json_t *value, struct rf_config *config, struct rf_error *err)
{
    struct rf_buf text = {0};
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *name = json_string_value(json_array_get(value, i));
        if (!name || !*name || strpbrk(name, ", \n")) {
            rf_buf_deinit(&text);
            return rf_error_set(err, -EINVAL, "\"preload\" must be a list of module names");
        }
        rf_buf_printf(&text, "%s%s", i ? "," : "", name);
    }
    rf_buf_add(&text, "", 1);
    if (!json_is_array(value) || !rf_buf_ok(&text)) {
        rf_buf_deinit(&text);
        return rf_error_set(err, -EINVAL, "\"preload\" must be a list of module names");
    }
    free(config->preload);
    config->preload = (char *)text.data;
    return 0;
}

static int read_zygote(const json_t *value, struct rf_config *config, struct rf_error *err)
{
    const char *text = json_string_value(value);
    if (!text || (strcmp(text, "auto") && strcmp(text, "off")))
        return rf_error_set(err, -EINVAL, "\"zygote\" must be \"auto\" or \"off\"");
    config->zygote_off = !strcmp(text, "off");
    return 0;
}

static int read_text(const char *key, const json_t *value, char **to, struct rf_error *err)
{
    if (!json_is_string(value))
        return rf_error_set(err, -EINVAL, "\"%s\" must be a text", key);
    free(*to);
    *to = strdup(json_string_value(value));
    return *to ? 0 : -ENOMEM;
}

static int read_sandbox(const json_t *value, struct rf_config *config, struct rf_error *err)
{
    const char *text = json_string_value(value);
    if (!text || (strcmp(text, "auto") && strcmp(text, "require")))
        return rf_error_set(err, -EINVAL, "\"sandbox\" must be \"auto\" or \"require\"");
    return read_text("sandbox", value, &config->sandbox, err);
}

static int read_profiles(const json_t *value, struct rf_config *config, struct rf_error *err)
{
    int r = rf_profile_check_all(value, getenv("HOME"), err);
    if (!r)
        config->profiles = json_incref((json_t *)value);
    return r;
}

static const struct {
    const char *name;
    size_t offset;
} numbers[] = {
    {"zygote_idle", offsetof(struct rf_config, zygote_idle)},
    {"zygote_renew", offsetof(struct rf_config, zygote_renew)},
    {"max_message", offsetof(struct rf_config, max_message)},
    {"spool_max", offsetof(struct rf_config, spool_max)},
    {"history_size", offsetof(struct rf_config, history_size)},
};

static int read_member(const char *key, const json_t *value, struct rf_config *config,
                       struct rf_error *err)
{
    if (!strcmp(key, "preload"))
        return read_preload(value, config, err);
    if (!strcmp(key, "zygote"))
        return read_zygote(value, config, err);
    if (!strcmp(key, "profile"))
        return read_text(key, value, &config->profile, err);
    if (!strcmp(key, "sandbox"))
        return read_sandbox(value, config, err);
    if (!strcmp(key, "profiles"))
        return read_profiles(value, config, err);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        if (strcmp(key, numbers[i].name))
            continue;
        if (!json_is_integer(value) || json_integer_value(value) < 1)
            return rf_error_set(err, -EINVAL, "\"%s\" must be a whole number above 0", key);
        *(int64_t *)((char *)config + numbers[i].offset) = json_integer_value(value);
        return 0;
    }
    return rf_error_set(err, -EINVAL,
                        "there is no setting \"%.60s\" (known: preload, zygote, zygote_idle, "
                        "zygote_renew, max_message, spool_max, history_size, profile, sandbox, profiles)",
                        key);
}

int rf_config_read(const char *path, struct rf_config *ret, struct rf_error *err)
{
    *ret = (struct rf_config){0};
    if (access(path, F_OK))
        return 0;
    json_error_t bad;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &bad);
    if (!root)
        return rf_error_set(err, -EINVAL, "%s: line %d, column %d: %s", path, bad.line, bad.column,
                            bad.text);
    struct rf_error why = {0};
    int r = json_is_object(root) ? 0 : rf_error_set(&why, -EINVAL, "it must be one JSON object");
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value) {
        if (!r)
            r = read_member(key, value, ret, &why);
    }
    json_decref(root);
    if (r) {
        rf_config_deinit(ret);
        rf_error_set(err, r, "%s: %s", path, why.text);
    }
    return r;
}

int rf_config_load(struct rf_config *ret, struct rf_error *err)
{
    char path[PATH_MAX];
    const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    *ret = (struct rf_config){0};
    if (base && base[0] == '/')
        snprintf(path, sizeof(path), "%s/ringfence/config.json", base);
    else if (home && home[0] == '/')
        snprintf(path, sizeof(path), "%s/.config/ringfence/config.json", home);
    else
        return 0;
    return rf_config_read(path, ret, err);
}

void rf_config_deinit(struct rf_config *config)
{
    free(config->preload);
    free(config->profile);
    free(config->sandbox);
    json_decref(config->profiles);
    *config = (struct rf_config){0};
}
